package zone_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/zone"
	"github.com/evenkeel/evenkeel/spec"
)

// joinedFleet is desired with a third host, on hosts that are joined.
func joinedFleet(layers ...spec.Layer) *spec.Spec {
	s := desired(layers...)
	s.Fleet.Network.Driver = spec.NetworkVXLAN
	s.Fleet.Hosts = append(s.Fleet.Hosts, spec.Host{Name: "hn3", Endpoint: "tcp://10.0.0.13:2375", Address: "10.0.0.13"})
	return s
}

// carried is an environment's network as a host has it.
func carried(environment string, subnet netip.Prefix, mtu int) fleet.Network {
	return fleet.Network{
		Name: fleet.NetworkName("production", environment), Fleet: "production", Environment: environment, Driver: "bridge",
		Subnet: subnet, Bridge: fleet.BridgeName("production", environment), MTU: mtu,
	}
}

// onThree are three hosts that carry shop, as the plan has it.
func onThree() (fleet.Observed, []plan.EnvironmentNetwork) {
	var o fleet.Observed
	var planned []plan.EnvironmentNetwork
	for i, name := range []string{"hn1", "hn2", "hn3"} {
		o.Hosts = append(o.Hosts, fleet.HostState{
			Name: name, Reachable: true, Keeper: &fleet.KeeperState{}, Networks: []fleet.Network{
				carried("shop", subnet, 1450), {Name: "theirs", Subnet: netip.MustParsePrefix("10.1.0.0/24"), Bridge: "br-theirs"},
			},
		})
		planned = append(planned, plan.EnvironmentNetwork{Environment: "shop", Host: name, Subnet: subnet, Keeper: netip.AddrFrom4([4]byte{10, 112, 1, byte(i + 1)})})
	}
	return o, planned
}

func addresses(texts ...string) (list []netip.Addr) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func TestLinks(t *testing.T) {
	want := func() fleet.Links {
		return fleet.Links{
			Fleet: "production", Local: netip.MustParseAddr("10.0.0.11"), Port: 4790, Hosts: addresses("10.0.0.12", "10.0.0.13"),
			Networks: []fleet.Link{{
				Environment: "shop", Bridge: fleet.BridgeName("production", "shop"), ID: fleet.VXLANID(subnet), MTU: 1450,
				Peers: addresses("10.0.0.12", "10.0.0.13"),
			}},
		}
	}
	for _, test := range []struct {
		name   string
		change func(s *spec.Spec, o *fleet.Observed, n *[]plan.EnvironmentNetwork, want *fleet.Links)
	}{
		{"all hosts that carry it", func(*spec.Spec, *fleet.Observed, *[]plan.EnvironmentNetwork, *fleet.Links) {}},
		{"one that has it already, though it was planned without", func(_ *spec.Spec, _ *fleet.Observed, n *[]plan.EnvironmentNetwork, _ *fleet.Links) {
			*n = (*n)[:2]
		}},
		{"one that doesn't is no peer, and of the fleet", func(_ *spec.Spec, o *fleet.Observed, n *[]plan.EnvironmentNetwork, want *fleet.Links) {
			*n, o.Hosts[2].Networks = (*n)[:2], nil
			want.Networks[0].Peers = addresses("10.0.0.12")
		}},
		{"one out of reach is what the copy has of it", func(_ *spec.Spec, o *fleet.Observed, n *[]plan.EnvironmentNetwork, _ *fleet.Links) {
			*n = (*n)[:2] // the plan has hosts in reach
			o.Hosts[2] = fleet.HostState{Name: "hn3", Problem: "dial: timeout"}
			o.Hosts[1].Keeper.Copy = fleet.Copy{Serial: 7, Environments: []fleet.CopyEnvironment{{Name: "shop", Hosts: []string{"hn1", "hn2", "hn3"}}}}
		}},
		{"one that was taken out of the spec and is still there", func(s *spec.Spec, o *fleet.Observed, n *[]plan.EnvironmentNetwork, _ *fleet.Links) {
			s.Fleet.Hosts = s.Fleet.Hosts[:2]
			o.Hosts[1].Keeper.Copy = fleet.Copy{Serial: 7, Hosts: []fleet.CopyHost{{Name: "hn3", Address: "10.0.0.13"}}}
		}},
		{"one whose network isn't made yet isn't joined", func(_ *spec.Spec, o *fleet.Observed, _ *[]plan.EnvironmentNetwork, want *fleet.Links) {
			o.Hosts[0].Networks = o.Hosts[0].Networks[1:]
			want.Networks = nil
		}},
		{"a network of before, with the engine's own MTU and name", func(_ *spec.Spec, o *fleet.Observed, _ *[]plan.EnvironmentNetwork, want *fleet.Links) {
			o.Hosts[0].Networks[0].MTU, o.Hosts[0].Networks[0].Bridge = 0, "br-0123456789ab"
			want.Networks[0].MTU, want.Networks[0].Bridge = 1500, "br-0123456789ab"
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, want := joinedFleet(layer("web")), want()
			o, planned := onThree()
			test.change(s, &o, &planned, &want)
			got, ok := zone.Links("hn1", s, o, planned)
			require.True(t, ok)
			require.Equal(t, want, got)
		})
	}
	t.Run("none", func(t *testing.T) {
		o, planned := onThree()
		_, ok := zone.Links("hn1", desired(layer("web")), o, planned)
		require.False(t, ok, "hosts that aren't joined")
		o.Hosts[0] = fleet.HostState{Name: "hn1"}
		_, ok = zone.Links("hn1", joinedFleet(layer("web")), o, planned)
		require.False(t, ok, "one that wasn't read")
		_, ok = zone.Links("hn2", joinedFleet(layer("web")), o, planned)
		require.False(t, ok, "nobody knows what the one out of reach carries")
	})
}

