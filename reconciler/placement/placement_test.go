package placement_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/placement"
	"github.com/evenkeel/evenkeel/spec"
)

const mi = spec.Bytes(1 << 20)

func host(name string, change ...func(*placement.Host)) placement.Host {
	h := placement.Host{Name: name, Capacity: spec.Resources{Memory: 1024 * mi, CPU: 4000}}
	for _, f := range change {
		f(&h)
	}
	return h
}

func unfit(why string) func(*placement.Host) { return func(h *placement.Host) { h.Unfit = why } }
func zone(z string) func(*placement.Host) {
	return func(h *placement.Host) { h.Labels = map[string]string{"zone": z} }
}
func capacity(memory spec.Bytes, cpu spec.MilliCPU) func(*placement.Host) {
	return func(h *placement.Host) { h.Capacity = spec.Resources{Memory: memory, CPU: cpu} }
}

func node(layer string, ordinal int, change ...func(*placement.Node)) placement.Node {
	n := placement.Node{
		NodeID:   fleet.NodeID{Environment: "shop", Layer: layer, Node: ordinal},
		Reserved: spec.Resources{Memory: 128 * mi, CPU: 200},
	}
	for _, f := range change {
		f(&n)
	}
	return n
}

func on(h string) func(*placement.Node)     { return func(n *placement.Node) { n.Host = h } }
func bound(h string) func(*placement.Node)  { return func(n *placement.Node) { n.Bound = h } }
func prefer(h string) func(*placement.Node) { return func(n *placement.Node) { n.Prefer = h } }
func environment(e string) func(*placement.Node) {
	return func(n *placement.Node) { n.Environment = e }
}
func fixed(n *placement.Node) { n.Fixed = true }
func apart(n *placement.Node) { n.AntiAffinity = spec.AntiAffinityRequired }
func inZone(z string) func(*placement.Node) {
	return func(n *placement.Node) { n.Labels = map[string]string{"zone": z} }
}
func needs(memory spec.Bytes, cpu spec.MilliCPU) func(*placement.Node) {
	return func(n *placement.Node) { n.Reserved = spec.Resources{Memory: memory, CPU: cpu} }
}

