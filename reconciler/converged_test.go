package reconciler

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// pages is a keeper whose probes of a page have said something after a while.
type pages struct {
	mu    sync.Mutex
	first map[string]time.Time // when a page was first asked for
	after time.Duration        // how long the first answer takes; 0: it is there
	bad   string               // the page that isn't there
}

func (p *pages) judge(n fleet.ZoneNode) (fleet.ProbeResult, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(n.Probes) == 0 {
		return fleet.ProbeResult{Healthy: true, For: time.Minute}, true
	}
	page := n.Probes[0].Path
	if p.first[page].IsZero() {
		p.first[page] = time.Now()
	}
	switch {
	case time.Since(p.first[page]) < p.after:
		return fleet.ProbeResult{Pending: true}, true
	case page == p.bad:
		return fleet.ProbeResult{Last: "http probe: " + page + " answered 404 Not Found"}, true
	}
	return fleet.ProbeResult{Healthy: true, For: time.Minute}, true
}

// probed is an environment of two nodes that are probed at a page.
func probed(page string) string {
	return strings.NewReplacer("replicas: 1", "replicas: 2\n      ports: [{name: http, port: 80}]\n      healthCheck: {http: {port: http, path: "+page+"}}").
		Replace(environment("shop", "app:1", "h1"))
}

// inPass makes a fleet of one host whose nodes are probed at /good, and serve.
func inPass(t *testing.T, test func(t *testing.T, r *repo, h1 *engine, p *pages)) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, p := newRepo("h1"), newEngine("h1"), &pages{first: map[string]time.Time{}, bad: "/bad"}
		h1.keeper.judge = p.judge
		r.write("shop.yaml", probed("/good"))
		require.True(t, pass(t, controller(t, r, h1), nil).Converged)
		test(t, r, h1, p)
	})
}

func pass(t *testing.T, c *Controller, stop <-chan struct{}) Result {
	t.Helper()
	defer func() { require.NoError(t, c.Close()) }()
	res, err := c.Apply(t.Context(), stop)
	require.NoError(t, err)
	return res
}

func TestAPassHasNotConvergedWhileNodesDoNotServe(t *testing.T) {
	inPass(t, func(t *testing.T, r *repo, h1 *engine, p *pages) {
		p.after = 1500 * time.Millisecond
		r.write("shop.yaml", probed("/bad"))
		for range 2 {
			res := pass(t, controller(t, r, h1), nil)
			require.False(t, res.Converged)
			require.Equal(t, []string{"shop/web/1 (h1), 2 (h1) don't serve: http probe: /bad answered 404 Not Found"}, res.Problems)
		}
		r.write("shop.yaml", probed("/better"))
		begun := time.Now()
		res := pass(t, controller(t, r, h1), nil)
		require.True(t, res.Converged, "%+v", res.Problems)
		require.GreaterOrEqual(t, time.Since(begun), p.after, "the first result was waited for")
	})
}

func TestAPassWaitsForAFirstResultNoLongerThanItMayTake(t *testing.T) {
	inPass(t, func(t *testing.T, r *repo, h1 *engine, p *pages) {
		p.after = time.Hour
		r.write("shop.yaml", probed("/other"))
		begun := time.Now()
		res := pass(t, controller(t, r, h1), nil)
		require.False(t, res.Converged)
		require.Equal(t, []string{"shop/web/1 (h1), 2 (h1) don't serve: not probed yet"}, res.Problems)
		require.Less(t, time.Since(begun), 2*healthPatience)

		begun = time.Now()
		stop := make(chan struct{})
		time.AfterFunc(3*time.Second, func() { close(stop) })
		require.False(t, pass(t, controller(t, r, h1), stop).Converged)
		require.Equal(t, 3*time.Second, time.Since(begun), "asked to stop, it doesn't wait")
	})
}

func TestAStartIsWaitedForUntilItsHealthCheckHasDecided(t *testing.T) {
	inPass(t, func(t *testing.T, r *repo, h1 *engine, _ *pages) {
		check := func(h fleet.Health) {
			_, err := h1.change("shop-web-2-g1", func(in *fleet.Instance) { in.Health = h })
			require.NoError(t, err)
		}
		check(fleet.HealthStarting)
		time.AfterFunc(time.Minute, func() { check(fleet.HealthHealthy) })
		begun := time.Now()
		require.True(t, pass(t, controller(t, r, h1), nil).Converged)
		require.GreaterOrEqual(t, time.Since(begun), time.Minute)

		check(fleet.HealthUnhealthy)
		res := pass(t, controller(t, r, h1), nil)
		require.False(t, res.Converged)
		require.Equal(t, []string{"shop/web/2 (h1) doesn't serve: its health check fails"}, res.Problems)
	})
}

func TestNodesThatDoNotServeAreNamedByTheirReasons(t *testing.T) {
	l := LayerStatus{Name: "web", Wanted: 4, Nodes: []NodeStatus{
		{Node: 1, Host: "h1", Reason: "404"}, {Node: 2, Serving: true}, {Node: 3, Reason: "waits until shop/db runs"},
		{Node: 4, Host: "h2", Reason: "404"}, {Node: 5, Host: "h1", Reason: "surplus"},
	}}
	require.Equal(t, []string{"shop/web/1 (h1), 4 (h2) don't serve: 404", "shop/web/3 doesn't serve: waits until shop/db runs"},
		l.unserved("shop", func(int) bool { return false }))
	require.Equal(t, []string{"shop/web/1 (h1) doesn't serve: 404", "shop/web/3 doesn't serve: waits until shop/db runs"},
		l.unserved("shop", func(node int) bool { return node == 4 }))
}

