package zone_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/zone"
	"github.com/evenkeel/evenkeel/spec"
)

var (
	subnet = netip.MustParsePrefix("10.112.0.0/22")
	begun  = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
)

func desired(layers ...spec.Layer) *spec.Spec {
	s := &spec.Spec{Fleet: spec.Fleet{
		Name: "production", Cloudlet: spec.Resources{Memory: 128 << 20, CPU: 200},
		Hosts:    []spec.Host{{Name: "hn1", Endpoint: "tcp://10.0.0.11:2375", Address: "10.0.0.11"}, {Name: "hn2", Endpoint: "tcp://10.0.0.12:2375", Address: "10.0.0.12"}},
		Network:  spec.Network{Driver: spec.NetworkBridge, Pool: netip.MustParsePrefix("10.112.0.0/12")},
		Internal: spec.InternalDNS{Zone: "internal", TTL: time.Second},
	}}
	if layers != nil {
		s.Environments = []spec.Environment{{Name: "shop", Layers: layers}}
	}
	return s
}

func layer(name string, change ...func(*spec.Layer)) spec.Layer {
	l := spec.Layer{Name: name, Replicas: 2, Reserved: spec.Resources{Memory: 1, CPU: 2}, Ports: []spec.Port{
		{Name: "dns", Port: 53, Protocol: spec.UDP}, {Name: "http", Port: 8080, Protocol: spec.TCP},
	}}
	for _, f := range change {
		f(&l)
	}
	return l
}

func instance(host, layer string, node, generation int, change ...func(*fleet.Instance)) fleet.Instance {
	in := fleet.Instance{
		NodeID: fleet.NodeID{Environment: "shop", Layer: layer, Node: node}, Host: host, Generation: generation,
		ID: host + layer + string(rune('0'+node)) + string(rune('a'+generation)), State: fleet.StateRunning, StartedAt: begun,
		Address: netip.AddrFrom4([4]byte{10, 112, 2, byte(10*node + generation)}),
	}
	for _, f := range change {
		f(&in)
	}
	return in
}

func state(s fleet.State) func(*fleet.Instance) {
	return func(in *fleet.Instance) {
		in.State = s
		if s == fleet.StateCreated {
			in.StartedAt = time.Time{}
		}
	}
}
func health(h fleet.Health) func(*fleet.Instance) { return func(in *fleet.Instance) { in.Health = h } }

func current(t require.TestingT, layer string, node, generation int) fleet.Record {
	return record(t, fleet.CurrentKey(fleet.NodeID{Environment: "shop", Layer: layer, Node: node}), fleet.CurrentRecord{Generation: generation})
}

func record(t require.TestingT, key string, v any) fleet.Record {
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return fleet.Record{Key: key, Value: raw}
}

// observed is hn1, with its keeper's records, and an empty hn2.
func observed(records []fleet.Record, instances ...fleet.Instance) fleet.Observed {
	return fleet.Observed{Hosts: []fleet.HostState{
		{Name: "hn1", Reachable: true, Instances: instances, Keeper: &fleet.KeeperState{Records: records}},
		{Name: "hn2", Reachable: true},
	}}
}

func networks() []plan.EnvironmentNetwork {
	return []plan.EnvironmentNetwork{{Environment: "shop", Host: "hn1", Subnet: subnet, Keeper: netip.MustParseAddr("10.112.1.1")}}
}

func nobody(fleet.NodeID) string { return "" }