func TestCompute(t *testing.T) {
	cases := []struct {
		name   string
		hosts  []placement.Host
		nodes  []placement.Node
		others []placement.Node
		want   []string // host, and the reason or why it moved
	}{
		{"by name where all is equal", []placement.Host{host("b"), host("a")}, []placement.Node{node("web", 1)}, nil, []string{"a"}},
		{"fewest of the layer first", []placement.Host{host("a"), host("b")}, []placement.Node{
			node("db", 1, on("b")), node("db", 2, on("b")), node("web", 1, on("a")), node("web", 2),
		}, nil, []string{"b", "b", "a", "b"}},
		{"then fewest of the environment", []placement.Host{host("a"), host("b")}, []placement.Node{
			node("db", 1, on("a")), node("web", 1), node("x", 1, environment("tall"), on("b"), needs(512*mi, 200)),
		}, nil, []string{"a", "b", "b"}},
		{"then least reserved", []placement.Host{host("a"), host("b")}, []placement.Node{
			node("web", 1), node("x", 1, environment("tall"), on("a")),
		}, nil, []string{"b", "a"}},
		{"as a share of the host", []placement.Host{host("a"), host("b", capacity(8192*mi, 32000))}, []placement.Node{
			node("web", 1), node("x", 1, environment("tall"), on("a")), node("y", 1, environment("tall"), on("b")), node("z", 1, environment("tall"), on("b")),
		}, nil, []string{"b", "a", "b", "b"}},
		{"spread over hosts", []placement.Host{host("a"), host("b")}, []placement.Node{node("web", 1), node("web", 2), node("web", 3)}, nil, []string{"a", "b", "a"}},
		{"labels must match", []placement.Host{host("a", zone("x")), host("b", zone("y"))}, []placement.Node{node("web", 1, inZone("y"))}, nil, []string{"b"}},
		{"a placed node stays, however full", []placement.Host{host("a", capacity(1, 1)), host("b")}, []placement.Node{node("web", 1, on("a"))}, nil, []string{"a"}},
		{"on a cordoned host too", []placement.Host{host("a", unfit("cordoned")), host("b")}, []placement.Node{node("web", 1, on("a"))}, nil, []string{"a"}},
		{"it moves when labels don't match", []placement.Host{host("a"), host("b", zone("x"))}, []placement.Node{node("web", 1, on("a"), inZone("x"))}, nil,
			[]string{"b (a isn't labelled zone=x)"}},
		{"but only to a place that exists", []placement.Host{host("a"), host("b")}, []placement.Node{node("web", 1, on("a"), inZone("x"))}, nil,
			[]string{"a: a isn't labelled zone=x; 0/2 hosts fit: 2 without zone=x; add a host or label another one zone=x"}},
		{"anti-affinity parts a pair, the lower ordinal stays", []placement.Host{host("a"), host("b")}, []placement.Node{
			node("web", 1, on("a"), apart), node("web", 2, on("a"), apart),
		}, nil, []string{"a", "b (a has another node of the layer)"}},
		{"anti-affinity refuses", []placement.Host{host("a"), host("b")}, []placement.Node{node("web", 1, apart), node("web", 2, apart), node("web", 3, apart)}, nil,
			[]string{"a", "b", ": 0/2 hosts fit: 2 with a node of the layer (antiAffinity: required); add a host, make antiAffinity preferred, or lower replicas"}},
		{"anti-affinity counts nodes out of reach", []placement.Host{host("a", unfit("doesn't answer")), host("b")}, []placement.Node{
			node("web", 1, on("a"), fixed, apart), node("web", 2, apart), node("web", 3, apart),
		}, nil, []string{"a", "b", ": 0/2 hosts fit: 1 doesn't answer, 1 with a node of the layer (antiAffinity: required); add a host, make antiAffinity preferred, or lower replicas"}},
		{"explained by counts", []placement.Host{host("a", unfit("cordoned")), host("b", unfit("cordoned")), host("c", capacity(256*mi, 4000))},
			[]placement.Node{node("web", 1, needs(512*mi, 200))}, nil, []string{": 0/3 hosts fit: 2 cordoned, 1 has 256Mi of 512Mi free; add a host, uncordon one, raise a host's capacity, lower the layer's cloudlets.reserved (or resources), or lower replicas"}},
		{"CPU is room too", []placement.Host{host("a", capacity(1024*mi, 300)), host("b", capacity(1024*mi, 100))},
			[]placement.Node{node("web", 1, needs(1, 500))}, nil, []string{": 0/2 hosts fit: 2 have at most 300m of 500m CPU free; add a host, raise a host's capacity, lower the layer's cloudlets.reserved (or resources), or lower replicas"}},
		{"what is about to be removed takes room", []placement.Host{host("a", capacity(256*mi, 4000))}, []placement.Node{node("web", 1, needs(256*mi, 0))},
			[]placement.Node{node("old", 1, on("a"))}, []string{": 0/1 hosts fit: 1 has 128Mi of 256Mi free; add a host, raise a host's capacity, lower the layer's cloudlets.reserved (or resources), or lower replicas"}},
		{"and moves nobody", []placement.Host{host("a"), host("b")}, []placement.Node{node("web", 1, on("a"), apart)}, []placement.Node{node("web", 2, on("a"), apart)}, []string{"a"}},
		{"volumes bind", []placement.Host{host("a"), host("b")}, []placement.Node{node("web", 1, bound("b"))}, nil, []string{"b"}},
		{"also to a cordoned host of other labels", []placement.Host{host("a"), host("b", unfit("cordoned"))}, []placement.Node{node("web", 1, bound("b"), inZone("x"))}, nil, []string{"b"}},
		{"not to one that doesn't answer", []placement.Host{host("a"), host("b", unfit("doesn't answer"))}, []placement.Node{node("web", 1, bound("b"))}, nil,
			[]string{": its volumes are on b, which doesn't answer"}},
		{"not to one that is full", []placement.Host{host("a"), host("b", capacity(256*mi, 4000))}, []placement.Node{node("web", 1, bound("b"), needs(512*mi, 200))}, nil,
			[]string{": its volumes are on b, which has 256Mi of 512Mi free; raise its capacity, or lower the layer's cloudlets.reserved (or resources)"}},
		{"a bound node stays though its labels don't match", []placement.Host{host("a"), host("b", zone("x"))}, []placement.Node{node("web", 1, on("a"), bound("a"), inZone("x"))}, nil,
			[]string{"a: a isn't labelled zone=x"}},
		{"what was prepared is used", []placement.Host{host("a"), host("b")}, []placement.Node{node("web", 1, prefer("b"))}, nil, []string{"b"}},
		{"unless it doesn't fit any more", []placement.Host{host("a"), host("b", unfit("cordoned"))}, []placement.Node{node("web", 1, prefer("b"))}, nil, []string{"a"}},
		{"no hosts", nil, []placement.Node{node("web", 1)}, nil, []string{": the fleet has no hosts"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, p := range placement.Compute(c.hosts, c.nodes, c.others) {
				s := p.Host
				if p.Reason != "" {
					s += ": " + p.Reason
				}
				if p.Because != "" {
					s += " (" + p.Because + ")"
				}
				got = append(got, s)
			}
			require.Equal(t, c.want, got)
		})
	}
}

