package rollout

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

func TestOvertakenBetweenStopAndStart(t *testing.T) {
	for _, strategy := range []spec.Strategy{spec.Sequential, spec.Simultaneous} {
		t.Run(string(strategy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel(3, policyOf(strategy))
				m.took = 10 * time.Second
				m.want(2, "h2")
				w := m.carry(t, nil)
				time.Sleep(5 * time.Second) // node 3 is being stopped
				m.want(3, "h3")
				w.Offer(m.plan(), always)
				w.Wait()
				w.Offer(m.plan(), always)
				w.Wait()
				require.Empty(t, m.plan().Operations)
				require.Empty(t, m.out)
				require.Equal(t, fleet.StateCreated, m.instances["3-g2"].State, "what nobody wants any more isn't started")
				require.Equal(t, 3, m.current[3])
				require.Empty(t, w.Failed())
			})
		})
	}
}

func TestTheSameOperationIsGoneOnWithAfterANewPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(3, policyOf(spec.Sequential))
		m.want(2, "h2")
		w := m.carry(t, nil)
		time.Sleep(2 * time.Second) // node 3 is at its gate
		m.want(2, "h3")
		w.Offer(m.plan(), always)
		time.Sleep(6500 * time.Millisecond) // its TTL, start and gate anew
		require.Equal(t, 2, m.currentOf(3), "it waits for nothing else")
		w.Wait()
		require.Empty(t, m.plan().Operations)
	})
}

func TestWhatMendsAFailedNodeWaitsForNoDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(3, policyOf(spec.Sequential))
		m.broken[3] = true
		m.want(2, "h2")
		w := m.carry(t, nil)
		w.Wait()
		require.NotNil(t, m.paused)
		m.broken[3] = false
		m.want(3, "h3")
		w.Offer(m.plan(), always)
		time.Sleep(6500 * time.Millisecond) // its TTL, start and gate
		require.Equal(t, 3, m.currentOf(3))
		w.Wait()
		require.Empty(t, m.plan().Operations)
	})
}
