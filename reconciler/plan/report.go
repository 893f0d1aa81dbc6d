package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// reportOnly holds back, where drift is only to be reported, what no commit explains: what heals a layer
// whose spec is the one that was carried out already.
//
//	operation                    | explained by
//	start, resize                | the layer's hash
//	create of a missing node     | the layer's hash
//	redeploy for a limit alone   | the layer's hash
//	restart of an unhealthy node | restartAfter, which asks for it
//	everything else              | a commit, or a host's state in the fleet
func (w *world) reportOnly(l *layer) {
	if w.fleet.SelfHeal || l.spec == nil || !w.carriedOut(l) {
		return
	}
	kept := l.out.Operations[:0]
	for _, op := range l.out.Operations {
		if !heals(op) {
			kept = append(kept, op)
			continue
		}
		l.out.Waiting = append(l.out.Waiting, Waiting{
			Node:   op.Node,
			Reason: fmt.Sprintf("drift, only reported since drift.selfHeal is false: %s would set it right (%s)", op.Kind, causeText(op.Causes)),
		})
	}
	l.out.Operations = kept
}

func heals(op Operation) bool {
	switch op.Kind {
	case Start, Resize:
		return true
	case Create:
		return op.Causes[0].From == missing
	case Redeploy:
		for _, c := range op.Causes {
			if !strings.HasPrefix(c.Field, "limit.") && !strings.HasPrefix(c.Field, "reserved.") {
				return false
			}
		}
		return true
	}
	return false
}

func causeText(causes []Cause) string {
	var texts []string
	for _, c := range causes {
		texts = append(texts, fmt.Sprintf("%s: %s → %s", c.Field, c.From, c.To))
	}
	return strings.Join(texts, ", ")
}

// carriedOut says whether a keeper knows that the layer once was just as its spec has it now.
func (w *world) carriedOut(l *layer) bool { return w.applied[l.id] }

// hostsOf are the hosts in reach that a node is or was on.
func (w *world) hostsOf(n *node) []*host {
	var hosts []*host
	add := func(name string) {
		if h := w.byHost[name]; h.up() && h.state.Keeper != nil {
			hosts = append(hosts, h)
		}
	}
	if n.place.Host != "" {
		add(n.place.Host)
	}
	if in := n.current(); in != nil && in.Host != n.place.Host {
		add(in.Host)
	}
	return hosts
}

// noteCarriedOut has the keepers remember which spec a layer without anything left to do was brought to:
// from then on what differs is drift, which no commit explains.
func (w *world) noteCarriedOut(l *layer) {
	if l.spec == nil || len(l.out.Operations)+len(l.out.Waiting) > 0 {
		return
	}
	is, noted := fleet.AppliedOf(l.spec), map[string]bool{}
	for _, n := range l.nodes {
		for _, h := range w.hostsOf(n) {
			var r fleet.AppliedRecord
			if noted[h.name] || h.state.Keeper.Record(fleet.AppliedKey(l.id), &r) && r == is {
				continue
			}
			noted[h.name] = true
			w.plan.Records = append(w.plan.Records, RecordWrite{
				Host: h.name, Key: fleet.AppliedKey(l.id), Value: is,
			})
		}
	}
}

// sickFor is for how long a running node has been unhealthy, and what its check says.
func (w *world) sickFor(n *node, in *fleet.Instance) (time.Duration, string) {
	if in.State != fleet.StateRunning || n.seen.Unproven {
		return 0, ""
	}
	hc := n.layer.spec.HealthCheck
	if in.Health == fleet.HealthUnhealthy {
		// The engine counts failures in a row; the first Retries of them made it unhealthy.
		return time.Duration(max(0, in.FailingStreak-hc.Retries)) * hc.Interval, "its health check fails"
	}
	k := w.byHost[in.Host].state.Keeper
	if r, ok := k.ProbeResult(in.ID); ok && !r.Healthy {
		return r.For, r.Last
	}
	return 0, ""
}

// sickness is why an unhealthy node is to be restarted; nil: it isn't.
func (w *world) sickness(l *layer, n *node, cur *fleet.Instance) *Cause {
	hc := l.spec.HealthCheck
	if hc == nil || hc.RestartAfter == 0 {
		return nil
	}
	since, why := w.sickFor(n, cur)
	if since < hc.RestartAfter {
		return nil
	}
	return &Cause{Field: "health", From: fmt.Sprintf("unhealthy for %s: %s", since.Round(time.Second), why), To: "healthy"}
}
