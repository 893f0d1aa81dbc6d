package zone_test

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/zone"
	"github.com/evenkeel/evenkeel/spec"
)

// both is shop/web/1 on hn1 and shop/web/2 on hn2, both with networks.
func both(t *testing.T) (fleet.Observed, []plan.EnvironmentNetwork) {
	o := observed([]fleet.Record{current(t, "web", 1, 1)}, instance("hn1", "web", 1, 1))
	o.Hosts[1].Keeper = &fleet.KeeperState{Records: []fleet.Record{current(t, "web", 2, 1)}}
	o.Hosts[1].Instances = []fleet.Instance{instance("hn2", "web", 2, 1)}
	n := append(networks(), networks()[0])
	n[1].Host = "hn2"
	return o, n
}

// kept is the observation after every keeper was given the copy, over a wire.
func kept(t *testing.T, o fleet.Observed, c fleet.Copy) fleet.Observed {
	raw, err := json.Marshal(c)
	require.NoError(t, err)
	for i := range o.Hosts {
		if o.Hosts[i].Keeper != nil {
			var back fleet.Copy
			require.NoError(t, json.Unmarshal(raw, &back))
			o.Hosts[i].Keeper.Copy = back
		}
	}
	return o
}

func lose(o fleet.Observed, host int) fleet.Observed {
	o.Hosts[host] = fleet.HostState{Name: o.Hosts[host].Name, Problem: "timeout"}
	return o
}

func TestCopy(t *testing.T) {
	s := desired(layer("web"))
	o, n := both(t)
	c, known := zone.Copy(s, o, n, zone.Outside{})
	require.True(t, known)
	require.EqualValues(t, 1, c.Serial)
	require.Len(t, c.Hosts, 2)
	require.Equal(t, []fleet.CopyEnvironment{{Name: "shop", Subnet: subnet, Hosts: []string{"hn1", "hn2"}}}, c.Environments)
	require.Len(t, c.Nodes, 2)
	require.Equal(t, "hn2", c.Nodes[1].Host)

	t.Run("has the same serial while nothing changes", func(t *testing.T) {
		again, known := zone.Copy(s, kept(t, o, c), n, zone.Outside{})
		require.True(t, known)
		require.Equal(t, c, again)
	})
	t.Run("grows with each change", func(t *testing.T) {
		o, n := both(t)
		o.Hosts[0].Instances = nil
		next, _ := zone.Copy(s, kept(t, o, c), n, zone.Outside{})
		require.EqualValues(t, 2, next.Serial)
		require.Len(t, next.Nodes, 1)
	})
	t.Run("remembers a host that doesn't answer", func(t *testing.T) {
		o, n := both(t)
		next, known := zone.Copy(s, lose(kept(t, o, c), 1), n[:1], zone.Outside{})
		require.True(t, known)
		require.Equal(t, c, next)
	})
	t.Run("remembers where the volumes of a node are that isn't there", func(t *testing.T) {
		o, n := both(t)
		o.Hosts[1].Instances = nil
		o.Hosts[1].Volumes = []fleet.Volume{{NodeID: fleet.NodeID{Environment: "shop", Layer: "web", Node: 2}, Host: "hn2", Name: "data"}}
		next, known := zone.Copy(s, kept(t, o, c), n, zone.Outside{})
		require.True(t, known)
		require.Equal(t, []string{"hn2", "data"}, []string{next.Nodes[1].Host, next.Nodes[1].Volumes[0]})
		after, _ := zone.Copy(s, lose(kept(t, o, next), 1), n[:1], zone.Outside{})
		require.Equal(t, next.Nodes, after.Nodes, "it isn't made elsewhere, with an empty one, when its host is lost then")
	})
	t.Run("remembers where a node is that was never healthy", func(t *testing.T) {
		o, n := both(t)
		o.Hosts[1].Instances = []fleet.Instance{instance("hn2", "web", 2, 3, state(fleet.StateRunning))}
		o.Hosts[1].Keeper.Records = []fleet.Record{current(t, "web", 2, 1)} // the one that was healthy is gone
		next, known := zone.Copy(s, kept(t, o, c), n, zone.Outside{})
		require.True(t, known)
		require.Equal(t, fleet.CopyNode{NodeID: c.Nodes[1].NodeID, Host: "hn2", Generation: 3, Unproven: true, Address: next.Nodes[1].Address, Reserved: c.Nodes[1].Reserved}, next.Nodes[1])
		require.False(t, next.Nodes[0].Unproven)
		after, _ := zone.Copy(s, lose(kept(t, o, next), 1), n[:1], zone.Outside{})
		require.Equal(t, next.Nodes, after.Nodes, "it isn't made elsewhere when its host is lost then")
	})

	t.Run("an older container elsewhere doesn't stand in for it", func(t *testing.T) {
		o, n := both(t)
		was := c
		was.Nodes = append([]fleet.CopyNode(nil), c.Nodes...)
		was.Nodes[1].Generation = 2
		o.Hosts[0].Instances = append(o.Hosts[0].Instances, instance("hn1", "web", 2, 1, state(fleet.StateExited)))
		o.Hosts[0].Keeper.Records = append(o.Hosts[0].Keeper.Records, current(t, "web", 2, 1)) // it was healthy once
		next, _ := zone.Copy(s, lose(kept(t, o, was), 1), n[:1], zone.Outside{})
		require.Equal(t, "hn2", next.Nodes[1].Host)
	})
	t.Run("isn't known while hosts are out of reach and no keeper has one", func(t *testing.T) {
		o, n := both(t)
		_, known := zone.Copy(s, lose(o, 1), n[:1], zone.Outside{})
		require.False(t, known)
	})
	t.Run("keeps the entry of a host that was taken out with nodes on it", func(t *testing.T) {
		o, n := both(t)
		less := desired(layer("web"))
		less.Fleet.Hosts = less.Fleet.Hosts[:1]
		next, known := zone.Copy(less, kept(t, o, c), n, zone.Outside{})
		require.True(t, known)
		require.Equal(t, c.Hosts, next.Hosts)
		next, _ = zone.Copy(desiredWithout(), lose(kept(t, o, c), 1), n[:1], zone.Outside{})
		require.Len(t, next.Hosts, 1, "a node that isn't wanted any more needs no entry")
		require.Len(t, next.Nodes, 1)
	})
}

