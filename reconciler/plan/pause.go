package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// foundPause is a layer's pause as a host's keeper has it.
type foundPause struct {
	host string
	fleet.PauseRecord
}

// findPauses reads the pauses of all layers, once: records are sorted by key.
func (w *world) findPauses() {
	w.pauses = map[string][]foundPause{}
	for _, h := range w.hosts {
		if !h.up() || h.state.Keeper == nil {
			continue
		}
		records := h.state.Keeper.Records
		first, _ := slices.BinarySearchFunc(records, fleet.PausePrefix, func(r fleet.Record, key string) int { return strings.Compare(r.Key, key) })
		for _, r := range records[first:] {
			if !strings.HasPrefix(r.Key, fleet.PausePrefix) {
				break
			}
			p := foundPause{host: h.name}
			if json.Unmarshal(r.Value, &p.PauseRecord) == nil && p.Hash != "" {
				w.pauses[r.Key] = append(w.pauses[r.Key], p)
			}
		}
	}
}

// readPause finds the pause that holds for a layer. One that was written for something else, or whose
// node serves again, is void, and forgotten: else it would hold once more when that node fails anew.
func (w *world) readPause(l *layer) {
	key := fleet.PauseKey(l.id)
	for i := range w.pauses[key] {
		p := &w.pauses[key][i]
		if l.spec == nil || p.Hash != l.spec.LayerHash || w.servesAgain(l, p.Node) {
			w.plan.Records = append(w.plan.Records, RecordWrite{Host: p.host, Key: key})
			continue
		}
		if l.pause == nil {
			l.pause = &p.PauseRecord
			l.out.Paused = fmt.Sprintf("node %d failed: %s", p.Node, p.Cause)
		}
	}
}

// servesAgain says whether the node that failed serves, or the instance would that it was to have. Either
// has to be as healthy for as long as its gate asked: one that crashes again and again is well in between.
func (w *world) servesAgain(l *layer, ordinal int) bool {
	n := w.find(fleet.NodeID{Environment: l.id.Environment, Layer: l.id.Layer, Node: ordinal})
	if n == nil || n.seen == nil {
		return false
	}
	in, cur := w.candidate(n), n.current()
	if in == nil && cur != nil && (n.seen.Unproven || n.serving) && sameSpec(cur, l.spec) {
		in = cur
	}
	return in != nil && w.healthyFor(in, l.spec.Update.MinHealthy)
}

// healthyFor says whether an instance runs and has been healthy for as long as that, as far as is known.
func (w *world) healthyFor(in *fleet.Instance, least time.Duration) bool {
	if in.State != fleet.StateRunning || in.Health != fleet.HealthNone && in.Health != fleet.HealthHealthy {
		return false
	}
	r, ok := w.byHost[in.Host].state.Keeper.ProbeResult(in.ID)
	return ok && r.Healthy && r.For >= least
}

// failedGate says whether the node is the one whose failure paused the layer, and its container is there:
// trying the same again would fail again.
func (w *world) failedGate(l *layer, n *node) bool {
	return l.pause != nil && l.pause.Node == n.id.Node && n.seen != nil && !n.stale && n.newest().Running()
}

// holdBack takes the intrusive operations out of a paused layer, but for removals.
func (w *world) holdBack(l *layer) {
	if l.pause == nil {
		return
	}
	kept := l.out.Operations[:0]
	for _, op := range l.out.Operations {
		if op.Intrusive && op.Kind != Remove {
			l.out.Waiting = append(l.out.Waiting, Waiting{Node: op.Node, Reason: fmt.Sprintf("%s waits, the layer is paused: %s", op.Kind, l.out.Paused)})
			l.held = true
			continue
		}
		kept = append(kept, op)
	}
	l.out.Operations = kept
}