func TestNodes(t *testing.T) {
	http := func(l *spec.Layer) {
		l.HealthCheck = &spec.HealthCheck{HTTP: &spec.HTTPCheck{Port: "http", Path: "/healthz"}, Interval: 5 * time.Second, Timeout: time.Second, Retries: 3}
	}
	exec := func(l *spec.Layer) { l.HealthCheck = &spec.HealthCheck{Exec: &spec.ExecCheck{Command: []string{"x"}}} }
	probe := []fleet.Probe{{HTTP: true, Port: 8080, Path: "/healthz", Interval: 5 * time.Second, Timeout: time.Second, Retries: 3}}
	gate := []fleet.Probe{{Port: 8080, Interval: 200 * time.Millisecond, Timeout: time.Second, Retries: 1, Gate: true}}
	out := func(fleet.NodeID) string { return "withdrawn" }
	type node struct {
		generation int
		candidate  bool
		out        string
		probes     []fleet.Probe
	}
	healthy := []fleet.Record{current(t, "web", 1, 1)}
	cases := []struct {
		name      string
		layer     spec.Layer
		records   []fleet.Record
		instances []fleet.Instance
		out       func(fleet.NodeID) string
		want      []node
	}{
		{"serving", layer("web"), healthy, []fleet.Instance{instance("hn1", "web", 1, 1)}, nobody, []node{{generation: 1}}},
		{"with a check of ours", layer("web", http), healthy, []fleet.Instance{instance("hn1", "web", 1, 1)}, nobody, []node{{generation: 1, probes: probe}}},
		{"the engine's own check is no probe", layer("web", exec), healthy, []fleet.Instance{instance("hn1", "web", 1, 1, health(fleet.HealthHealthy))}, nobody, []node{{generation: 1}}},
		{"withdrawn, and asked at the gate", layer("web"), healthy, []fleet.Instance{instance("hn1", "web", 1, 1)}, out, []node{{generation: 1, out: "withdrawn", probes: gate}}},
		{"withdrawn, with the image's check", layer("web"), healthy, []fleet.Instance{instance("hn1", "web", 1, 1, health(fleet.HealthHealthy))}, out, []node{{generation: 1, out: "withdrawn"}}},
		{"stopped", layer("web"), healthy, []fleet.Instance{instance("hn1", "web", 1, 1, state(fleet.StateExited))}, nobody, []node{{generation: 1, out: "stopped"}}},
		{"paused", layer("web"), healthy, []fleet.Instance{instance("hn1", "web", 1, 1, state(fleet.StatePaused))}, nobody, []node{{generation: 1, out: "paused"}}},
		{"unhealthy", layer("web"), healthy, []fleet.Instance{instance("hn1", "web", 1, 1, health(fleet.HealthUnhealthy))}, nobody, []node{{generation: 1, out: "its health check fails"}}},
		{"starting", layer("web"), healthy, []fleet.Instance{instance("hn1", "web", 1, 1, health(fleet.HealthStarting))}, nobody, []node{{generation: 1, out: "its health check has not succeeded yet"}}},
		{"never healthy yet", layer("web"), []fleet.Record{record(t, "restart/shop/web/1", fleet.RestartRecord{})}, []fleet.Instance{instance("hn1", "web", 1, 1)}, nobody,
			[]node{{generation: 1, out: "not healthy yet", probes: gate}}},
		{"a lost record isn't held against it", layer("web"), nil, []fleet.Instance{instance("hn1", "web", 1, 1)}, nobody, []node{{generation: 1}}},
		{"a running candidate", layer("web"), healthy, []fleet.Instance{instance("hn1", "web", 1, 1, state(fleet.StateExited)), instance("hn1", "web", 1, 2)}, nobody,
			[]node{{generation: 1, out: "stopped"}, {generation: 2, candidate: true, probes: gate}}},
		{"a prepared candidate", layer("web"), healthy, []fleet.Instance{instance("hn1", "web", 1, 1), instance("hn1", "web", 1, 2, state(fleet.StateCreated))}, nobody, []node{{generation: 1}}},
		{"superseded", layer("web"), []fleet.Record{current(t, "web", 1, 2)}, []fleet.Instance{instance("hn1", "web", 1, 1), instance("hn1", "web", 1, 2)}, nobody, []node{{generation: 2}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			zones := zone.Compute(desired(c.layer), observed(c.records, c.instances...), networks(), work(c.out))
			require.Len(t, zones, 2)
			require.Empty(t, zones[1].Nodes)
			var got []node
			for _, n := range zones[0].Nodes {
				got = append(got, node{n.Generation, n.Candidate, n.Out, n.Probes})
				require.Equal(t, "2026-11-20T12:00:00Z", n.Epoch)
			}
			require.Equal(t, c.want, got)
		})
	}
}

func TestNetworksNameAllLayers(t *testing.T) {
	zones := zone.Compute(desired(layer("db"), layer("web")), observed(nil, instance("hn1", "old", 1, 1)), networks(), nil)
	require.Equal(t, []fleet.ZoneNetwork{{
		Environment: "shop", Name: "evenkeel_production_shop", Subnet: subnet, Address: netip.MustParseAddr("10.112.1.1"), Layers: []string{"db", "old", "web"},
	}}, zones[0].Networks)
	require.Equal(t, "internal", zones[0].Domain)
}

