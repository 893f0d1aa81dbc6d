package plan

import "github.com/evenkeel/evenkeel/reconciler/fleet"

// adoptRecords writes down what a keeper that lost its records should know: the restart text of a node
// that keeps running, and that a node which serves is healthy.
func (w *world) adoptRecords() {
	for _, l := range w.layers {
		if l.spec == nil {
			continue
		}
		for _, n := range l.nodes {
			cur := n.current()
			if !n.wanted || cur == nil || n.wait != "" || !cur.Running() {
				continue
			}
			h := w.byHost[cur.Host]
			if h.spec == nil || h.state.Keeper == nil {
				continue
			}
			// A restart text without a record of health would make a node that runs look like one that has
			// never been healthy.
			if n.restart == nil && (n.seen.Recorded > 0 || n.serving) {
				w.plan.Records = append(w.plan.Records, RecordWrite{
					Host: h.name, Key: fleet.RestartKey(n.id), Value: fleet.RestartRecord{Text: l.spec.Restart},
				})
			}
			if n.seen.Recorded == 0 && !n.seen.Unproven && n.serving {
				w.plan.Records = append(w.plan.Records, RecordWrite{
					Host: h.name, Key: fleet.CurrentKey(n.id), Value: fleet.CurrentRecord{Generation: cur.Generation},
				})
			}
		}
	}
}

// forgetGone has keepers forget the nodes that aren't wanted any more, or are elsewhere, and have no container on their
// host, which a removal or a move left that didn't get to its end: it would be taken for the truth should the node ever
// come back.
func (w *world) forgetGone() {
	for _, r := range w.stale {
		if r.host.spec != nil && !r.node.on(r.host.name) {
			w.plan.Records = append(w.plan.Records, RecordWrite{Host: r.host.name, Key: r.key})
		}
	}
}

// staleRecord is what a host's keeper has of a node that nobody wants, or that is elsewhere.
type staleRecord struct {
	host *host
	node *node // nil: nothing else is known of it
	key  string
}

// older says whether a record is of an earlier generation than an instance.
func (w *world) older(r *fleet.Record, in *fleet.Instance) bool {
	was := w.currents.Value(r.Value)
	return was != nil && was.Generation < in.Generation
}

// on says whether any instance of a node was seen on a host.
func (n *node) on(host string) bool {
	if n == nil || n.seen == nil {
		return false
	}
	for i := range n.seen.Instances {
		if n.seen.Instances[i].Host == host {
			return true
		}
	}
	return false
}

// readRecords reads what keepers have noted of nodes: the restart texts of current instances, and what is of nodes
// that nobody wants or that are elsewhere.
func (w *world) readRecords() {
	for _, h := range w.hosts {
		if !h.up() || h.state.Keeper == nil {
			continue
		}
		for i := range h.state.Keeper.Records {
			r := &h.state.Keeper.Records[i]
			id, ok := fleet.RecordedNode(r.Key)
			if !ok {
				continue
			}
			n := w.find(id)
			if n == nil || !n.wanted {
				w.stale = append(w.stale, staleRecord{h, n, r.Key})
				continue
			}
			cur := n.current()
			_, restart := fleet.RestartedNode(r.Key)
			switch {
			case cur == nil:
			case cur.Host != h.name:
				if n.seen.Recorded >= cur.Generation && (restart || w.older(r, cur)) {
					w.stale = append(w.stale, staleRecord{h, n, r.Key})
				}
			case restart:
				n.restart = w.restarts.Value(r.Value)
			}
		}
	}
}
