package names_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
	"github.com/evenkeel/evenkeel/spec"
)

// house is a fleet of three hosts with a node of shop/web on each, and names that lead to them.
type house struct {
	spec  *spec.Spec
	hosts []fleet.HostState
	out   map[int]bool
}

func web(n int) fleet.NodeID { return fleet.NodeID{Environment: "shop", Layer: "web", Node: n} }

func newHouse(t *testing.T) *house {
	h := &house{out: map[int]bool{}, spec: &spec.Spec{
		Fleet: spec.Fleet{Name: "production", External: []spec.ExternalZone{{Name: "public", Zone: "example.com", TTL: time.Minute}}},
		Environments: []spec.Environment{{
			Name:   "shop",
			Layers: []spec.Layer{{Name: "web", Replicas: 3, Ports: []spec.Port{{Name: "http", Port: 80, Protocol: spec.TCP, Publish: new(uint16)}}}},
			DNS:    []spec.ExternalName{{Name: "shop.example.com", Type: spec.RecordA, Layer: "web", Zone: "public", Proxied: true}},
		}},
	}}
	for i, name := range []string{"hn1", "hn2", "hn3"} {
		h.spec.Fleet.Hosts = append(h.spec.Fleet.Hosts, spec.Host{
			Name: name, Address: name + ".example.net", PublicAddresses: []netip.Addr{netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)})},
		})
		raw, err := json.Marshal(fleet.CurrentRecord{Generation: 1})
		require.NoError(t, err)
		in := fleet.Instance{
			NodeID: web(i + 1), Host: name, Generation: 1, ID: name, State: fleet.StateRunning, StartedAt: time.Unix(1, 0),
			Published: []fleet.Published{{Port: 80, Protocol: spec.TCP, HostPort: uint16(32768 + i)}},
		}
		h.hosts = append(h.hosts, fleet.HostState{
			Name: name, Reachable: true, Instances: []fleet.Instance{in},
			Keeper: &fleet.KeeperState{
				Records: []fleet.Record{{Key: fleet.CurrentKey(web(i + 1)), Value: raw}},
				Zone: fleet.Zone{Nodes: []fleet.ZoneNode{{
					NodeID: web(i + 1), Instance: name, Probes: []fleet.Probe{{Port: 80}},
				}}},
				Health: []fleet.ProbeResult{{Instance: name, Healthy: true}},
			},
		})
	}
	return h
}

// remember gives every keeper a copy of where the nodes are.
func (h *house) remember() {
	c := fleet.Copy{Serial: 7}
	for i := range h.hosts {
		in := h.hosts[i].Instances[0]
		c.Nodes = append(c.Nodes, fleet.CopyNode{NodeID: in.NodeID, Host: in.Host, Generation: 1, Published: in.Published})
		c.Hosts = append(c.Hosts, fleet.CopyHost{Name: in.Host, PublicAddresses: h.spec.Fleet.Hosts[i].PublicAddresses})
	}
	for i := range h.hosts {
		h.hosts[i].Keeper.Copy = c
	}
}

func (h *house) lose(i int) {
	h.hosts[i] = fleet.HostState{Name: h.hosts[i].Name, Problem: "timeout"}
}

func (h *house) node(i int) *fleet.Instance { return &h.hosts[i].Instances[0] }

func (h *house) wishes() names.Wishes {
	return names.Wishes{Desired: h.spec, Observed: fleet.Observed{Hosts: h.hosts}, Out: func(n fleet.NodeID) bool { return h.out[n.Node] }}
}

// targets are the first name's, each as its data and whether it is out.
func targets(w names.Wishes) []string {
	var all []string
	for _, t := range names.Desired(w)["public"][0].Targets {
		text := t.Node.String()
		for _, d := range t.Data {
			text += " " + d.Content
		}
		if t.Out {
			text += " out"
		}
		all = append(all, text)
	}
	return all
}

