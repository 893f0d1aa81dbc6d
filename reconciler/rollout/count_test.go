package rollout

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// TestCountsAreOfNodesAndOfOneRollout: what is tried again isn't counted twice, and what an earlier rollout
// came to isn't counted at all.
func TestCountsAreOfNodesAndOfOneRollout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(4, policyOf(spec.Sequential))
		m.taken = []fleet.Occupant{{Name: "theirs", Ports: []fleet.Published{{Protocol: "tcp", HostPort: 80}}}}
		m.spec.Update.FailureAction = spec.FailureContinue
		m.want(2, "h2")
		w := m.carry(t, nil)
		w.Wait()
		for range 2 {
			time.Sleep(lastRetry)
			w.Offer(m.plan(), always)
			w.Wait()
		}
		require.Equal(t, []string{
			"failed (0/4)", "given up (0/4)", "failed (0/4)", "given up (0/4)", "failed (0/4)", "given up (0/4)",
		}, m.counts)

		m.mu.Lock()
		m.taken, m.counts = nil, nil
		m.mu.Unlock()
		m.want(3, "h3")
		w.Offer(m.plan(), always)
		w.Wait()
		require.Equal(t, []string{"done (1/4)", "done (2/4)", "done (3/4)", "done (4/4)"}, m.counts)

		m.mu.Lock()
		m.counts, m.instances["2-g3"].State = nil, fleet.StateExited
		m.mu.Unlock()
		w.Offer(m.plan(), always)
		w.Wait()
		require.Equal(t, []string{"done (1/1)"}, m.counts)
	})
}

func TestANewerRevisionIsCountedByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(3, policyOf(spec.Sequential))
		m.want(2, "h2")
		w := m.carry(t, nil)
		time.Sleep(10 * time.Second) // node 3 is done, its delay runs
		m.want(3, "h3")
		w.Offer(m.plan(), always)
		w.Wait()
		require.Equal(t, []string{"done (1/3)", "done (1/3)", "done (2/3)", "done (3/3)"}, m.counts)
	})
}
