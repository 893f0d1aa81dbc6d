package integration

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// threeNodes is a layer of three whose version 2 runs and never listens where it is probed.
func threeNodes(version int) string {
	port := 8080
	if version == 2 {
		port = 9090
	}
	return fmt.Sprintf(`
    - name: web
      image: node:1
      replicas: 3
      ports: [{name: http, port: 8080}]
      env: {VERSION: "%d", PORT: "%d"}
      stop: {grace: 5s}
      updatePolicy: {minHealthy: 500ms, delay: 0s, healthTimeout: 8s, drainTimeout: 0s}
`, version, port)
}

// TestMendingANodeWhoseCandidateRuns: the new container of a failed rollout runs on, unhealthy, and holds the
// node's address until whatever mends the node has ended it.
func TestMendingANodeWhoseCandidateRuns(t *testing.T) {
	// mended requires that all three nodes serve, with the version, and that nothing failed on the way.
	mended := func(t *testing.T, s *site, version int, p *process, revision string) {
		t.Helper()
		for _, st := range p.steps() {
			if st.Revision == revision {
				require.NotEqual(t, rollout.PhaseFailed, st.Phase, "%s of node %d: %s", st.Operation, st.Node, st.Error)
			}
		}
		require.Equal(t, 3, layer(t, s.status(), "shop", "web").Serving)
		require.Equal(t, []int{1, 2, 3}, s.startedWith(fmt.Sprintf("VERSION=%d", version), s.hosts[0]))
		require.NotContains(t, s.evenkeel("plan").stdout, "paused")
		require.Len(t, s.observe(s.hosts[0]).Instances, 3, "nothing is left over")
	}
	failed := func(t *testing.T, h *hosts.Host) *site {
		t.Helper()
		s := newSite(t, h)
		s.environment("shop", threeNodes(1))
		s.apply()
		s.environment("shop", threeNodes(2))
		requireSays(t, s.evenkeel("apply"), "not healthy")
		require.Equal(t, []int{3}, s.startedWith("VERSION=2", h), "the candidate runs on")
		return s
	}
	apply := func(t *testing.T, s *site, version int) {
		t.Helper()
		p := s.command(context.Background(), "apply", "-o", "json")
		o := p.wait()
		require.Equal(t, 0, o.code, "%s", o)
		mended(t, s, version, p, s.head())
	}
	t.Run("by a revert", func(t *testing.T) {
		t.Parallel()
		s := failed(t, lab.Host(1))
		s.git("revert", "--no-edit", "HEAD")
		apply(t, s, 1)
	})
	t.Run("by a fix", func(t *testing.T) {
		t.Parallel()
		s := failed(t, lab.Host(2))
		s.environment("shop", threeNodes(3))
		apply(t, s, 3)
	})
	t.Run("by a fix during the gate", func(t *testing.T) {
		t.Parallel()
		h := lab.Host(3)
		s := newSite(t, h)
		s.environment("shop", threeNodes(1))
		l := s.run()
		l.converged()
		s.environment("shop", threeNodes(2))
		bad := s.head()
		l.process.until("node 3 at its gate", func(st step) bool {
			return st.Revision == bad && st.Node == 3 && st.Phase == rollout.PhaseGate
		})
		s.environment("shop", threeNodes(3))
		l.converged()
		mended(t, s, 3, l.process, s.head())
	})
}
