package sim

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	sources "github.com/evenkeel/evenkeel/reconciler/conformance"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/fleet/conformance"
)

func TestEngineConformance(t *testing.T) {
	n := 0
	conformance.Run(t, func(t *testing.T) conformance.Site {
		n++
		w := New(1, "h1")
		w.instant = true
		t.Cleanup(w.Close)
		w.Host("h1").PutImage("app:1")
		return conformance.Site{
			Engine: &engine{host: w.Host("h1"), p: &Process{w: w, name: "test"}}, Fleet: fmt.Sprintf("t%d", n), Image: "app:1",
			Subnet: netip.MustParsePrefix("10.113.7.0/24"),
			Impose: func(_ *testing.T, id string) {
				w.mu.Lock()
				defer w.mu.Unlock()
				c := w.Host("h1").find(id)
				c.resize()
				c.impose()
			},
		}
	})
}

func TestSessionConformance(t *testing.T) {
	conformance.Sessions(t, func(t *testing.T, test func(t *testing.T, s conformance.KeeperSite)) {
		synctest.Test(t, func(t *testing.T) {
			w := New(1, "h1")
			t.Cleanup(w.Close)
			test(t, keeperSite(t, w.Host("h1")))
		})
	})
}

// keeperSite is a further keeper that runs on a host.
func keeperSite(t *testing.T, h *Host) conformance.KeeperSite {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	c := h.make(fmt.Sprintf("keeper-%d", len(h.containers)), "keeper", map[string]string{fleet.LabelFleet: FleetName, fleet.LabelRole: fleet.RoleKeeper})
	require.NoError(t, c.run(byFault))
	return conformance.KeeperSite{
		Fleet: FleetName,
		Dial: func(ctx context.Context, process string) (conformance.Keeper, error) {
			p := &Process{w: h.w, name: process}
			return p.dialKeeper(ctx, func(context.Context) (net.Conn, error) { return &keeperConn{keeper: c.keeper, p: p}, nil })
		},
		Cut: func() (mend func()) {
			h.w.mu.Lock()
			defer h.w.mu.Unlock()
			h.fall(cut)
			return func() {
				h.w.mu.Lock()
				defer h.w.mu.Unlock()
				h.rise()
			}
		},
		Kill: func() {
			h.w.mu.Lock()
			defer h.w.mu.Unlock()
			c.end(137, byFault)
		},
		Start: func() conformance.KeeperSite { return keeperSite(t, h) },
	}
}

func TestNamesConformance(t *testing.T) {
	conformance.Names(t, func(t *testing.T, test func(t *testing.T, s conformance.NamesSite)) {
		synctest.Test(t, func(t *testing.T) {
			w := New(1, "h1")
			t.Cleanup(w.Close)
			test(t, namesSite(t, w.Host("h1"), map[int]*container{}))
		})
	})
}

// namesSite is a keeper with nodes at 10.112.2.<n>.
func namesSite(t *testing.T, h *Host, nodes map[int]*container) conformance.NamesSite {
	s := keeperSite(t, h)
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	network := fleet.ZoneNetwork{
		Environment: "shop", Name: fleet.NetworkName(FleetName, "shop"), Layers: []string{"web"},
		Subnet: netip.MustParsePrefix("10.112.0.0/22"), Address: netip.MustParseAddr("10.112.1.2"),
	}
	h.containers[len(h.containers)-1].networks[network.Name] = endpoint{address: network.Address}
	address := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 112, 2, byte(n)}) }
	id := func(n int) fleet.NodeID { return fleet.NodeID{Environment: "shop", Layer: "web", Node: n} }
	node := func(n int) *container {
		c := nodes[n]
		if c == nil { // it runs, and refuses whoever asks
			c = h.make(fleet.ContainerName(FleetName, id(n), 1), "app:1", nil)
			c.networks[network.Name] = endpoint{address: address(n)}
			c.state, c.listens, c.behaviour.broken = fleet.StateRunning, true, true
			nodes[n] = c
		}
		return c
	}
	return conformance.NamesSite{
		Dial: s.Dial, Port: 80,
		Zone: fleet.Zone{
			Fleet: FleetName, Host: "h1", Domain: "internal", TTL: time.Second, Pool: netip.MustParsePrefix("10.112.0.0/12"),
			Networks: []fleet.ZoneNetwork{network},
		},
		Node: func(n int) fleet.ZoneNode {
			h.w.mu.Lock()
			defer h.w.mu.Unlock()
			return fleet.ZoneNode{NodeID: id(n), Generation: 1, Instance: node(n).id, Address: address(n)}
		},
		Listen: func(n int, yes bool) {
			h.w.mu.Lock()
			defer h.w.mu.Unlock()
			node(n).behaviour.broken = !yes
		},
		Answers: func(t *testing.T) []netip.Addr {
			h.w.mu.Lock()
			defer h.w.mu.Unlock()
			all, _ := h.serving().answers(fleet.LayerID{Environment: "shop", Layer: "web"})
			return slices.SortedFunc(slices.Values(all), netip.Addr.Compare)
		},
		Restart: func() conformance.NamesSite {
			s.Kill()
			return namesSite(t, h, nodes)
		},
	}
}

func TestSourceConformance(t *testing.T) {
	sources.Run(t, func(t *testing.T, test func(t *testing.T, s sources.Site)) {
		synctest.Test(t, func(t *testing.T) {
			w := New(1)
			t.Cleanup(w.Close)
			r := w.Repo
			test(t, sources.Site{
				Source: repoOf{r, &Process{w: w, name: "test"}}, Commit: r.Commit, Reset: r.Reset,
				Break: func() (mend func()) {
					r.Down(true)
					return func() { r.Down(false) }
				},
				Hang: func() func() { r.Hang(); return r.Resume },
			})
		})
	})
}
