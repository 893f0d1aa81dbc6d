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

// forgetGone has keepers forget the nodes that aren't wanted any more and have no container on their host, which a
// removal left whose reply was lost: it would be taken for the truth should the node ever come back.
func (w *world) forgetGone() {
	for _, r := range w.unwanted {
		if r.host.spec != nil && !r.node.on(r.host.name) {
			w.plan.Records = append(w.plan.Records, RecordWrite{Host: r.host.name, Key: r.key})
		}
	}
}

// unwantedRecord is what a host's keeper has of a node that nobody wants.
type unwantedRecord struct {
	host *host
	node *node // nil: nothing else is known of it
	key  string
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
// that nobody wants.
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
				w.unwanted = append(w.unwanted, unwantedRecord{h, n, r.Key})
				continue
			}
			if _, restart := fleet.RestartedNode(r.Key); !restart {
				continue
			}
			if cur := n.current(); cur != nil && cur.Host == h.name {
				n.restart = w.restarts.Value(r.Value)
			}
		}
	}
}
