package reconciler

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// meddled is an engine on which something else undoes what was done.
type meddled struct {
	*engine
	mu    sync.Mutex
	ended bool        // it doesn't any more
	at    []time.Time // when it was done
	undo  func(e *engine, id string)
	after time.Duration // until it is undone
}

func (m *meddled) done(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = append(m.at, time.Now())
	if m.ended {
		return
	}
	if m.after == 0 {
		m.undo(m.engine, id)
		return
	}
	time.AfterFunc(m.after, func() { m.undo(m.engine, id) })
}

func (m *meddled) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
}

// times is how often it was done, and since when.
func (m *meddled) times(since time.Time) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(m.at), func(at time.Time) bool { return at.Before(since) }))
}

// limited is an engine on which each container that is started gets a limit.
type limited struct{ *meddled }

func (e limited) Start(ctx context.Context, id string) error {
	err := e.engine.Start(ctx, id)
	e.done(id)
	return err
}

// later is within, for what takes hours of the bubble's time.
func later(t *testing.T, c *Controller, d time.Duration, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !f(); {
		require.True(t, time.Now().Before(end), "not within %s: %s\n%s\n%s", d, what, raw(c.CurrentPlan()), raw(c.Current()))
		time.Sleep(5 * time.Second)
	}
}

// noted keeps the errors that are told of.
func noted(c *Controller) func() []string {
	var mu sync.Mutex
	var errs []string
	tell := c.opts.Notice
	c.opts.Notice = func(n Notice) {
		tell(n)
		mu.Lock()
		defer mu.Unlock()
		if n.Level == "error" {
			errs = append(errs, n.Message)
		}
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(errs)
	}
}

func TestWhatIsUndoneEachTimeIsNotDoneForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1 := newEngine("h1")
		e := limited{&meddled{engine: h1, undo: func(e *engine, id string) {
			_, _ = e.change(id, func(in *fleet.Instance) { in.Limits.Memory, in.Limits.MemoryReservation = 64<<20, 0 })
		}}}
		r := newRepo("h1")
		shop := func(redeploy string) string {
			return strings.Replace(environment("shop", "app:1", "h1"), "replicas: 1", "replicas: 1\n      redeploy: "+redeploy, 1)
		}
		r.write("shop.yaml", shop("a"))
		c := controllerOf(t, r, map[string]Engine{"h1": e}, h1)
		told := noted(c)
		begun := time.Now()
		defer loop(t, c)()
		later(t, c, 10*time.Minute, "three times in a row at once", func() bool { return e.times(begun) == 1+3 })
		require.Less(t, time.Since(begun), 3*time.Minute)
		require.Empty(t, told())
		within(t, c, time.Minute, "the next one waits, and it is told why", func() bool {
			p := c.CurrentPlan()
			return len(p.Layers) == 1 && len(p.Layers[0].Waiting) == 1 && strings.Contains(p.Layers[0].Waiting[0].Reason, "redeploy was done 3 times")
		})
		require.False(t, c.Current().Converged)

		later(t, c, 30*time.Minute, "six times", func() bool { return e.times(begun) == 1+6 })
		time.Sleep(time.Hour)
		require.Equal(t, 1+6, e.times(begun))
		st := c.Current()
		require.False(t, st.Converged)
		require.Len(t, st.Problems, 1)
		require.Contains(t, st.Problems[0], "shop/web/1: redeploy was done 6 times since ")
		require.Contains(t, st.Problems[0], "(limit.memory: 64Mi → none)")
		require.Contains(t, st.Environments[0].Layers[0].Nodes[0].Waits, "redeploy waits until ")
		require.Equal(t, st.Problems, told(), "said once")
		time.Sleep(4 * time.Hour)
		require.Equal(t, 1+7, e.times(begun), "it is tried again after two hours, then after four")

		again := time.Now()
		r.write("shop.yaml", shop("b"))
		within(t, c, time.Minute, "another spec is tried at once", func() bool { return e.times(again) >= 2 })
		require.Empty(t, c.Current().Problems)
		e.end()
		later(t, c, 30*time.Minute, "it lasts", func() bool { return c.Current().Converged })
	})
}

