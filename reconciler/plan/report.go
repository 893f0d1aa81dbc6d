package plan

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
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
//	redeploy for a changed file  | the layer's hash
//	restart of an unhealthy node | restartAfter, which asks for it
//	everything else              | a commit, or a host's state in the fleet
func (w *world) reportOnly(l *layer) {
	if w.fleet.SelfHeal || l.spec == nil || !l.applied {
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
		return !slices.ContainsFunc(op.Causes, func(c Cause) bool { return !byHand(c) })
	}
	return false
}

// byHand says whether a redeploy's cause is of the kind that people cause on a host.
func byHand(c Cause) bool {
	return slices.ContainsFunc([]string{"limit.", "reserved.", filePrefix}, func(kind string) bool { return strings.HasPrefix(c.Field, kind) })
}

func causeText(causes []Cause) string {
	var texts []string
	for _, c := range causes {
		texts = append(texts, fmt.Sprintf("%s: %s → %s", c.Field, c.From, c.To))
	}
	return strings.Join(texts, ", ")
}

// hostsOf are the hosts in reach that the layer's nodes are or were on.
func (w *world) hostsOf(l *layer) []*host {
	hosts := w.newSet()
	for _, n := range l.nodes {
		hosts.add(w.byHost[n.place.Host])
		if in := n.current(); in != nil && in.Host != n.place.Host {
			hosts.add(w.byHost[in.Host])
		}
	}
	return hosts.list
}

// noteCarriedOut has the keepers remember which spec a layer without anything left to do was brought to:
// from then on what differs is drift, which no commit explains.
func (w *world) noteCarriedOut(l *layer) {
	if l.spec == nil || len(l.out.Operations)+len(l.out.Waiting) > 0 {
		return
	}
	for _, h := range w.hostsOf(l) {
		if _, noted := sort.Find(len(l.noted), func(i int) int { return cmp.Compare(h.name, l.noted[i].name) }); noted || h.state.Keeper == nil {
			continue
		}
		w.plan.Records = append(w.plan.Records, RecordWrite{
			Host: h.name, Key: fleet.AppliedKey(l.id), Value: l.brought,
		})
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
