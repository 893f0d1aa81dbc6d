package reconciler

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// joining is an engine with links.
type joining struct {
	*engine
	answers func(want fleet.Links) (fleet.LinksResult, bool) // false: none comes; nil: all is well
	set     []fleet.Links
	made    []string
}

func (e *joining) CreateService(_ context.Context, v fleet.Service) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	id := fmt.Sprintf("links-%s-%d", e.name, len(e.made))
	e.made = append(e.made, id)
	e.state.Links = &fleet.LinksContainer{ID: id, Name: v.Name, Version: 1, State: fleet.StateCreated, RestartPolicy: v.Restart}
	return id, nil
}

func (e *joining) Start(ctx context.Context, id string) error {
	if !strings.HasPrefix(id, "links-") {
		return e.engine.Start(ctx, id)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	running := *e.state.Links
	running.State = fleet.StateRunning
	e.state.Links = &running
	return nil
}

func (e *joining) Remove(ctx context.Context, id string) error {
	if !strings.HasPrefix(id, "links-") {
		return e.engine.Remove(ctx, id)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.Links = nil
	return nil
}

func (e *joining) RemoveVolume(context.Context, string) error { return nil }

func (e *joining) Exec(ctx context.Context, id string, argv []string) (net.Conn, error) {
	if !slices.Equal(argv, setLinksArgs) {
		return e.engine.Exec(ctx, id, argv)
	}
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		var want fleet.Links
		if json.NewDecoder(theirs).Decode(&want) != nil {
			return
		}
		e.mu.Lock()
		e.set = append(e.set, want)
		answers := e.answers
		e.mu.Unlock()
		r, answered := fleet.LinksResult{MTU: 1400}, true
		if answers != nil {
			r, answered = answers(want)
		}
		if answered {
			_ = json.NewEncoder(theirs).Encode(r)
			return
		}
		_, _ = theirs.Read(make([]byte, 1)) // until it is given up
	}()
	return ours, nil
}

func (e *joining) last() *fleet.Links {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.set) == 0 {
		return nil
	}
	return &e.set[len(e.set)-1]
}

func (e *joining) times() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.set)
}

// joined is a fleet of two hosts that are to be joined, each with a node of shop.
func joinedHosts(t *testing.T) (r *repo, h1, h2 *joining, open func() *Controller) {
	h1, h2 = &joining{engine: newEngine("h1")}, &joining{engine: newEngine("h2")}
	r = newRepo("h1", "h2")
	text := string(r.files["fleet.yaml"].Data)
	for i := 1; i <= 2; i++ {
		text = strings.Replace(text, fmt.Sprintf("tcp://127.0.0.%d:2375", i), fmt.Sprintf("tcp://10.0.0.%d:2375", i), 1)
	}
	r.write("fleet.yaml", strings.Replace(text, "driver: bridge", "driver: vxlan", 1))
	both := strings.Replace(environment("shop", "app:1", "h1"), "      placement: {hosts: {is: h1}}\n", "      placement: {antiAffinity: required}\n", 1)
	r.write("shop.yaml", strings.Replace(both, "replicas: 1", "replicas: 2", 1))
	return r, h1, h2, func() *Controller {
		c := controllerOf(t, r, map[string]Engine{"h1": h1, "h2": h2}, h1.engine, h2.engine)
		c.opts.KeeperImage = func(string) (KeeperImage, error) { return noImage{}, nil }
		return c
	}
}

func TestHostsAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2, open := joinedHosts(t)
		res := apply(t, open())
		require.True(t, res.Converged, "%q", res.Problems)
		for i, h := range []*joining{h1, h2} {
			require.Len(t, h.made, 1)
			name := fleet.NetworkName("f", "shop")
			n := h.state.Networks[slices.IndexFunc(h.state.Networks, func(n fleet.Network) bool { return n.Name == name })]
			require.Equal(t, 1350, n.MTU, "what the hosts' own links carry, less what encloses a frame")
			require.Equal(t, fleet.BridgeName("f", "shop"), n.Bridge)
			l := h.last()
			other := netip.AddrFrom4([4]byte{10, 0, 0, byte(2 - i)})
			require.Equal(t, []netip.Addr{other}, l.Hosts)
			require.Equal(t, []fleet.Link{{Environment: "shop", Bridge: n.Bridge, ID: fleet.VXLANID(n.Subnet), MTU: 1350, Peers: []netip.Addr{other}}}, l.Networks)
			require.Len(t, h.keeper.zone().Nodes, 2, "its keeper knows the node on the other host")
		}

		before := h1.times()
		c := open()
		defer loop(t, c)()
		within(t, c, 5*time.Second, "it knows that all is as it should be", func() bool { return c.Current().Converged })
		time.Sleep(time.Minute)
		require.LessOrEqual(t, h1.times(), before+1, "they are set once and not in each pass")

		h1.mu.Lock()
		h1.state.Links = nil
		h1.mu.Unlock()
		h1.events <- fleet.Event{Host: "h1", Kind: "container", Action: "destroy", Labels: map[string]string{fleet.LabelRole: fleet.RoleLinks}}
		within(t, c, 5*time.Second, "they are made anew and set", func() bool { return h1.times() > before+1 && len(h1.made) == 2 })
		require.Len(t, h1.last().Networks, 1)

		r.write("fleet.yaml", strings.Replace(string(r.files["fleet.yaml"].Data), "driver: vxlan", "driver: bridge", 1))
		within(t, c, 5*time.Second, "they are gone", func() bool {
			return h1.engine.Observe(t.Context(), "f").Links == nil && h2.engine.Observe(t.Context(), "f").Links == nil && c.Current().Converged
		})
		require.Equal(t, &fleet.Links{Fleet: "f"}, h1.last(), "what they had made first")
		require.Len(t, h1.keeper.zone().Nodes, 1)
	})
}

