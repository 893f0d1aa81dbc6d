package plan

import "github.com/evenkeel/evenkeel/reconciler/fleet"

// clearAway removes containers that are no node's any more: superseded ones and candidates that aren't
// wanted. Stopped superseded ones are kept until the layer's rollout has ended, which a pause doesn't do.
func (w *world) clearAway(l *layer) {
	rolling := l.pause != nil || l.held
	used, within := map[string]bool{}, map[string]bool{}
	for i := range l.out.Operations {
		op := &l.out.Operations[i]
		rolling = rolling || op.Intrusive && op.Kind != Remove
		for _, in := range []*fleet.Instance{op.Instance, op.Candidate} {
			if in != nil {
				used[in.ID] = true
			}
		}
		for _, in := range op.Others {
			within[in.ID] = true
		}
	}
	waits := map[int]bool{}
	for _, wait := range l.out.Waiting {
		waits[wait.Node] = true
	}
	for _, n := range l.nodes {
		if n.seen != nil && n.wait == "" && !(w.pruneRefused && !n.wanted) {
			w.clearNode(l, n, clearing{used, within, rolling || waits[n.id.Node], waits[n.id.Node]})
		}
	}
}

// clearing is what the operations of a layer, or what holds them back, have to do with its instances.
type clearing struct {
	used, within map[string]bool // by container ID
	rolling      bool
	waits        bool // the node's operation can't be begun now
}

func (w *world) clearNode(l *layer, n *node, c clearing) {
	for i := range n.seen.Instances {
		in := &n.seen.Instances[i]
		h := w.byHost[in.Host]
		if c.used[in.ID] || h.spec == nil || h.mute != "" || !w.leftover(l, n, i, c.rolling) {
			continue
		}
		w.plan.Hosts = append(w.plan.Hosts, HostOperation{
			Host: in.Host, Operation: "remove", What: "container", Name: in.Name, Environment: n.id.Environment, Instance: in,
			Within: c.within[in.ID] || c.waits && alone(n, in),
		})
	}
}

// alone says whether nothing of a node runs but an instance that isn't wanted: until its operation can be begun,
// which ends that one, it does the node's work as well as it can.
func alone(n *node, in *fleet.Instance) bool {
	cur := n.current()
	return in.Running() && (cur == nil || cur.ID == in.ID || !cur.Running())
}

// leftover says whether an instance that no operation uses is to be removed.
//
//	the instance              | removed
//	current                   | only where a create replaces a first one that was never healthy
//	superseded, running       | at once: it isn't in the names
//	superseded, stopped       | when the layer's rollout has ended, and a keeper says that it is superseded
//	candidate, as wanted      | where the current one is as wanted too, and no pause holds
//	candidate, not as wanted  | at once
//
// What runs while an operation of its node is due is ended by that one before (Operation.Others), with the
// grace period that it is due, and removed then; so is what runs alone where that one waits.
func (w *world) leftover(l *layer, n *node, i int, rolling bool) bool {
	in := &n.seen.Instances[i]
	switch {
	case i == n.seen.Current:
		return n.stale
	case !n.wanted:
		return true
	case i < n.seen.Current:
		return in.Running() || !rolling && n.seen.Recorded > 0
	}
	fitting := w.fitting(l, n)
	return fitting == nil || fitting.ID != in.ID || !rolling
}