func TestALayerThatIsGoneIsProbedAsBefore(t *testing.T) {
	in := instance("hn1", "web", 1, 1)
	o := observed([]fleet.Record{current(t, "web", 1, 1)}, in)
	before := []fleet.Probe{{Port: 8080, Interval: time.Second}}
	o.Hosts[0].Keeper.Zone.Nodes = []fleet.ZoneNode{{Instance: in.ID, Probes: before}}
	require.Equal(t, before, zone.Compute(desired(), o, networks(), nil)[0].Nodes[0].Probes)
}

// A commit that changes the check along with the containers must not make those that still serve unhealthy.
func TestAnInstanceIsAskedWhatItWasMadeFor(t *testing.T) {
	ready := func(l *spec.Layer) {
		l.HealthCheck = &spec.HealthCheck{HTTP: &spec.HTTPCheck{Port: "http", Path: "/ready"}, Interval: time.Second}
		l.Ports[1].Port, l.Hash, l.Written = 9090, "v1:new", `{"ports":{"http":{"port":9090}}}`
	}
	older := func(in *fleet.Instance) {
		in.Spec, in.Written = "v1:old", `{"ports":{"dns":{"port":53,"protocol":"udp"},"http":{"port":8080}}}`
	}
	before := []fleet.Probe{{HTTP: true, Port: 8080, Path: "/healthz", Interval: time.Second}}
	now := []fleet.Probe{{HTTP: true, Port: 9090, Path: "/ready", Interval: time.Second}}
	gate := []fleet.Probe{{Port: 8080, Interval: 200 * time.Millisecond, Timeout: time.Second, Retries: 1, Gate: true}}
	out := func(fleet.NodeID) string { return "withdrawn" }
	samePort := func(l *spec.Layer) { ready(l); l.Ports[1].Port = 8080 }
	noCheck := func(l *spec.Layer) { ready(l); l.HealthCheck = nil }
	for name, test := range map[string]struct {
		layer  func(*spec.Layer)
		made   func(*fleet.Instance)
		before []fleet.Probe // nil: the keeper doesn't know the instance
		out    func(fleet.NodeID) string
		want   []fleet.Probe
	}{
		"made for another":                       {ready, older, before, nobody, before},
		"made for another, without a check":      {ready, older, []fleet.Probe{}, nobody, nil},
		"made for another, withdrawn":            {ready, older, before, out, before},
		"made for another, withdrawn, no check":  {ready, older, gate, out, gate},
		"made for another, there is none now":    {noCheck, older, before, nobody, before},
		"made for another, no longer gated":      {ready, older, gate, nobody, nil},
		"made for another, unknown, other port":  {ready, older, nil, nobody, nil},
		"made for another, unknown, same port":   {samePort, older, nil, nobody, []fleet.Probe{{HTTP: true, Port: 8080, Path: "/ready", Interval: time.Second}}},
		"made for this, the check alone changed": {ready, func(in *fleet.Instance) { in.Spec = "v1:new" }, before, nobody, now},
	} {
		t.Run(name, func(t *testing.T) {
			in := instance("hn1", "web", 1, 1, test.made)
			o := observed([]fleet.Record{current(t, "web", 1, 1)}, in)
			if test.before != nil {
				o.Hosts[0].Keeper.Zone.Nodes = []fleet.ZoneNode{{Instance: in.ID, Probes: test.before}}
			}
			got := zone.Compute(desired(layer("web", test.layer)), o, networks(), work(test.out))[0].Nodes[0].Probes
			if len(test.want) == 0 {
				require.Empty(t, got)
				return
			}
			require.Equal(t, test.want, got)
		})
	}
}

func TestAHostThatWasNotReadGetsNoZone(t *testing.T) {
	o := observed(nil)
	o.Hosts[1].Reachable = false
	require.Len(t, zone.Compute(desired(), o, nil, nil), 1)
}

