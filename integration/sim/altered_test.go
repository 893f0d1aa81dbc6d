package sim

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// TestARecordThatIsKeptOtherwise: a fleet whose provider has TTLs of its own is as it can be, and says so.
func TestARecordThatIsKeptOtherwise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const layer = "replicas: 2, placement: {antiAffinity: required}, updatePolicy: {delay: 0s, drainTimeout: 0s, minHealthy: 0s}"
		p := outside()[0]
		p.layer = layer
		s := newScene(t, p)
		defer s.close()
		s.w.Zone.Alter(func(r *fleet.DNSRecord) { r.TTL = max(r.TTL, 5*time.Minute) })
		before := len(s.w.Trace())
		s.commit(layer + ", redeploy: a")
		require.True(t, s.await("after a redeploy"))
		time.Sleep(10 * time.Minute)
		trace := s.w.Trace()[before:]
		require.Equal(t, 2, strings.Count(trace, "creating record "), "each once, when its node is back")
		require.NotContains(t, trace, "updating record ")
		require.Contains(t, strings.Join(s.current().CurrentPlan().Warnings, "\n"), "its provider keeps it otherwise than it is asked to (ttl 5m0s → 1m30s)")
		require.True(t, s.current().Current().Converged)
		require.Empty(t, s.w.Violations())
	})
}