func TestRoom(t *testing.T) {
	engine := fleet.Engine{CPUs: 4, Memory: 4096 * mi}
	reserve := spec.Resources{Memory: 512 * mi, CPU: 200}
	require.Equal(t, spec.Resources{Memory: 3584 * mi, CPU: 3800}, placement.Room(spec.Host{Reserve: reserve}, engine))
	require.Equal(t, spec.Resources{Memory: 1024 * mi, CPU: 3800}, placement.Room(spec.Host{Reserve: reserve, Capacity: spec.Resources{Memory: 1024 * mi}}, engine))
	require.Equal(t, spec.Resources{}, placement.Room(spec.Host{Reserve: reserve}, fleet.Engine{}))
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hosts, nodes := draw(t)
		places := placement.Compute(hosts, nodes, nil)
		require.Equal(t, places, placement.Compute(rapid.Permutation(hosts).Draw(t, "hosts"), rapid.Permutation(nodes).Draw(t, "nodes"), nil))

		index := map[string]placement.Host{}
		for _, h := range hosts {
			index[h.Name] = h
		}
		byID := map[fleet.NodeID]placement.Node{}
		for _, n := range nodes {
			byID[n.NodeID] = n
		}
		reserved, fresh, apartOn := map[string]spec.Bytes{}, map[string]bool{}, map[string]int{}
		for _, p := range places {
			n := byID[p.NodeID]
			require.True(t, p.Host != "" || p.Reason != "", "what isn't placed is explained")
			if p.Host == "" {
				continue
			}
			reserved[p.Host] += n.Reserved.Memory
			if p.Host != n.Host {
				fresh[p.Host] = true
				require.True(t, index[p.Host].Unfit == "" || n.Bound == p.Host && index[p.Host].Unfit == placement.Cordoned)
			}
			if n.AntiAffinity == spec.AntiAffinityRequired && p.Reason == "" {
				apartOn[p.Host+" "+n.Layer]++
				require.Equal(t, 1, apartOn[p.Host+" "+n.Layer])
			}
		}
		for h := range fresh {
			require.LessOrEqual(t, reserved[h], index[h].Capacity.Memory, h)
		}
		settled := make([]placement.Node, 0, len(nodes))
		for _, p := range places {
			n := byID[p.NodeID]
			n.Host = p.Host
			settled = append(settled, n)
		}
		for i, p := range placement.Compute(hosts, settled, nil) {
			require.Equal(t, places[i].Host, p.Host, "a placed node stays")
		}
	})
}

