package rollout

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// TestAnIdleWorkerLeavesNoHealthyNodeOut: whenever it is overtaken, also by what was there before, or asked
// to stop, every node whose current instance runs and is healthy has its names.
func TestAnIdleWorkerLeavesNoHealthyNodeOut(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		p := policyOf(rapid.SampledFrom([]spec.Strategy{spec.Sequential, spec.Simultaneous}).Draw(r, "strategy"))
		p.DrainTimeout = 0
		replicas := rapid.IntRange(1, 12).Draw(r, "replicas")
		moment := time.Duration(rapid.IntRange(0, 8_000).Draw(r, "after ms")) * time.Millisecond
		took := time.Duration(rapid.IntRange(1, 3000).Draw(r, "stop and start take ms")) * time.Millisecond
		how := rapid.SampledFrom([]string{"newer", "reverted", "stopped"}).Draw(r, "how")
		synctest.Test(t, func(t *testing.T) {
			m := newModel(replicas, p)
			m.took = took
			m.want(2, "h2")
			stop := make(chan struct{})
			w := m.carry(t, stop)
			time.Sleep(moment)
			switch how {
			case "newer":
				m.want(3, "h3")
			case "reverted":
				m.want(1, "h1")
			case "stopped":
				close(stop)
			}
			w.Offer(m.plan(), func(plan.Operation) bool { return true })
			w.Wait()
			for node := range m.out {
				require.False(t, m.runs(node), "node %d runs and is out of the names", node)
			}
		})
	})
}

// TestANodeIsTouchedWhenNobodyIsSentToItAnyMore, whatever the plan thought of it, and whatever led to it meanwhile.
func TestANodeIsTouchedWhenNobodyIsSentToItAnyMore(t *testing.T) {
	for name, c := range map[string]struct {
		change func(m *model)
		after  time.Duration
	}{
		"nobody was":               {func(*model) {}, 0},
		"keepers answered with it": {func(m *model) { m.answered = true }, time.Second},
		"it was found outside again": {func(m *model) {
			m.answered, m.remembered = true, time.Now().Add(20*time.Second)
		}, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel(1, policyOf(spec.Sequential))
				m.want(2, "h2")
				m.unlisted = true
				c.change(m)
				m.carry(t, nil).Wait()
				require.Equal(t, fleet.StateRunning, m.instances["1-g2"].State)
				require.GreaterOrEqual(t, m.changed[1], c.after)
				require.Less(t, m.changed[1], c.after+time.Second)
			})
		})
	}
}
