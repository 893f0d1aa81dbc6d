package plan

import (
	"fmt"
	"slices"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Weighed is what a revision's removals are weighed with. Given back for as long as the revision is in
// force, it keeps their share the same while some of them are done and other nodes are made, and keeps it
// from growing smaller when nodes are lost.
type Weighed struct {
	// Stay is how many nodes there were, when the revision was weighed first, that it wants.
	Stay int
	// Removals are the nodes that there were, or have been found since, and that it doesn't want, sorted.
	// Those that are gone by now stay in it.
	Removals []fleet.NodeID
}

func (k *Weighed) nodes() int { return k.Stay + len(k.Removals) }

// exceeds says whether the removals are more than the percentage of all nodes. Exactly that is allowed.
func (k *Weighed) exceeds(share int) bool { return len(k.Removals)*100 > share*k.nodes() }

// prune drops all removals of nodes where the revision asks for more than the share of all nodes that one
// may remove.
func (w *world) prune() {
	there, unwanted := w.existing()
	kept := w.in.Weighed
	if kept == nil {
		kept = &Weighed{Stay: there - len(unwanted)}
	}
	kept = kept.with(unwanted)
	w.plan.Weighed = kept
	if len(unwanted) == 0 || !kept.exceeds(w.fleet.PruneMaxShare) {
		return
	}
	w.pruneRefused = true
	w.plan.HasChanges = true
	w.refuse(fmt.Sprintf("would remove %d of %d nodes, more than prune.maxShare (%d%%) allows: none is removed; if that is meant, raise prune.maxShare in the Fleet or remove them in several commits",
		len(kept.Removals), kept.nodes(), w.fleet.PruneMaxShare))
	for _, l := range w.layers {
		l.out.Operations = slices.DeleteFunc(l.out.Operations, func(op Operation) bool { return op.Kind == Remove })
	}
}

// existing counts the nodes that are there, also those known to be on hosts out of reach, and returns the
// unwanted ones of them, sorted.
func (w *world) existing() (there int, unwanted []fleet.NodeID) {
	for _, l := range w.layers {
		for _, n := range l.nodes {
			if n.seen == nil && n.far == "" {
				continue
			}
			there++
			if !n.wanted {
				unwanted = append(unwanted, n.id)
			}
		}
	}
	return there, unwanted
}

// with returns k and the removals that aren't in it yet: what is unwanted wasn't made by the revision, so
// it was there before. Where there are none it is k itself.
func (k *Weighed) with(unwanted []fleet.NodeID) *Weighed {
	all := slices.Clone(k.Removals)
	for _, id := range unwanted {
		if i, found := slices.BinarySearchFunc(all, id, fleet.NodeID.Compare); !found {
			all = slices.Insert(all, i, id)
		}
	}
	if len(all) == len(k.Removals) {
		return k
	}
	return &Weighed{Stay: k.Stay, Removals: all}
}
