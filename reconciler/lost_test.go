package reconciler

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// two is a fleet of a host that will hang and one that won't, with a node each, as a loop left it.
func two(t *testing.T) (r *repo, h1, h2 *engine) {
	t.Helper()
	h1, h2 = newEngine("h1"), newEngine("h2")
	r = newRepo("h1", "h2")
	r.write("shop.yaml", environment("shop", "app:1", "h2"))
	r.write("blog.yaml", environment("blog", "app:1", "h1"))
	c := controller(t, r, h1, h2)
	end := loop(t, c)
	within(t, c, 5*time.Second, "both serve", func() bool { return c.Current().Converged })
	end()
	return r, h1, h2
}

// ready is a controller that holds the leases, and has no loop at work.
func ready(t *testing.T, r *repo, engines ...*engine) (*Controller, context.Context) {
	t.Helper()
	c := controller(t, r, engines...)
	_, err := c.Fetch(t.Context())
	require.NoError(t, err)
	ctx, end := c.aside(t.Context())
	t.Cleanup(func() { end(); require.NoError(t, c.Close()) })
	c.observeAll(ctx)
	_, err = c.own(ctx, c.allHosts())
	require.NoError(t, err)
	c.computeWhole(ctx)
	return c, ctx
}

func (e *engine) hang() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hangs = true
}

func (e *engine) exit(t *testing.T, id string) {
	t.Helper()
	_, err := e.change(id, func(in *fleet.Instance) { in.State = fleet.StateExited })
	require.NoError(t, err)
}

func TestALoopThatBeginsBesideAHungHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		h1.hang()
		h2.exit(t, "shop-web-1-g1")
		r.write("news.yaml", environment("news", "app:1", "h2"))
		c := controller(t, r, h1, h2)
		defer loop(t, c)()
		within(t, c, 2*time.Second, "shop runs again", func() bool { return h2.runs("shop-web-1-g1") })
		require.False(t, h2.runs("news-web-1-g1"), "a node of which nothing is known may be on the host that hangs")
		within(t, c, time.Second, "it is told what news waits for", func() bool {
			return strings.Contains(string(raw(c.Current())), "create waits until host h1 has been read, or is found to be out of reach")
		})
		within(t, c, 11*time.Second, "news runs", func() bool { return h2.runs("news-web-1-g1") })
	})
}

func TestALoopThatTakesOverBesideAHungHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		h1.hang()
		h2.keeper.refuse("somebody@elsewhere (7)")
		c := controller(t, r, h1, h2)
		defer loop(t, c)()
		within(t, c, 3*time.Second, "it waits", func() bool { return strings.Contains(c.Current().Waiting, "somebody@elsewhere (7)") })
		h2.exit(t, "shop-web-1-g1")
		h2.keeper.refuse("")
		within(t, c, 4*time.Second, "shop runs again", func() bool { return h2.runs("shop-web-1-g1") })
	})
}

func (k *keeper) refuse(inFavourOf string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refuses = inFavourOf
}

func TestAKeeperThatIsSilentIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := []*engine{newEngine("h1"), newEngine("h2"), newEngine("h3")}
		r := newRepo("h1", "h2", "h3")
		for _, h := range hosts {
			r.write(h.name+".yaml", environment("on"+h.name, "app:1", h.name))
		}
		left := controller(t, r, hosts...)
		end := loop(t, left)
		within(t, left, 5*time.Second, "all serve", func() bool { return left.Current().Converged })
		end()
		// No loop is at work now, and there is something to be told to the keepers of h2 and h3.
		hosts[1].exit(t, "onh2-web-1-g1")
		hosts[2].exit(t, "onh3-web-1-g1")
		c, ctx := ready(t, r, hosts...)
		hosts[1].keeper.hush()
		hosts[2].keeper.hush()

		withdraw := func() time.Duration {
			begun := time.Now()
			w, err := naming{c}.Withdraw(ctx, fleet.NodeID{Environment: "onh1", Layer: "web", Node: 1}, "redeploy")
			require.NoError(t, err)
			require.Equal(t, []string{"h2", "h3"}, w.Stale)
			require.NoError(t, naming{c}.Restore(ctx, fleet.NodeID{Environment: "onh1", Layer: "web", Node: 1}))
			return time.Since(begun)
		}
		first := withdraw()
		require.Greater(t, first, staleAfter)
		require.Less(t, first, 2*staleAfter, "both are waited for at once")
		for range 3 {
			require.Zero(t, withdraw(), "it is known to be lost")
		}
	})
}

func TestANodeIsNotTouchedWhereAKeeperDoesNotAcknowledge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		h2.exit(t, "shop-web-1-g1")
		c, ctx := ready(t, r, h1, h2)
		h2.keeper.mu.Lock()
		h2.keeper.stuck = true
		h2.keeper.mu.Unlock()
		begun := time.Now()
		_, err := naming{c}.Withdraw(ctx, fleet.NodeID{Environment: "blog", Layer: "web", Node: 1}, "redeploy")
		require.ErrorIs(t, err, fleet.ErrUnreachable)
		require.ErrorContains(t, err, "telling the keeper on h2")
		require.Less(t, time.Since(begun), confirmPatience+staleAfter)
	})
}

// A host that is lost is read by several at once; that it is, and that it is back, is said once.
func TestALostHostIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1 := newEngine("h1")
		c := controller(t, newRepo("h1"), h1)
		defer func() { require.NoError(t, c.Close()) }()
		_, err := c.Fetch(t.Context())
		require.NoError(t, err)
		var mu sync.Mutex
		var said []string
		c.opts.Notice = func(n Notice) {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, n.Level)
		}
		readByThree := func() []string {
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() { c.observeHost(t.Context(), c.host("h1")) })
				time.Sleep(time.Second)
			}
			all.Wait()
			now := said
			said = nil
			return now
		}
		require.Empty(t, readByThree(), "it is there from the beginning")
		h1.hang()
		require.Equal(t, []string{"error"}, readByThree())
		require.Empty(t, readByThree())
		h1.mu.Lock()
		h1.hangs = false
		h1.mu.Unlock()
		require.Equal(t, []string{"info"}, readByThree())
	})
}

// A keeper on a busy host may answer too late when its lease is asked for first: once it has been given after all, and
// everything is done, nothing is wrong.
func TestAKeeperThatIsLeasedLateIsNoProblem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		h2.exit(t, "shop-web-1-g1")
		h2.keeper.slow = 1
		c := controller(t, r, h1, h2)
		defer func() { require.NoError(t, c.Close()) }()
		res, err := c.Apply(t.Context(), nil)
		require.NoError(t, err)
		require.True(t, h2.runs("shop-web-1-g1"))
		require.Empty(t, res.Problems)
		require.True(t, res.Converged)

		h2.exit(t, "shop-web-1-g1")
		h2.keeper.slow = 100
		left := controller(t, r, h1, h2)
		defer func() { require.NoError(t, left.Close()) }()
		res, err = left.Apply(t.Context(), nil)
		require.NoError(t, err)
		require.False(t, res.Converged)
		require.Contains(t, strings.Join(res.Problems, "; "), "the lease of h2: ")
	})
}
