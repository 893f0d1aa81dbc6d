package reconciler

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// TestANodeThatMayBeEndingGetsItsNamesBackLater, as a controller that was killed may have had it stopped.
func TestANodeThatMayBeEndingGetsItsNamesBackLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		_ = h1.keeper.change(func(s *fleet.KeeperState) { s.Zone.Nodes[0].Out = withdrawn + "redeploy" })
		c := controller(t, r, h1, h2)
		end := loop(t, c)
		time.Sleep(defaultStop + stopMargin - time.Second)
		require.Equal(t, withdrawn+"redeploy", h1.keeper.zone().Nodes[0].Out)
		require.False(t, c.Current().Converged, "it counts as out until then")
		within(t, c, 3*time.Second, "it is found again", func() bool { return h1.keeper.zone().Nodes[0].Out == "" && c.Current().Converged })
		end()

		_ = h1.keeper.change(func(s *fleet.KeeperState) { s.Zone.Nodes[0].Out = withdrawn + "redeploy" })
		next := controller(t, r, h1, h2)
		end = loop(t, next)
		time.Sleep(time.Second)
		begun := time.Now()
		end()
		require.Less(t, time.Since(begun), time.Second, "asked to stop, it doesn't wait")
	})
}

// TestANodeThatMayBeEndingIsNotTouched: that it is out of the names doesn't say that it doesn't serve, nor since when
// nobody is sent to it. It is gone on with at once where it ends.
func TestANodeThatMayBeEndingIsNotTouched(t *testing.T) {
	for _, ends := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r, h1, h2 := two(t)
			_ = h1.keeper.change(func(s *fleet.KeeperState) { s.Zone.Nodes[0].Out = withdrawn + "redeploy" })
			h1.has["app:2"] = true
			r.write("blog.yaml", environment("blog", "app:2", "h1"))
			c := controller(t, r, h1, h2)
			defer loop(t, c)()
			time.Sleep(2 * time.Second)
			require.True(t, h1.runs("blog-web-1-g1"))
			require.Contains(t, string(raw(c.Current())), "may have had")
			if ends {
				h1.kill(t, "blog-web-1-g1")
				within(t, c, 2*time.Second, "it is gone on with", func() bool { return h1.runs("blog-web-1-g2") })
				return
			}
			time.Sleep(defaultStop + stopMargin - 3*time.Second)
			require.True(t, h1.runs("blog-web-1-g1"))
			within(t, c, 5*time.Second, "it is changed", func() bool { return h1.runs("blog-web-1-g2") && c.Current().Converged })
		})
	}
}
