package plan

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Reading is an input that has been read: what it needs to know of images can be asked before the plan is computed.
type Reading struct{ w *world }

// Read reads an input. Its images are given later.
func Read(in Input) Reading { return Reading{newWorld(in)} }

// Compute returns what would make the observed state match the desired one.
func Compute(in Input) Plan { return Read(in).Compute(in.Images) }

// Compute returns what would make the observed state match the desired one, with what [Reading.Unresolved] asked
// for. A reading is for one plan.
func (r Reading) Compute(images map[string]Image) Plan {
	w := r.w
	w.in.Images = images
	w.refuseRevision()
	w.locate()
	w.chooseSubnets()
	w.place()
	w.attachNetworks()
	w.findPauses()
	w.readApplied()
	for _, l := range w.layers {
		w.decideLayer(l)
	}
	w.prune()
	for _, l := range w.layers {
		w.awaitImage(l)
		w.holdBack(l)
		w.reportOnly(l)
		w.buildContainers(l)
		w.clearAway(l)
		w.mend(l)
		w.awaitZones(l)
	}
	w.order()
	w.hostOperations()
	w.adoptRecords()
	w.forgetGone()
	for _, l := range w.layers {
		w.noteCarriedOut(l)
		w.estimate(l)
	}
	w.external()
	w.warnAboutHosts()
	w.warnAboutTags()
	return w.finish()
}

// order makes creates wait for the layers that they depend on.
func (w *world) order() {
	for _, l := range w.layers {
		if l.spec == nil {
			continue
		}
		var after []fleet.LayerID
		for _, name := range l.spec.DependsOn {
			on := fleet.LayerID{Environment: l.id.Environment, Layer: name}
			if d := w.byLayer[on]; d != nil && !d.runs() {
				after = append(after, on)
			}
		}
		for i := range l.out.Operations {
			if l.out.Operations[i].Kind == Create {
				l.out.Operations[i].After = after
			}
		}
	}
}

// runs says whether every wanted node of the layer has a running current instance that was healthy once.
func (l *layer) runs() bool {
	for _, n := range l.nodes {
		if !n.wanted {
			continue
		}
		cur := n.current()
		if cur == nil || n.seen.Unproven || cur.State != fleet.StateRunning {
			return false
		}
	}
	return true
}

// finish sorts everything and makes empty lists of absent ones.
func (w *world) finish() Plan {
	p := w.plan
	p.Revision = w.in.Revision
	p.Layers = []Layer{}
	for _, l := range w.layers {
		slices.SortStableFunc(l.out.Waiting, func(a, b Waiting) int { return a.Node - b.Node })
		if w.halted {
			break
		}
		if len(l.out.Operations)+len(l.out.Waiting) > 0 || l.out.Paused != "" {
			l.out.Operations = Order(l.out.Operations)
			p.Layers = append(p.Layers, l.out)
			continue
		}
		p.Settled = append(p.Settled, l.out)
	}
	if p.Hosts == nil || w.halted {
		p.Hosts = []HostOperation{}
	}
	if p.DNS == nil || w.halted {
		p.DNS = []DNSOperation{}
	}
	if w.halted {
		p.Records = nil
	}
	if p.Warnings == nil {
		p.Warnings = []string{}
	}
	for _, problem := range w.in.Desired.Warnings {
		p.Warnings = append(p.Warnings, problem.String())
	}
	slices.Sort(p.Warnings)
	p.Warnings = slices.Compact(p.Warnings)
	slices.SortFunc(p.Networks, func(a, b EnvironmentNetwork) int {
		return cmp.Or(cmp.Compare(a.Environment, b.Environment), cmp.Compare(a.Host, b.Host))
	})
	slices.SortFunc(p.Records, func(a, b RecordWrite) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Key, b.Key))
	})
	p.HasChanges = p.HasChanges || len(p.Layers)+len(p.Hosts)+len(p.DNS) > 0
	return p
}

// Order sorts a layer's operations as its rollout goes: nodes that don't serve first, then from the
// highest ordinal to the lowest. A node's resize in place goes before what else is done to it.
func Order(layer []Operation) []Operation {
	ordered := make([]Operation, len(layer))
	copy(ordered, layer)
	slices.SortStableFunc(ordered, func(a, b Operation) int {
		return cmp.Or(cmp.Compare(rank(a.Serving), rank(b.Serving)), cmp.Compare(b.Node, a.Node), cmp.Compare(rank(a.Kind != Resize), rank(b.Kind != Resize)))
	})
	return ordered
}

func rank(b bool) int {
	if b {
		return 1
	}
	return 0
}

func number(n int) string { return strconv.Itoa(n) }