func desiredWithout() *spec.Spec {
	s := desired(layer("web", func(l *spec.Layer) { l.Replicas = 1 }))
	s.Fleet.Hosts = s.Fleet.Hosts[:1]
	return s
}

// Which zones lead to a node is remembered until one that was read says that it doesn't any more.
func TestTheCopyRemembersZones(t *testing.T) {
	s := desired(layer("web"))
	s.Fleet.External = []spec.ExternalZone{{Name: "public", Zone: "example.com"}}
	s.Fleet.Hosts[0].PublicAddresses = []netip.Addr{netip.MustParseAddr("203.0.113.1")}
	x := spec.ExternalName{Name: "shop.example.com", Type: spec.RecordA, Layer: "web", Zone: "public"}
	s.Environments[0].DNS = []spec.ExternalName{x}
	o, n := both(t)
	record := fleet.DNSRecord{Name: x.Name, Type: fleet.TypeA, Content: "203.0.113.1", Owner: fleet.DNSOwner(s.Fleet.Name, "shop")}
	zones := func(c fleet.Copy) [][]string { return [][]string{c.Nodes[0].Zones, c.Nodes[1].Zones} }
	copied := func(problem string, records ...fleet.DNSRecord) fleet.Copy {
		c, known := zone.Copy(s, o, n, zone.Outside{Zones: []plan.Zone{{Name: "public", Problem: problem, Records: records}}})
		require.True(t, known)
		return c
	}
	both := [][]string{{"example.com"}, {"example.com"}}
	c := copied("")
	require.Equal(t, both, zones(c), "before the first record is made")

	s.Environments[0].DNS = nil
	kept(t, o, c)
	require.Equal(t, both, zones(copied("no answer")), "the name is taken away, the records may be there")
	require.Equal(t, [][]string{{"example.com"}, nil}, zones(copied("", record)), "one is there")
	require.Equal(t, [][]string{nil, nil}, zones(copied("")), "none is there any more")

	other := spec.ExternalName{Name: x.Name, Type: spec.RecordA, Layer: "admin", Zone: "public"}
	s.Environments[0].DNS = []spec.ExternalName{other}
	require.Equal(t, [][]string{{"example.com"}, nil}, zones(copied("", record)), "it is still to be led elsewhere")
}
