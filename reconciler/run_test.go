package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func raw(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// running starts a loop; the function that it returns ends it.
func loop(t *testing.T, c *Controller) (end func()) {
	t.Helper()
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- c.Run(context.Background(), stop) }()
	return func() {
		close(stop)
		require.NoError(t, <-ended)
		require.NoError(t, c.Close())
	}
}

// within waits for a condition in the bubble's time.
func within(t *testing.T, c *Controller, d time.Duration, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !f(); {
		require.True(t, time.Now().Before(end), "not within %s: %s\n%s\n%s", d, what, raw(c.CurrentPlan()), raw(c.Current()))
		time.Sleep(5 * time.Millisecond)
	}
}

func TestARegistryThatHangsDelaysNoHealing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1 := newEngine("h1")
		h1.resolve = func(ctx context.Context, _ string) (string, error) {
			select {
			case <-time.After(30 * time.Second):
				return "", errors.New("no answer")
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		r := newRepo("h1")
		r.write("shop.yaml", environment("shop", "app:1", "h1"))
		c := controller(t, r, h1)
		defer loop(t, c)()
		within(t, c, 5*time.Second, "shop serves", func() bool { return c.Current().Converged })
		r.write("blog.yaml", environment("blog", "registry.example.com/app:2", "h1"))
		within(t, c, time.Second, "blog waits", func() bool {
			p := c.CurrentPlan()
			return len(p.Layers) == 1 && len(p.Layers[0].Waiting) == 1 && strings.Contains(p.Layers[0].Waiting[0].Reason, "is being looked up")
		})
		h1.kill(t, "shop-web-1-g1")
		within(t, c, time.Second, "shop runs again", func() bool { return h1.runs("shop-web-1-g1") })
		require.False(t, c.Current().Converged)
	})
}

// never is a registry that accepts the question and doesn't answer.
func never(ctx context.Context, _ string) (string, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

func TestARegistryIsAskedThroughTheNextHostToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1, h2 := newEngine("h1"), newEngine("h2")
		var open atomic.Bool
		h1.resolve = never
		h2.resolve = func(ctx context.Context, ref string) (string, error) {
			if !open.Load() {
				return never(ctx, ref)
			}
			return "sha256:" + strings.Repeat("b", 64), nil
		}
		r := newRepo("h1", "h2")
		anywhere := strings.Replace(environment("shop", "registry.example.com/app:2", "h1"), "{hosts: {is: h1}}", "{}", 1)
		r.write("shop.yaml", anywhere)
		c := controller(t, r, h1, h2)
		defer loop(t, c)()
		waits := func(says string) func() bool {
			return func() bool {
				p := c.CurrentPlan()
				return len(p.Layers) == 1 && len(p.Layers[0].Waiting) == 1 && strings.HasSuffix(p.Layers[0].Waiting[0].Reason, says)
			}
		}
		within(t, c, 4*time.Second, "one is asked", waits(": registry registry.example.com has not answered h1 yet"))
		within(t, c, 4*time.Second, "both are asked", waits(": registry registry.example.com has not answered h1, h2 yet"))
		open.Store(true)
		r.write("shop.yaml", strings.Replace(anywhere, "app:2", "app:3", 1))
		within(t, c, 10*time.Second, "shop serves", func() bool { return c.Current().Converged })
	})
}

func TestAHostThatHangsDelaysNoHealingElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1, h2 := newEngine("h1"), newEngine("h2")
		r := newRepo("h1", "h2")
		r.write("shop.yaml", environment("shop", "app:1", "h1"))
		r.write("blog.yaml", environment("blog", "app:1", "h2"))
		c := controller(t, r, h1, h2)
		defer loop(t, c)()
		within(t, c, 5*time.Second, "both serve", func() bool { return c.Current().Converged })
		h2.mu.Lock()
		h2.hangs = true
		h2.mu.Unlock()
		<-h2.observing // the interval's reading hangs now
		for range 5 {
			h1.kill(t, "shop-web-1-g1")
			within(t, c, time.Second, "shop runs again", func() bool { return h1.runs("shop-web-1-g1") })
			within(t, c, time.Second, "its start is done", func() bool { return c.allIdle() })
			time.Sleep(2 * time.Second)
		}
	})
}

// counted counts the readings of an engine.
type counted struct {
	*engine
	now, most, all atomic.Int32
}

func (e *counted) Observe(ctx context.Context, fleetName string) fleet.HostState {
	now := e.now.Add(1)
	e.all.Add(1)
	if now > e.most.Load() {
		e.most.Store(now)
	}
	defer e.now.Add(-1)
	return e.engine.Observe(ctx, fleetName)
}

// What takes longer than the interval doesn't pile up: a host is read again once it has been read.
func TestReadingsThatTakeLongerThanTheIntervalDoNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1 := newEngine("h1")
		e := &counted{engine: h1}
		r := newRepo("h1")
		r.write("shop.yaml", environment("shop", "app:1", "h1"))
		c := controllerOf(t, r, map[string]Engine{"h1": e}, h1)
		c.opts.Interval = time.Second
		defer loop(t, c)()
		within(t, c, 5*time.Second, "shop serves", func() bool { return c.Current().Converged })
		h1.mu.Lock()
		h1.slow = 5 * time.Second
		h1.mu.Unlock()
		time.Sleep(10 * time.Second) // of the bubble's time: what was read at once is over
		e.most.Store(0)
		before := e.all.Load()
		time.Sleep(time.Minute)
		require.Equal(t, int32(1), e.most.Load())
		require.InDelta(t, 12, e.all.Load()-before, 2)
	})
}

func TestAnImageThatCouldNotBeResolvedIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1 := newEngine("h1")
		var down atomic.Bool
		var asked atomic.Int32
		down.Store(true)
		h1.resolve = func(context.Context, string) (string, error) {
			asked.Add(1)
			if down.Load() {
				return "", errors.New("connection refused")
			}
			return "sha256:" + strings.Repeat("b", 64), nil
		}
		r := newRepo("h1")
		r.write("shop.yaml", environment("shop", "registry.example.com/app:2", "h1"))
		c := controller(t, r, h1)
		defer loop(t, c)()
		within(t, c, time.Second, "it was asked", func() bool { return asked.Load() == 1 })
		within(t, c, time.Second, "the reason is told", func() bool {
			nodes := c.Current().Environments[0].Layers[0].Nodes
			return len(nodes) == 1 && strings.Contains(nodes[0].Reason, "connection refused")
		})
		time.Sleep(60 * time.Second)
		require.LessOrEqual(t, asked.Load(), int32(5), "ever more seldom")
		require.GreaterOrEqual(t, asked.Load(), int32(3))
		down.Store(false)
		within(t, c, lookupPauseMost+5*time.Second, "shop serves", func() bool { return c.Current().Converged })
	})
}
