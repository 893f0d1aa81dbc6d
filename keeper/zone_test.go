package keeper

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/keeper/names"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

func TestZonesThatCannotBeServedAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*fleet.Zone)
		want   string
	}{
		"domain":       {func(z *fleet.Zone) { z.Domain = "a..b" }, "isn't a DNS name"},
		"fleet":        {func(z *fleet.Zone) { z.Fleet = "other" }, `of fleet "other", this keeper is of "production"`},
		"ttl":          {func(z *fleet.Zone) { z.TTL = -1 }, "ttl"},
		"environment":  {func(z *fleet.Zone) { z.Networks[0].Environment = "A" }, "isn't a DNS label"},
		"layer":        {func(z *fleet.Zone) { z.Networks[0].Layers[0] = "a.b" }, "isn't a DNS label"},
		"address":      {func(z *fleet.Zone) { z.Networks[0].Address = netip.MustParseAddr("192.0.2.1") }, "isn't an IPv4 address in"},
		"twice":        {func(z *fleet.Zone) { z.Networks = append(z.Networks, z.Networks[0]) }, "has two networks"},
		"no network":   {func(z *fleet.Zone) { z.Nodes[0].Environment = "x" }, "no network of its environment"},
		"instance":     {func(z *fleet.Zone) { z.Nodes[1].Instance = "c1" }, "once"},
		"two current":  {func(z *fleet.Zone) { z.Nodes[1].Node = 1 }, "its current instance"},
		"ipv6 node":    {func(z *fleet.Zone) { z.Nodes[0].Address = netip.IPv6LinkLocalAllNodes() }, "isn't an IPv4"},
		"probe's port": {func(z *fleet.Zone) { z.Nodes[0].Probes = []fleet.Probe{{}} }, "a port is needed"},
		"service's name": {func(z *fleet.Zone) {
			z.Nodes[0].Services = []fleet.ZoneService{{Name: "_http", Protocol: spec.TCP, Port: 80}}
		}, "is a DNS label"},
		"service's protocol": {func(z *fleet.Zone) {
			z.Nodes[0].Services = []fleet.ZoneService{{Name: "http", Protocol: "sctp", Port: 80}}
		}, "tcp or udp"},
		"service's port": {func(z *fleet.Zone) {
			z.Nodes[0].Services = []fleet.ZoneService{{Name: "http", Protocol: spec.TCP}}
		}, "and a port"},
		"services alike": {func(z *fleet.Zone) {
			z.Nodes[0].Services = []fleet.ZoneService{{Name: "a", Protocol: spec.TCP, Port: 1}, {Name: "a", Protocol: spec.UDP, Port: 1}}
		}, "a name of its own"},
		"services": {func(z *fleet.Zone) { z.Nodes[0].Services = make([]fleet.ZoneService, 65) }, "at most 64"},
	} {
		t.Run(name, func(t *testing.T) {
			c0 := start(t, Options{Fleet: "production"}).holder(t)
			z := zone(node(1), node(2))
			c.change(z)
			_, err := c0.SetZone(t.Context(), z)
			require.ErrorContains(t, err, c.want)
			s, err := c0.State(t.Context())
			require.NoError(t, err)
			require.Zero(t, s.Serial)
		})
	}
}

func TestAZoneThatCannotBeWrittenIsNotInEffect(t *testing.T) {
	port := freePort(t)
	k := start(t, Options{Port: port})
	c := k.holder(t)
	_, err := c.SetZone(t.Context(), zone(node(1)))
	require.NoError(t, err)
	blocker := filepath.Join(k.dir, "zone.json.tmp")
	require.NoError(t, os.Mkdir(blocker, 0o700))
	_, err = c.SetZone(t.Context(), zone(node(2)))
	require.ErrorContains(t, err, "zone.json")
	require.Equal(t, "127.0.2.1", lookup(t, port, "web.", dns.TypeA).Answer[0].(*dns.A).A.String())
	require.NoError(t, os.Remove(blocker))
	serial, err := c.SetZone(t.Context(), zone(node(2)))
	require.NoError(t, err)
	require.EqualValues(t, 2, serial)
	require.Equal(t, "127.0.2.2", lookup(t, port, "web.", dns.TypeA).Answer[0].(*dns.A).A.String())
}

func TestADamagedDiskIsSaidAndMended(t *testing.T) {
	k := start(t, Options{})
	c := k.holder(t)
	_, err := c.SetZone(t.Context(), zone(node(1)))
	require.NoError(t, err)
	k.stop()
	require.NoError(t, os.WriteFile(filepath.Join(k.dir, "zone.json"), []byte("torn"), 0o600))
	k = start(t, Options{Dir: k.dir})
	c = k.holder(t)
	s, err := c.State(t.Context())
	require.NoError(t, err)
	require.Zero(t, s.Serial)
	require.Len(t, s.Problems, 1)
	require.Contains(t, s.Problems[0], "zone.json")
	_, err = c.SetZone(t.Context(), zone(node(1)))
	require.NoError(t, err)
}

func TestACopyMakesOtherEnvironmentsKnown(t *testing.T) {
	port := freePort(t)
	c := start(t, Options{Port: port}).holder(t)
	_, err := c.SetZone(t.Context(), zone(node(1)))
	require.NoError(t, err)
	require.Equal(t, dns.RcodeServerFailure, lookup(t, port, "db.billing.internal.", dns.TypeA).Rcode, "forwarded, to nobody")
	require.NoError(t, c.SetCopy(t.Context(), &fleet.Copy{Serial: 2, Environments: []fleet.CopyEnvironment{{Name: "billing"}}}))
	require.Equal(t, dns.RcodeNameError, lookup(t, port, "db.billing.internal.", dns.TypeA).Rcode)
	require.ErrorIs(t, c.SetCopy(t.Context(), &fleet.Copy{Serial: 1}), fleet.ErrConflict)
}

// A zone that passes the check can be compiled and probed, whatever it holds.
func FuzzZone(f *testing.F) {
	b, err := json.Marshal(zone(node(1, fleet.Probe{Port: 80})))
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		z := new(fleet.Zone)
		if json.Unmarshal(b, z) != nil || CheckZone(z) != nil {
			return
		}
		names.Compile(z, 1, nil, func(string) *atomic.Bool { return new(atomic.Bool) })
		for _, target := range Targets(z) {
			for _, p := range target.Probes {
				require.Positive(t, p.Interval)
				require.Positive(t, p.Timeout)
			}
		}
	})
}
