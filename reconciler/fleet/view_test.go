package fleet_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// TestWhateverItsOrder: what hosts and keepers say is found however it is sorted.
func TestWhateverItsOrder(t *testing.T) {
	id := func(layer string, node int) fleet.NodeID {
		return fleet.NodeID{Environment: "shop", Layer: layer, Node: node}
	}
	in := func(host, container string, n fleet.NodeID, generation int) fleet.Instance {
		return fleet.Instance{NodeID: n, Host: host, ID: container, Generation: generation, State: fleet.StateRunning}
	}
	o := fleet.Observed{Hosts: []fleet.HostState{
		{Name: "hn1", Reachable: true, Instances: []fleet.Instance{in("hn1", "b2", id("web", 2), 2), in("hn1", "a", id("db", 1), 1), in("hn1", "b1", id("web", 2), 1)}},
		{Name: "hn2", Reachable: true, Instances: []fleet.Instance{in("hn2", "c", id("web", 1), 1), in("hn2", "b3", id("web", 2), 1)}},
	}}
	var found []string
	for _, n := range fleet.Nodes(o) {
		for _, i := range n.Instances {
			found = append(found, n.String()+" "+i.ID)
		}
	}
	require.Equal(t, []string{"shop/db/1 a", "shop/web/1 c", "shop/web/2 b1", "shop/web/2 b3", "shop/web/2 b2"}, found)
	require.Equal(t, "b2", o.Hosts[0].Instances[0].ID, "what was given stays as it is")

	k := fleet.KeeperState{
		Zone:    fleet.Zone{Nodes: []fleet.ZoneNode{{NodeID: id("web", 2), Instance: "b2"}, {NodeID: id("db", 1), Instance: "a"}, {NodeID: id("db", 1), Instance: "old"}}},
		Health:  []fleet.ProbeResult{{Instance: "b2", Healthy: true}, {Instance: "a", Last: "refused"}, {Instance: "x"}},
		Records: []fleet.Record{{Key: "applied/shop/db", Value: json.RawMessage(`{`)}, {Key: "applied/shop/web", Value: json.RawMessage(`{"hash":"v1:x"}`)}},
	}
	for _, i := range o.Hosts[0].Instances[:2] {
		require.Equal(t, i.ID, k.Zone.Node(&i).Instance)
		r, ok := k.ProbeResult(i.ID)
		require.True(t, ok)
		require.Equal(t, i.ID, r.Instance)
	}
	require.Nil(t, k.Zone.Node(&o.Hosts[1].Instances[0]))
	_, ok := k.ProbeResult("c")
	require.False(t, ok)

	images := fleet.KeeperState{Records: []fleet.Record{
		{Key: "image/a", Value: json.RawMessage(`{"ref":"web@sha256:a","written":"web:1","pulled":"2026-11-20T12:00:00Z"}`)},
		{Key: "image/b", Value: json.RawMessage(`{"ref":"web@sha256:b","written":"web:1","pulled":"2026-11-20T13:00:00Z"}`)},
		{Key: "image/c", Value: json.RawMessage(`{"ref":"web@sha256:c","written":"web:2","pulled":"2026-11-20T14:00:00Z"}`)},
	}}
	last, ok := fleet.LastPulled(fleet.Observed{Hosts: []fleet.HostState{{Name: "hn1"}, {Name: "hn2", Keeper: &images}}}, "web:1")
	require.True(t, ok)
	require.Equal(t, "web@sha256:b", last.Ref)
	_, ok = fleet.LastPulled(o, "web:1")
	require.False(t, ok)

	read := fleet.Read[fleet.AppliedRecord]{}
	for range 2 { // the second time it has been read already
		require.Equal(t, []fleet.Applied{{Layer: fleet.LayerID{Environment: "shop", Layer: "web"}, AppliedRecord: fleet.AppliedRecord{Hash: "v1:x"}}}, k.AppliedRead(read))
		_, ok = read.Record(&k, "applied/shop/db")
		require.False(t, ok, "it can't be read")
		_, ok = read.Record(nil, "applied/shop/web")
		require.False(t, ok)
	}
}

// TestNodesOfOneHost: gathered one by one, nodes are what they are among all.
func TestNodesOfOneHost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o fleet.Observed
		for h := range 3 {
			st := fleet.HostState{Name: fmt.Sprintf("hn%d", h), Reachable: true}
			k := &fleet.KeeperState{}
			for node := range rapid.IntRange(0, 4).Draw(t, "nodes") {
				id := fleet.NodeID{Environment: rapid.SampledFrom([]string{"blog", "shop"}).Draw(t, "environment"), Layer: rapid.SampledFrom([]string{"db", "web"}).Draw(t, "layer"), Node: node}
				if g := rapid.IntRange(0, 3).Draw(t, "recorded"); g > 0 {
					k.Records = fleet.WithRecord(k.Records, fleet.Record{Key: fleet.CurrentKey(id), Value: fmt.Appendf(nil, `{"generation":%d}`, g)})
				}
				if rapid.Bool().Draw(t, "restart") {
					k.Records = fleet.WithRecord(k.Records, fleet.Record{Key: fleet.RestartKey(id), Value: json.RawMessage(`{"text":""}`)})
				}
				for g := 1; g <= rapid.IntRange(0, 2).Draw(t, "instances"); g++ {
					in := fleet.Instance{NodeID: id, Host: st.Name, ID: fmt.Sprint(h, id, g), Generation: g}
					if rapid.Bool().Draw(t, "started") {
						in.StartedAt = time.Unix(1, 0)
					}
					st.Instances = append(st.Instances, in)
				}
			}
			fleet.SortInstances(st.Instances)
			if rapid.Bool().Draw(t, "keeper") {
				st.Keeper = k
			}
			o.Hosts = append(o.Hosts, st)
		}
		all := fleet.Nodes(o)
		for i := range all {
			require.Equal(t, &all[i], fleet.NodeOf(o, all[i].NodeID))
		}
		for _, h := range o.Hosts {
			there := func(in fleet.Instance) bool { return in.Host == h.Name }
			want := slices.DeleteFunc(slices.Clone(all), func(n fleet.Node) bool { return !slices.ContainsFunc(n.Instances, there) })
			require.Len(t, fleet.NodesOn(o, h.Name), len(want))
			if len(want) > 0 {
				require.Equal(t, want, fleet.NodesOn(o, h.Name))
			}
		}
		for _, of := range [][]string{{"blog"}, {"blog", "shop"}, {"none"}} {
			want := slices.DeleteFunc(slices.Clone(all), func(n fleet.Node) bool { return !slices.Contains(of, n.Environment) })
			require.Len(t, fleet.NodesIn(o, of), len(want))
			if len(want) > 0 {
				require.Equal(t, want, fleet.NodesIn(o, of))
			}
		}
		require.Nil(t, fleet.NodeOf(o, fleet.NodeID{Environment: "shop", Layer: "none", Node: 1}))
		require.Empty(t, fleet.NodesOn(o, "none"))
	})
}
