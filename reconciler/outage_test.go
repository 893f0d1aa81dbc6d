package reconciler

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// notices are those of a controller that speak of its nodes' health.
type notices struct {
	mu   sync.Mutex
	said []string
}

func (n *notices) of(c *Controller) {
	c.opts.Notice = func(x Notice) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if strings.Contains(x.Message, "healthy") {
			n.said = append(n.said, x.Level+": "+x.Message)
		}
	}
}

func (n *notices) taken() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	said := n.said
	n.said = nil
	return said
}

const shopIsOut = "no node of shop/web is healthy: http probe: /bad answered 404 Not Found; " +
	"its names still lead to all of them: mend the nodes, or the layer's healthCheck"

func TestALayerWithoutAHealthyNodeIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, p := newRepo("h1"), newEngine("h1"), &pages{first: map[string]time.Time{}, bad: "/bad", after: time.Second}
		h1.keeper.judge = p.judge
		r.write("shop.yaml", probed("/good"))
		c, n := controller(t, r, h1), &notices{}
		n.of(c)
		defer loop(t, c)()
		within(t, c, 10*time.Second, "shop serves", func() bool { return c.Current().Converged })
		one := func(level, text string) {
			t.Helper()
			time.Sleep(2 * c.opts.Interval)
			require.Equal(t, []string{level + ": " + text}, n.taken(), "once")
			st := c.Current()
			require.Equal(t, level == "error", slices.Contains(st.Problems, text), "%v", st.Problems)
			require.Equal(t, level == "info", st.Converged)
		}
		require.Empty(t, n.taken(), "its first start is no outage")

		r.write("shop.yaml", probed("/bad"))
		one("error", shopIsOut)
		r.write("shop.yaml", probed("/better"))
		one("info", "a node of shop/web is healthy again")

		r.write("shop.yaml", strings.Replace(probed("/better"), "app:1", "app:2", 1))
		h1.mu.Lock()
		h1.has["app:2"] = true
		h1.mu.Unlock()
		within(t, c, 2*time.Minute, "all is new", func() bool { return h1.runs("shop-web-1-g2") && c.Current().Converged })
		require.Empty(t, n.taken(), "a rollout in which no node serves for a moment is no outage")

		p.fail("/better")
		time.Sleep(2 * c.opts.Interval)
		require.Len(t, n.taken(), 1, "by itself")
		h1.kill(t, "shop-web-1-g2")
		h1.kill(t, "shop-web-2-g2")
		time.Sleep(2 * c.opts.Interval)
		require.NotContains(t, strings.Join(n.taken(), "\n"), "healthy again")
	})
}

func (p *pages) fail(page string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bad = page
}

func TestNoOutageIsToldOfWhatIsNotKnown(t *testing.T) {
	tests := []struct {
		name   string
		change func(t *testing.T, c *Controller, h1, h2 *engine)
		want   []string
	}{
		{"nothing", func(*testing.T, *Controller, *engine, *engine) {}, []string{"no node of shop/web is healthy: its health check fails; "}},
		{"another one's keeper doesn't answer", func(_ *testing.T, c *Controller, _, _ *engine) {
			h := c.host("h2")
			other := c.host("h1").snapshot().Instances[0]
			other.ID, other.Node, other.Host, other.Health = "other", 2, "h2", fleet.HealthNone
			st := h.snapshot()
			st.Keeper, st.Instances = nil, []fleet.Instance{other}
			h.keep(st, time.Now())
		}, nil},
		{"a node may be on a host out of reach", func(t *testing.T, c *Controller, _, h2 *engine) {
			h2.hang()
			c.observeAll(t.Context())
			c.mu.Lock()
			c.desired.Environment("shop").Layer("web").Replicas = 2
			c.mu.Unlock()
		}, nil},
		{"another one has just been started", func(t *testing.T, c *Controller, h1, _ *engine) {
			st := c.host("h1").snapshot()
			in := st.Instances[0]
			in.ID, in.Node, in.Health = "new", 2, fleet.HealthStarting
			c.host("h1").saw("new", patch{in: in})
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, h1, h2 := newRepo("h1", "h2"), newEngine("h1"), newEngine("h2")
				r.write("shop.yaml", environment("shop", "app:1", "h1"))
				require.True(t, pass(t, controller(t, r, h1, h2), nil).Converged)
				_, err := h1.change("shop-web-1-g1", func(in *fleet.Instance) { in.Health = fleet.HealthUnhealthy })
				require.NoError(t, err)
				c, _ := ready(t, r, h1, h2)
				n := &notices{}
				n.of(c)
				tt.change(t, c, h1, h2)
				c.tellOutages()
				said := n.taken()
				require.Len(t, said, len(tt.want), "%v", said)
				for i := range tt.want {
					require.Contains(t, said[i], tt.want[i])
				}
			})
		})
	}
}
