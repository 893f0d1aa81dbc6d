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