func TestDesired(t *testing.T) {
	const one, two, three = "shop/web/1 203.0.113.1", "shop/web/2 203.0.113.2", "shop/web/3 203.0.113.3"
	tests := []struct {
		name   string
		change func(h *house)
		want   []string
	}{
		{"all serve", func(*house) {}, []string{one, two, three}},
		{"one is kept out", func(h *house) { h.out[2] = true }, []string{one, two + " out", three}},
		{"one is stopped", func(h *house) { h.node(1).State = fleet.StateExited }, []string{one, two + " out", three}},
		{"one is paused", func(h *house) { h.node(1).State = fleet.StatePaused }, []string{one, two + " out", three}},
		{"one's own check fails", func(h *house) { h.node(1).Health = fleet.HealthUnhealthy }, []string{one, two + " out", three}},
		{"one's probe fails", func(h *house) { h.hosts[1].Keeper.Health[0].Healthy = false }, []string{one, two + " out", three}},
		{"nothing is known of one's probe", func(h *house) { h.hosts[1].Keeper.Health = nil }, []string{one, two, three}},
		{"one was never healthy", func(h *house) {
			h.hosts[1].Keeper.Records = []fleet.Record{{Key: fleet.RestartKey(web(2)), Value: json.RawMessage(`{"text":""}`)}}
		}, []string{one, three}},
		{"a keeper doesn't answer", func(h *house) { h.hosts[1].Keeper = nil }, []string{one, two, three}},
		{"a host is out of reach", func(h *house) { h.remember(); h.lose(1) }, []string{one, two, three}},
		{"a host is out of reach, and its node kept out", func(h *house) { h.remember(); h.lose(1); h.out[2] = true }, []string{one, two + " out", three}},
		{"a host is out of reach, and a newer one of its node elsewhere", func(h *house) {
			h.remember()
			h.lose(1)
			again := *h.node(0)
			again.NodeID, again.Generation, again.ID = web(2), 2, "again"
			raw, _ := json.Marshal(fleet.CurrentRecord{Generation: 2})
			h.hosts[0].Instances = append(h.hosts[0].Instances, again)
			h.hosts[0].Keeper.Records = fleet.WithRecord(h.hosts[0].Keeper.Records, fleet.Record{Key: fleet.CurrentKey(web(2)), Value: raw})
		}, []string{one, "shop/web/2 203.0.113.1", three}},
		{"a host was taken out of the spec and is out of reach", func(h *house) {
			h.remember()
			h.lose(1)
			h.spec.Fleet.Hosts = append(h.spec.Fleet.Hosts[:1], h.spec.Fleet.Hosts[2])
		}, []string{one, two + " out", three}},
		{"several addresses", func(h *house) {
			h.spec.Fleet.Hosts[0].PublicAddresses = append(h.spec.Fleet.Hosts[0].PublicAddresses, netip.MustParseAddr("2001:db8::1"))
		}, []string{one + " 2001:db8::1", two, three}},
		{"aliases", func(h *house) { h.spec.Environments[0].DNS[0].Type = spec.RecordCNAME }, []string{
			"shop/web/1 hn1.example.net", "shop/web/2 hn2.example.net", "shop/web/3 hn3.example.net",
		}},
		{"services", func(h *house) {
			h.spec.Environments[0].DNS[0].Type, h.spec.Environments[0].DNS[0].Port = spec.RecordSRV, "http"
		}, []string{"shop/web/1 0 1 32768 hn1.example.net", "shop/web/2 0 1 32769 hn2.example.net", "shop/web/3 0 1 32770 hn3.example.net"}},
		{"services of a host out of reach", func(h *house) {
			h.remember()
			h.lose(1)
			h.spec.Environments[0].DNS[0].Type, h.spec.Environments[0].DNS[0].Port = spec.RecordSRV, "http"
		}, []string{"shop/web/1 0 1 32768 hn1.example.net", "shop/web/2 0 1 32769 hn2.example.net", "shop/web/3 0 1 32770 hn3.example.net"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			h := newHouse(t)
			tc.change(h)
			require.Equal(t, tc.want, targets(h.wishes()))
		})
	}
}

