package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// foundPause is a layer's pause as a host's keeper has it.
type foundPause struct {
	host string
	fleet.PauseRecord
}

// findPauses reads the pauses of all layers, once: records are sorted by key.
func (w *world) findPauses() {
	const prefix = "pause/"
	w.pauses = map[string][]foundPause{}
	for _, h := range w.hosts {
		if !h.up() || h.state.Keeper == nil {
			continue
		}
		records := h.state.Keeper.Records
		first, _ := slices.BinarySearchFunc(records, prefix, func(r fleet.Record, key string) int { return strings.Compare(r.Key, key) })
		for _, r := range records[first:] {
			if !strings.HasPrefix(r.Key, prefix) {
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

// servesAgain says whether the node that failed serves, or the instance would that it was to have.
func (w *world) servesAgain(l *layer, ordinal int) bool {
	n := w.byNode[fleet.NodeID{Environment: l.id.Environment, Layer: l.id.Layer, Node: ordinal}]
	if n == nil || n.seen == nil {
		return false
	}
	c := w.candidate(n)
	switch cur := n.current(); {
	case c != nil:
		return w.probedHealthy(c)
	case n.seen.Unproven:
		return cur != nil && sameSpec(cur, l.spec) && w.probedHealthy(cur)
	}
	return n.serving && sameSpec(n.current(), l.spec)
}

// probedHealthy says whether an instance that isn't in the names runs and is known to be healthy.
func (w *world) probedHealthy(in *fleet.Instance) bool {
	if in.State != fleet.StateRunning {
		return false
	}
	if in.Health != fleet.HealthNone {
		return in.Health == fleet.HealthHealthy
	}
	r, ok := w.byHost[in.Host].state.Keeper.ProbeResult(in.ID)
	return ok && r.Healthy
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