// What a pass says and what the status says right after it is the same.
func TestAPassAndTheStatusAgree(t *testing.T) {
	reports := func(r *repo) {
		r.commit(func(files fstest.MapFS) {
			files["fleet.yaml"].Data = append(files["fleet.yaml"].Data, "  drift: {selfHeal: false}\n"...)
		})
	}
	tests := []struct {
		name   string
		change func(t *testing.T, r *repo, h1 *engine)
		want   bool
	}{
		{"nothing", func(*testing.T, *repo, *engine) {}, true},
		{"a wrong page", func(_ *testing.T, r *repo, _ *engine) { r.write("shop.yaml", probed("/bad")) }, false},
		{"a right page", func(_ *testing.T, r *repo, _ *engine) { r.write("shop.yaml", probed("/better")) }, true},
		{"a node more", func(_ *testing.T, r *repo, _ *engine) {
			r.write("shop.yaml", strings.Replace(probed("/good"), "replicas: 2", "replicas: 3", 1))
		}, true},
		{"a node that ended, only reported", func(t *testing.T, r *repo, h1 *engine) {
			reports(r)
			h1.exit(t, "shop-web-1-g1")
		}, false},
		{"a node off its network, only reported", func(t *testing.T, r *repo, h1 *engine) {
			reports(r)
			_, err := h1.change("shop-web-1-g1", func(in *fleet.Instance) { in.Network, in.Address = "", netip.Addr{} })
			require.NoError(t, err)
		}, false},
		{"an image that isn't there", func(_ *testing.T, r *repo, _ *engine) {
			r.write("shop.yaml", strings.Replace(probed("/good"), "app:1", "registry.example.com/app:2", 1))
		}, false},
		{"a node off its network", func(t *testing.T, _ *repo, h1 *engine) {
			_, err := h1.change("shop-web-1-g1", func(in *fleet.Instance) { in.Network, in.Address = "", netip.Addr{} })
			require.NoError(t, err)
		}, true},
		{"a host out of reach", func(_ *testing.T, _ *repo, h1 *engine) { h1.hang() }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inPass(t, func(t *testing.T, r *repo, h1 *engine, _ *pages) {
				tt.change(t, r, h1)
				res := pass(t, controller(t, r, h1), nil)
				c := controller(t, r, h1)
				defer func() { require.NoError(t, c.Close()) }()
				st, err := c.Status(t.Context())
				require.NoError(t, err)
				require.Equal(t, tt.want, res.Converged, "%s", raw(res))
				require.Equal(t, tt.want, st.Converged, "%s", raw(st))
				require.Equal(t, tt.want, len(res.Problems) == 0, "%v", res.Problems)
			})
		})
	}
}

func TestANodeOnAHostOutOfReachIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		h2.hang()
		c := controller(t, r, h1, h2)
		defer func() { require.NoError(t, c.Close()) }()
		st, err := c.Status(t.Context())
		require.NoError(t, err)
		require.False(t, st.Converged)
		blog, shop := st.Environments[0].Layers[0], st.Environments[1].Layers[0]
		require.Equal(t, 1, blog.Serving)
		require.Zero(t, blog.Unknown)
		require.Zero(t, shop.Serving)
		require.Equal(t, 1, shop.Unknown)
		require.Len(t, shop.Nodes, 1)
		require.Equal(t, "h2", shop.Nodes[0].Host)
		require.Equal(t, StateUnknown, shop.Nodes[0].State)
		require.NotEmpty(t, shop.Nodes[0].Reason)
		require.Empty(t, shop.unserved("shop", func(int) bool { return false }), "it may well serve")
	})
}

func TestEveryWantedNodeHasARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1 := newRepo("h1"), newEngine("h1")
		r.write("shop.yaml", probed("/good"))
		c := controller(t, r, h1)
		defer func() { require.NoError(t, c.Close()) }()
		st, err := c.Status(t.Context())
		require.NoError(t, err)
		web := st.Environments[0].Layers[0]
		require.Equal(t, []NodeStatus{{Node: 1, Reason: "not there yet: create is due"}, {Node: 2, Reason: "not there yet: create is due"}}, web.Nodes)

		web.Nodes = []NodeStatus{{Node: 2, Serving: true}}
		environments := []EnvironmentStatus{{Name: "shop", Layers: []LayerStatus{web}}}
		addMissing(environments, nil, []rollout.Progress{{Environment: "shop", Layer: "web", Node: 1, Operation: plan.Create, Phase: rollout.PhaseFailed, Error: "the name is taken"}})
		require.Equal(t, []NodeStatus{{Node: 1, Reason: "not there yet: create failed: the name is taken"}, {Node: 2, Serving: true}}, environments[0].Layers[0].Nodes)
	})
}