func TestALookAhead(t *testing.T) {
	h := newHouse(t)
	w := h.wishes()
	w.Coming, w.Going = map[fleet.NodeID]string{web(4): "hn1", web(2): "hn3"}, map[fleet.NodeID]bool{web(1): true}
	require.Equal(t, []string{"shop/web/2 203.0.113.3", "shop/web/3 203.0.113.3", "shop/web/4 203.0.113.1"}, targets(w))
}

// Where hosts are out of reach and no keeper knows what is there, what a name says of none of the nodes that are known
// may well lead to another.
func TestWhatNobodyKnowsOfStays(t *testing.T) {
	h := newHouse(t)
	h.lose(1)
	wanted := names.Desired(h.wishes())["public"]
	require.True(t, wanted[0].More)
	z := names.Zone{Fleet: "production", Name: "example.com"}
	for _, content := range []string{"203.0.113.1", "203.0.113.2", "203.0.113.3"} {
		z.Records = append(z.Records, fleet.DNSRecord{
			ID: content, Name: "shop.example.com", Type: fleet.TypeA, Content: content, Proxied: true, Owner: fleet.DNSOwner("production", "shop"),
		})
	}
	require.Empty(t, names.Compute(z, wanted).Changes)
	h.out[1] = true
	changes := names.Compute(z, names.Desired(h.wishes())["public"]).Changes
	require.Len(t, changes, 1, "a node that is known leaves all the same")
	require.Equal(t, "203.0.113.1", changes[0].Was.Content)

	h = newHouse(t)
	h.remember()
	h.lose(1)
	require.False(t, names.Desired(h.wishes())["public"][0].More)
}

func TestRecordsUnderNamesThatNothingWantsAreKept(t *testing.T) {
	z := names.Zone{Fleet: "production", Name: "example.com", Keep: true, Records: []fleet.DNSRecord{{
		ID: "1", Name: "old.example.com", Type: fleet.TypeA, Content: "203.0.113.1", Owner: fleet.DNSOwner("production", "shop"),
	}}}
	require.Empty(t, names.Compute(z, nil).Changes)
	z.Keep = false
	require.Len(t, names.Compute(z, nil).Changes, 1)
}

func TestWhatLeadsToAHost(t *testing.T) {
	h := newHouse(t)
	require.Equal(t, []names.Data{{Type: "A", Content: "203.0.113.2"}, {Type: "CNAME", Content: "hn2.example.net"}},
		names.Leads(h.spec, fleet.Observed{Hosts: h.hosts}, web(2)))
	require.Empty(t, names.Leads(h.spec, fleet.Observed{Hosts: h.hosts}, web(9)))
}

// A commit gives a name to a layer that it makes: until that serves the name goes on saying what it says.
func TestANameOfALayerThatHasNeverServed(t *testing.T) {
	h := newHouse(t)
	for i := range h.hosts {
		h.hosts[i].Keeper.Records = []fleet.Record{{Key: fleet.RestartKey(web(i + 1)), Value: json.RawMessage(`{"text":""}`)}}
	}
	z := names.Zone{Fleet: "production", Name: "example.com", Records: []fleet.DNSRecord{{
		ID: "1", Name: "shop.example.com", Type: fleet.TypeA, Content: "203.0.113.9", Proxied: true, Owner: fleet.DNSOwner("production", "shop"),
	}}}
	require.Empty(t, names.Compute(z, names.Desired(h.wishes())["public"]).Changes)
	h = newHouse(t)
	require.Len(t, names.Compute(z, names.Desired(h.wishes())["public"]).Changes, 4)
}

// A node on a host out of reach that has never been healthy is led to no earlier than one in reach would be.
func TestANodeOutOfReachThatWasNeverHealthy(t *testing.T) {
	h := newHouse(t)
	h.remember()
	h.lose(1)
	leads := func() bool {
		return slices.ContainsFunc(names.Desired(h.wishes())["public"][0].Targets, func(t names.Target) bool { return t.Node.Node == 2 })
	}
	require.True(t, leads())
	for i := range h.hosts {
		if k := h.hosts[i].Keeper; k != nil {
			k.Copy.Nodes[1].Unproven = true
		}
	}
	require.False(t, leads())
}
