package reconciler

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// TestWhatWasMadeLastIsInTheCopyThatIsLeft: asked to stop, a loop ends the nodes at hand. Whoever comes next, and finds
// their host lost, has to know that they are there.
func TestWhatWasMadeLastIsInTheCopyThatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		c := controller(t, r, h1, h2)
		end := loop(t, c)
		within(t, c, 5*time.Second, "both serve", func() bool { return c.Current().Converged })
		healthy := false
		h1.keeper.mu.Lock()
		h1.keeper.judge = func(n fleet.ZoneNode) (fleet.ProbeResult, bool) {
			return fleet.ProbeResult{Healthy: n.Generation == 1 || healthy, For: time.Minute}, true
		}
		h1.keeper.mu.Unlock()
		require.NoError(t, h1.Remove(t.Context(), "blog-web-1-g1"))
		h1.events <- fleet.Event{Host: "h1", Kind: "container", Action: "destroy", ID: "blog-web-1-g1"}
		within(t, c, 5*time.Second, "it is made anew", func() bool { return h1.runs("blog-web-1-g2") })
		time.Sleep(2 * copyPause)
		require.NotContains(t, h2.keeper.placed(), "blog/web/1", "it is at its gate")
		time.AfterFunc(2*time.Second, func() {
			h1.keeper.mu.Lock()
			defer h1.keeper.mu.Unlock()
			healthy = true
		})
		end()
		require.Contains(t, h2.keeper.placed(), "blog/web/1")
	})
}

// placed are the nodes in the keeper's copy.
func (k *keeper) placed() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var nodes []string
	for _, n := range k.state.Copy.Nodes {
		nodes = append(nodes, n.NodeID.String())
	}
	return nodes
}