// A host that can't be joined now is no reason to leave its names as they were, and is said once.
func TestLinksThatCantBeSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h1, _, open := joinedHosts(t)
		require.True(t, apply(t, open()).Converged)
		var problem atomic.Bool
		problem.Store(true)
		h1.answers = func(fleet.Links) (fleet.LinksResult, bool) {
			if problem.Load() {
				return fleet.LinksResult{Problem: "joining environment shop: no such luck"}, true
			}
			return fleet.LinksResult{MTU: 1400}, true
		}
		c := open()
		var mu sync.Mutex
		var all []string
		c.opts.Notice = func(n Notice) {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, n.Message)
		}
		said := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(all)
		}
		defer loop(t, c)()
		within(t, c, 5*time.Second, "it is said", func() bool { return len(said()) > 0 })
		time.Sleep(2 * time.Minute)
		want := []string{"joining h1 to the other hosts: joining environment shop: no such luck (its nodes may not reach those of other hosts)"}
		require.Equal(t, want, said())
		require.Equal(t, want, c.Current().Problems)
		require.False(t, c.Current().Converged)
		problem.Store(false)
		before := h1.times()
		time.Sleep(2 * time.Minute)
		require.Equal(t, before+1, h1.times(), "it is tried again until it is done")
		require.True(t, c.Current().Converged)

		h1.mu.Lock()
		h1.answers = func(fleet.Links) (fleet.LinksResult, bool) { return fleet.LinksResult{}, false }
		h1.mu.Unlock()
		c.host("h1").relink.Store(true)
		time.Sleep(2 * time.Minute)
		require.Len(t, said(), 2, "one that hangs is said, too")
		require.Contains(t, said()[1], "joining h1 to the other hosts: ")
	})
}

// A pass ends, and says so, also where a host can't be joined, however long it takes to find out.
func TestAPassEndsWhereAHostCantBeJoined(t *testing.T) {
	for name, answers := range map[string]func(fleet.Links) (fleet.LinksResult, bool){
		"after a while": func(fleet.Links) (fleet.LinksResult, bool) {
			time.Sleep(time.Second)
			return fleet.LinksResult{Problem: "no such luck"}, true
		},
		"never": func(fleet.Links) (fleet.LinksResult, bool) { return fleet.LinksResult{}, false },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, h1, h2, open := joinedHosts(t)
				h1.answers = answers
				begun := time.Now()
				res := apply(t, open())
				require.False(t, res.Converged)
				require.Len(t, res.Problems, 1)
				require.Contains(t, res.Problems[0], "joining h1 to the other hosts: ")
				require.Less(t, time.Since(begun), time.Minute)
				require.Len(t, h2.last().Networks, 1)
				require.Len(t, h1.keeper.zone().Nodes, 2, "its nodes are there, and known")
			})
		})
	}
}

// One that doesn't answer is given up.
func TestLinksThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h1, _, open := joinedHosts(t)
		require.True(t, apply(t, open()).Converged)
		h1.answers = func(fleet.Links) (fleet.LinksResult, bool) { return fleet.LinksResult{}, false }
		begun := time.Now()
		_, err := setLinks(t.Context(), newHost(spec.Host{Name: "h1"}, h1), h1.made[0], &fleet.Links{Fleet: "f"})
		require.ErrorIs(t, err, fleet.ErrUnreachable)
		require.Equal(t, linkPatience, time.Since(begun))
	})
}

// The newer links take the place of older ones, whose devices stay meanwhile.
func TestOlderLinksAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h1, h2, open := joinedHosts(t)
		require.True(t, apply(t, open()).Converged)
		for _, h := range []*joining{h1, h2} {
			older := *h.state.Links
			older.Version = 0
			h.state.Links = &older
		}
		c := open()
		require.Contains(t, mustPlan(t, c).Hosts, plan.HostOperation{Host: "h1", Operation: "replace", What: "links", Name: fleet.LinksName("f")})
		require.NoError(t, c.Close())
		require.True(t, apply(t, open()).Converged)
		require.Len(t, h1.made, 2)
		require.Len(t, h1.last().Networks, 1, "nothing was taken away")
	})
}

func mustPlan(t *testing.T, c *Controller) plan.Plan {
	t.Helper()
	p, err := c.Plan(t.Context())
	require.NoError(t, err)
	return p
}

// Another controller may have set them while it had the lease.
func TestLinksAreSetAnewWithALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h1, _, open := joinedHosts(t)
		require.True(t, apply(t, open()).Converged)
		c := open()
		_, err := c.Fetch(t.Context())
		require.NoError(t, err)
		ctx, end := c.aside(t.Context())
		defer func() { end(); require.NoError(t, c.Close()) }()
		c.observeAll(ctx)
		_, err = c.own(ctx, c.allHosts())
		require.NoError(t, err)
		c.computeWhole(ctx)
		h := c.host("h1")
		c.join(ctx, h)
		before := h1.times()
		c.join(ctx, h)
		require.Equal(t, before, h1.times())
		h.leased = false
		require.NoError(t, c.lease(ctx, h))
		c.join(ctx, h)
		c.join(ctx, h)
		require.Equal(t, before+1, h1.times())
	})
}