// fleetOf is a fleet in which each host has a node of its own, and one that moves to the next host.
func fleetOf(t require.TestingT, hosts int) (fleet.Observed, []plan.EnvironmentNetwork) {
	var o fleet.Observed
	var all []plan.EnvironmentNetwork
	for i := range hosts {
		name := fmt.Sprintf("hn%03d", i)
		own, old, next := instance(name, "web", i+1, 1), instance(name, "db", i+1, 1), instance(name, "db", (i+hosts-1)%hosts+1, 2)
		k := &fleet.KeeperState{Records: []fleet.Record{current(t, "db", i+1, 1), current(t, "web", i+1, 1)}}
		slices.SortFunc(k.Records, func(a, b fleet.Record) int { return cmp.Compare(a.Key, b.Key) })
		st := fleet.HostState{Name: name, Reachable: i != 1, Instances: []fleet.Instance{own, old, next}, Keeper: k}
		fleet.SortInstances(st.Instances)
		o.Hosts = append(o.Hosts, st)
		n := networks()[0]
		n.Host = name
		all = append(all, n)
	}
	return o, all
}

// TestOneHostsZone: it is the same as among all, and costs no more in a larger fleet: telling every host's keeper
// looks at each instance once.
func TestOneHostsZone(t *testing.T) {
	for _, hosts := range []int{3, 30} {
		o, networks := fleetOf(t, hosts)
		s := desired(layer("db"), layer("web"))
		var got []fleet.Zone
		asked := 0
		out := func(n fleet.NodeID) string { asked++; return map[int]string{2: "withdrawn"}[n.Node] }
		for i := range o.Hosts {
			if z, ok := zone.Of(o.Hosts[i].Name, s, o, networks, work(out)); ok {
				got = append(got, z)
			}
		}
		require.LessOrEqual(t, asked, 3*2*hosts, "twice for each instance: whether it is out, and whether it is gated")
		require.Equal(t, zone.Compute(s, o, networks, work(out)), got)
		require.Len(t, got, hosts-1)
		require.Len(t, got[0].Nodes, 3)
		_, ok := zone.Of("none", s, o, networks, nil)
		require.False(t, ok)
	}
}

// BenchmarkOf measures what telling one host's keeper costs in a fleet of a hundred.
func BenchmarkOf(b *testing.B) {
	o, networks := fleetOf(b, 100)
	s := desired(layer("db"), layer("web"))
	for b.Loop() {
		zone.Of("hn050", s, o, networks, nil)
	}
}

func TestPermutedInputGivesTheSameZonesAndCopy(t *testing.T) {
	o := observed([]fleet.Record{current(t, "web", 1, 1)}, instance("hn1", "db", 1, 1), instance("hn1", "web", 1, 1), instance("hn1", "web", 2, 1))
	s := desired(layer("db"), layer("web"))
	zones := zone.Compute(s, o, networks(), nil)
	c, _ := zone.Copy(s, o, networks(), zone.Outside{})
	rapid.Check(t, func(t *rapid.T) {
		other := fleet.Observed{Hosts: rapid.Permutation(o.Hosts).Draw(t, "hosts")}
		for i := range other.Hosts {
			other.Hosts[i].Instances = rapid.Permutation(other.Hosts[i].Instances).Draw(t, "instances")
		}
		require.Equal(t, zones, zone.Compute(s, other, networks(), nil))
		got, _ := zone.Copy(s, other, networks(), zone.Outside{})
		require.Equal(t, c, got)
	})
}

// work keeps nodes out, and none is at its gate; nil: none is kept out either.
func work(out func(fleet.NodeID) string) *zone.Work {
	if out == nil {
		out = func(fleet.NodeID) string { return "" }
	}
	return &zone.Work{Out: out, Gated: func(fleet.NodeID) bool { return false }}
}

// A node that stays in its names while it is restarted is asked at its gate all the same.
func TestANodeInItsNamesIsAskedAtItsGate(t *testing.T) {
	noCheck := func(l *spec.Layer) { l.HealthCheck = nil }
	o := observed([]fleet.Record{current(t, "web", 1, 1)}, instance("hn1", "web", 1, 1))
	at := work(nil)
	n := zone.Compute(desired(layer("web", noCheck)), o, networks(), at)[0].Nodes[0]
	require.Empty(t, n.Probes)
	at.Gated = func(fleet.NodeID) bool { return true }
	n = zone.Compute(desired(layer("web", noCheck)), o, networks(), at)[0].Nodes[0]
	require.Empty(t, n.Out)
	require.Equal(t, []fleet.Probe{{Port: 8080, Interval: 200 * time.Millisecond, Timeout: time.Second, Retries: 1, Gate: true}}, n.Probes)
}
