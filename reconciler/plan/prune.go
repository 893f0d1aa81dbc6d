package plan

import "fmt"

// prune drops all removals of nodes where they are more than the share of all nodes that one plan may
// remove. Exactly the share is allowed.
func (w *world) prune() {
	removals := 0
	for _, l := range w.layers {
		for i := range l.out.Operations {
			if l.out.Operations[i].Kind == Remove {
				removals++
			}
		}
	}
	share := w.fleet.PruneMaxShare
	if removals*100 <= share*w.seen {
		return
	}
	w.pruneRefused = true
	w.plan.HasChanges = true
	w.refuse(fmt.Sprintf("would remove %d of %d nodes, more than prune.maxShare (%d%%) allows: none is removed; if that is meant, raise prune.maxShare in the Fleet or remove them in several commits",
		removals, w.seen, share))
	for _, l := range w.layers {
		kept := l.out.Operations[:0]
		for _, op := range l.out.Operations {
			if op.Kind != Remove {
				kept = append(kept, op)
			}
		}
		l.out.Operations = kept
	}
}