// Each new node goes to the host, of those that fit, with the fewest nodes of its layer, then of its environment, then
// the least reserved, then by name.
func TestANodeGoesToTheBestHost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var hosts []placement.Host
		for i := range rapid.IntRange(1, 6).Draw(t, "hosts") {
			h := host(fmt.Sprintf("hn%d", i), capacity(spec.Bytes(rapid.IntRange(0, 9).Draw(t, "memory"))*128*mi, 4000))
			h.Labels = map[string]string{"zone": rapid.SampledFrom([]string{"a", "b"}).Draw(t, "zone")}
			hosts = append(hosts, h)
		}
		var nodes []placement.Node
		for _, environment := range []string{"bank", "shop"} {
			for _, layer := range []string{"db", "web"} {
				like := placement.Node{Reserved: spec.Resources{Memory: spec.Bytes(rapid.IntRange(0, 2).Draw(t, "reserved")) * 128 * mi}}
				if rapid.Bool().Draw(t, "labelled") {
					like.Labels = map[string]string{"zone": "a"}
				}
				if rapid.Bool().Draw(t, "apart") {
					apart(&like)
				}
				for n := range rapid.IntRange(0, 8).Draw(t, "replicas") {
					like.NodeID = fleet.NodeID{Environment: environment, Layer: layer, Node: n + 1}
					like.Host = ""
					if rapid.IntRange(0, 4).Draw(t, "there") == 0 && like.AntiAffinity != spec.AntiAffinityRequired && like.Labels == nil {
						like.Host = rapid.SampledFrom(hosts).Draw(t, "on").Name
					}
					nodes = append(nodes, like)
				}
			}
		}
		var there []placement.Node // those with a host, in the order in which they got it
		for _, n := range nodes {
			if n.Host != "" {
				there = append(there, n)
			}
		}
		for i, p := range placement.Compute(hosts, nodes, nil) {
			if n := nodes[i]; n.Host == "" {
				require.Equal(t, best(hosts, there, n), p.Host, n.NodeID)
				n.Host = p.Host
				there = append(there, n)
			}
		}
	})
}

// best is the best host for a node while others are there; empty: none fits.
func best(hosts []placement.Host, there []placement.Node, n placement.Node) string {
	name, least := "", []float64(nil)
	for _, h := range hosts {
		var layer, environment, reserved float64
		for _, o := range there {
			if o.Host != h.Name {
				continue
			}
			reserved += float64(o.Reserved.Memory)
			if o.Environment == n.Environment {
				environment++
			}
			if o.LayerID() == n.LayerID() {
				layer++
			}
		}
		share := 1.0
		if h.Capacity.Memory > 0 {
			share = reserved / float64(h.Capacity.Memory)
		}
		fits := reserved+float64(n.Reserved.Memory) <= float64(h.Capacity.Memory) && (n.Labels == nil || h.Labels["zone"] == n.Labels["zone"]) &&
			(n.AntiAffinity != spec.AntiAffinityRequired || layer == 0)
		if rank := []float64{layer, environment, share}; fits && (least == nil || slices.Compare(rank, least) < 0) {
			name, least = h.Name, rank
		}
	}
	return name
}

func draw(t *rapid.T) ([]placement.Host, []placement.Node) {
	var hosts []placement.Host
	for i := range rapid.IntRange(0, 4).Draw(t, "hosts") {
		h := host(fmt.Sprintf("hn%d", i), capacity(spec.Bytes(rapid.IntRange(0, 6).Draw(t, "memory"))*128*mi, 4000))
		h.Unfit = rapid.SampledFrom([]string{"", "", "", "cordoned", "doesn't answer"}).Draw(t, "unfit")
		hosts = append(hosts, h)
	}
	var nodes []placement.Node
	for _, layer := range []string{"db", "web"} {
		required := rapid.Bool().Draw(t, "apart")
		for n := range rapid.IntRange(0, 4).Draw(t, "replicas") {
			nd := node(layer, n+1)
			if required {
				apart(&nd)
			}
			if len(hosts) > 0 && rapid.Bool().Draw(t, "placed") {
				nd.Host = hosts[rapid.IntRange(0, len(hosts)-1).Draw(t, "on")].Name
			}
			if len(hosts) > 0 && rapid.IntRange(0, 3).Draw(t, "choice") == 0 {
				at := hosts[rapid.IntRange(0, len(hosts)-1).Draw(t, "at")].Name
				if rapid.Bool().Draw(t, "bound") {
					nd.Bound = at
				} else {
					nd.Prefer = at
				}
			}
			nodes = append(nodes, nd)
		}
	}
	return hosts, nodes
}
