package rollout

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// gated is a worker whose node 3 is at its gate, where its host may not be asked any more.
func gated(t *testing.T, stop <-chan struct{}, why error) (*model, *Worker) {
	m := newModel(3, policyOf(spec.Sequential))
	m.want(2, "h2")
	w := m.carry(t, stop)
	time.Sleep(2 * time.Second)
	m.bar(why)
	time.Sleep(time.Second)
	return m, w
}

func TestANodeAtItsGateIsLeftToWhoeverTookTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		m, w := gated(t, stop, fleet.ErrFenced)
		close(stop)
		w.Wait()
		require.Less(t, time.Since(m.begun), 4*time.Second, "it doesn't wait for what it may not see")
		require.Nil(t, m.paused)
		require.Equal(t, 1, m.current[3])
		require.Contains(t, w.Failed()[0].Error, fleet.ErrFenced.Error())
	})
}

func TestANodeAtItsGateIsWaitedForWhileItsHostIsAway(t *testing.T) {
	for name, why := range map[string]error{"lost": fleet.ErrUnreachable, "silent": fmt.Errorf("%w: %w", fleet.ErrUnreachable, fleet.ErrFenced)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stop := make(chan struct{})
				m, w := gated(t, stop, why)
				close(stop)
				time.Sleep(10 * time.Second)
				m.bar(nil)
				w.Wait()
				require.Equal(t, 2, m.current[3], "it is finished")
				require.Empty(t, w.Failed())
			})
		})
	}
}

func TestALostHostIsNoFaultOfTheNodeAtItsGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, w := gated(t, nil, fleet.ErrUnreachable)
		w.Wait()
		require.Greater(t, time.Since(m.begun), m.spec.Update.HealthTimeout)
		require.Nil(t, m.paused, "what it was isn't known")
		require.Contains(t, w.Failed()[0].Error, fleet.ErrUnreachable.Error())
	})
}