// renamed is an engine on which something else renames containers.
type renamed struct{ *meddled }

func (e renamed) Rename(_ context.Context, id, name string) error {
	_, err := e.change(id, func(in *fleet.Instance) { in.Name, in.Renamed = name, "" })
	e.done(id)
	return err
}

func rename(e *engine, id string) {
	_, _ = e.change(id, func(in *fleet.Instance) { in.Name, in.Renamed = "mine", in.Name })
}

func TestANameThatIsTakenAwayEachTimeIsNotPutBackForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1 := newEngine("h1")
		e := renamed{&meddled{engine: h1, undo: rename, after: time.Second}}
		r := newRepo("h1")
		r.write("shop.yaml", environment("shop", "app:1", "h1"))
		c := controllerOf(t, r, map[string]Engine{"h1": e}, h1)
		told := noted(c)
		defer loop(t, c)()
		within(t, c, 5*time.Second, "shop serves", func() bool { return c.Current().Converged })
		begun := time.Now()
		rename(h1, "shop-web-1-g1")
		later(t, c, time.Hour, "six times", func() bool { return e.times(begun) == 6 })
		time.Sleep(time.Hour)
		require.Equal(t, 6, e.times(begun))
		st := c.Current()
		require.False(t, st.Converged)
		require.Len(t, st.Problems, 1)
		require.Contains(t, st.Problems[0], "shop/web/1: rename was done 6 times since ")
		require.Equal(t, st.Problems, told())
		require.Contains(t, c.CurrentPlan().Hosts[0].Waits, "rename waits until ")
		require.Len(t, left(c.CurrentPlan()), 1)
		e.end()
		later(t, c, 3*time.Hour, "it is tried again at last, and lasts", func() bool { return e.times(begun) == 7 })
		later(t, c, 5*time.Hour, "which is well again", func() bool { return c.Current().Converged })
	})
}

// What is down is brought back at once, however often that was done.
func TestANodeThatIsKilledIsHealedAtOnceEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1 := newEngine("h1")
		r := newRepo("h1")
		r.write("shop.yaml", environment("shop", "app:1", "h1"))
		c := controller(t, r, h1)
		defer loop(t, c)()
		within(t, c, 5*time.Second, "shop serves", func() bool { return c.Current().Converged })
		for range 2 * plan.MostTries {
			h1.kill(t, "shop-web-1-g1")
			within(t, c, time.Second, "it is healed", func() bool { return h1.runs("shop-web-1-g1") && c.Current().Converged })
			time.Sleep(5 * time.Second)
		}
		require.Empty(t, c.Current().Problems)
	})
}

// A pass ends with what is undone each time.
func TestAPassThatIsUndoneEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1 := newEngine("h1")
		e := limited{&meddled{engine: h1, undo: func(e *engine, id string) {
			_, _ = e.change(id, func(in *fleet.Instance) { in.Limits.Memory = 64 << 20 })
		}}}
		r := newRepo("h1")
		r.write("shop.yaml", environment("shop", "app:1", "h1"))
		c := controllerOf(t, r, map[string]Engine{"h1": e}, h1)
		defer func() { require.NoError(t, c.Close()) }()
		var reports []rollout.Progress
		c.opts.Report = func(p rollout.Progress) { reports = append(reports, p) }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		got, err := c.Apply(ctx, nil)
		require.NoError(t, err)
		require.False(t, got.Converged)
		require.Len(t, got.Problems, 1)
		require.Contains(t, got.Problems[0], "shop/web/1 waits: redeploy waits until ")
		require.Equal(t, 1+3, e.times(time.Time{}))
	})
}