// Keepers of joined hosts are told of the current instances on other hosts of what they carry.
func TestZonesOfJoinedHosts(t *testing.T) {
	checked := layer("web", func(l *spec.Layer) {
		l.Replicas, l.HealthCheck = 3, &spec.HealthCheck{TCP: &spec.TCPCheck{Port: "http"}}
	})
	s := joinedFleet(checked)
	o, planned := onThree()
	o.Hosts[0].Instances = []fleet.Instance{instance("hn1", "web", 1, 1)}
	o.Hosts[1].Instances = []fleet.Instance{instance("hn2", "web", 2, 1), instance("hn2", "web", 2, 2)} // the second is a candidate
	o.Hosts[2].Instances = []fleet.Instance{instance("hn3", "web", 3, 1, state(fleet.StateExited))}
	o.Hosts[0].Keeper.Records = []fleet.Record{current(t, "web", 1, 1)}
	o.Hosts[1].Keeper.Records = []fleet.Record{current(t, "web", 2, 1)}
	o.Hosts[2].Keeper.Records = []fleet.Record{current(t, "web", 3, 1)}
	type told struct {
		node, generation int
		host             string
		candidate, out   bool
		probed           bool
	}
	of := func(z fleet.Zone) (all []told) {
		for i := range z.Nodes {
			n := &z.Nodes[i]
			all = append(all, told{n.Node, n.Generation, n.Host, n.Candidate, n.Out != "", len(n.Probes) > 0})
		}
		return all
	}
	s.Environments[0].Layers[0].Hash = "v1:now"
	o.Hosts[1].Instances[0].Spec = "v1:now"
	o.Hosts[2].Instances[0].Written = `{"ports":{"http":{"port":8080}}}`
	zones := zone.Compute(s, o, planned, nil)
	services := []fleet.ZoneService{{Name: "dns", Protocol: spec.UDP, Port: 53}, {Name: "http", Protocol: spec.TCP, Port: 8080}}
	require.Nil(t, zones[0].Nodes[0].Services, "what it was made with isn't known")
	require.Equal(t, services, zones[0].Nodes[1].Services, "with this")
	require.Equal(t, services[1:], zones[0].Nodes[2].Services, "with what was written before")
	require.Equal(t, []told{{1, 1, "", false, false, true}, {2, 1, "hn2", false, false, true}, {3, 1, "hn3", false, true, true}}, of(zones[0]))
	require.Equal(t, []told{{1, 1, "hn1", false, false, true}, {2, 1, "", false, false, true}, {2, 2, "", true, false, true}, {3, 1, "hn3", false, true, true}}, of(zones[1]))
	for i, z := range zones {
		one, ok := zone.Of(z.Host, s, o, planned, nil)
		require.True(t, ok)
		require.Equal(t, zones[i], one)
	}
	require.Empty(t, of(zone.Compute(s, o, planned[1:], nil)[0])[1:], "one that doesn't carry the environment hears of its own nodes only")

	t.Run("a host out of reach keeps its nodes in the names", func(t *testing.T) {
		o := fleet.Observed{Hosts: append([]fleet.HostState{}, o.Hosts...)}
		o.Hosts[0].Keeper = &fleet.KeeperState{Zone: zones[0], Records: o.Hosts[0].Keeper.Records}
		o.Hosts[1] = fleet.HostState{Name: "hn2", Problem: "dial: timeout"}
		z, ok := zone.Of("hn1", s, o, append(planned[:1:1], planned[2]), nil)
		require.True(t, ok)
		require.Equal(t, of(zones[0]), of(z))
		away := &zone.Work{Out: func(n fleet.NodeID) string {
			if n.Node == 2 {
				return "withdrawn: redeploy"
			}
			return ""
		}, Gated: func(fleet.NodeID) bool { return false }}
		z, _ = zone.Of("hn1", s, o, append(planned[:1:1], planned[2]), away)
		require.Equal(t, told{2, 1, "hn2", false, true, true}, of(z)[1])
		o.Hosts[0].Keeper.Zone = z
		z, _ = zone.Of("hn1", s, o, append(planned[:1:1], planned[2]), nil)
		require.Equal(t, of(zones[0]), of(z), "it is back once nobody keeps it out")
		o.Hosts[0].Keeper.Zone = zones[0]

		silent := fleet.Observed{Hosts: append([]fleet.HostState{}, o.Hosts...)}
		silent.Hosts[1] = fleet.HostState{Name: "hn2", Reachable: true, Instances: []fleet.Instance{instance("hn2", "web", 2, 1, state(fleet.StateExited))}}
		silent.Hosts[2].Instances = append([]fleet.Instance{instance("hn3", "web", 2, 0, state(fleet.StateExited))}, silent.Hosts[2].Instances...)
		z, _ = zone.Of("hn1", s, silent, planned, nil)
		require.Equal(t, of(zones[0]), of(z), "so does one whose keeper says nothing of which instance counts")

		fewer := joinedFleet(layer("web"))
		fewer.Environments[0].Layers[0].Replicas = 1
		z, _ = zone.Of("hn1", fewer, o, append(planned[:1:1], planned[2]), nil)
		require.Len(t, z.Nodes, 2, "but for those that aren't wanted any more")
		gone := joinedFleet(checked)
		gone.Fleet.Hosts = append(gone.Fleet.Hosts[:1:1], gone.Fleet.Hosts[2])
		z, _ = zone.Of("hn1", gone, o, append(planned[:1:1], planned[2]), nil)
		require.Len(t, z.Nodes, 2, "and those of a host that was taken out of the spec")
	})
}
