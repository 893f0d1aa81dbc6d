// Package zone decides what each host's keeper is told: which of its nodes are to be found under which
// names, how they are probed, and the copy of who is where. Pure data in, pure data out.
package zone

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// Work is what is being done with nodes; nil: nothing is.
type Work struct {
	// Out says why a node is to be kept out of its layer's names though it may well serve; empty: it isn't.
	Out func(fleet.NodeID) string
	// Gated says whether a node was started, also one that stays in its names, and has to be found ready.
	Gated func(fleet.NodeID) bool
}

// Compute returns the zone of every host that was read, sorted by host. networks are those of the plan
// for the same input.
//
// A keeper is told of the nodes on its own host, and, where hosts are joined, of the current instances on other hosts
// of the environments that it carries; of hosts that don't answer, what it was told last. Each node's current instance is
// among them, running or not, so that its own name stays; so is a running candidate on its own host, which is probed and
// not answered with. Superseded instances are in no zone.
func Compute(desired *spec.Spec, observed fleet.Observed, networks []plan.EnvironmentNetwork, work *Work) []fleet.Zone {
	var hosts []*fleet.HostState
	for i := range observed.Hosts {
		if h := &observed.Hosts[i]; h.Reachable {
			hosts = append(hosts, h)
		}
	}
	slices.SortFunc(hosts, func(x, y *fleet.HostState) int { return cmp.Compare(x.Name, y.Name) })
	return compute(desired, observed, networks, work, hosts, fleet.Nodes(observed))
}

// Of returns the zone of one host, as Compute does, without looking at what is on other hosts only; false: the
// host wasn't read.
func Of(host string, desired *spec.Spec, observed fleet.Observed, networks []plan.EnvironmentNetwork, work *Work) (fleet.Zone, bool) {
	h := observed.Host(host)
	if h == nil || !h.Reachable {
		return fleet.Zone{}, false
	}
	nodes := fleet.NodesOn(observed, host)
	if joined(desired) {
		nodes = fleet.NodesIn(observed, environmentsOn(h, networks))
	}
	return compute(desired, observed, networks, work, []*fleet.HostState{h}, nodes)[0], true
}

func joined(desired *spec.Spec) bool { return desired.Fleet.Network.Driver == spec.NetworkVXLAN }

// environmentsOn are those that a host has nodes of, or carries the network of, sorted.
func environmentsOn(h *fleet.HostState, networks []plan.EnvironmentNetwork) []string {
	var names []string
	for i := range networks {
		if networks[i].Host == h.Name {
			names = append(names, networks[i].Environment)
		}
	}
	for i := range h.Instances {
		if e := h.Instances[i].Environment; i == 0 || e != h.Instances[i-1].Environment {
			names = append(names, e)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// compute makes the zones of some hosts, of nodes that are all that have an instance on one of them, or may be reached
// from one.
func compute(desired *spec.Spec, observed fleet.Observed, networks []plan.EnvironmentNetwork, work *Work,
	hosts []*fleet.HostState, nodes []fleet.Node,
) []fleet.Zone {
	if work == nil {
		work = &Work{Out: func(fleet.NodeID) string { return "" }, Gated: func(fleet.NodeID) bool { return false }}
	}
	b := builder{desired: desired, work: work, hosts: hosts, byHost: make(map[string]int, len(hosts)), away: map[string]bool{}, newer: map[*spec.Layer][]fleet.ZoneService{}, older: map[string][]fleet.ZoneService{}}
	for i, h := range hosts {
		b.byHost[h.Name] = i
		b.zones = append(b.zones, fleet.Zone{
			Fleet: desired.Fleet.Name, Host: h.Name, Domain: desired.Fleet.Internal.Zone,
			TTL: desired.Fleet.Internal.TTL, Pool: desired.Fleet.Network.Pool,
			Nodes: slices.Grow([]fleet.ZoneNode(nil), len(h.Instances)),
		})
	}
	for i := range observed.Hosts {
		if h := &observed.Hosts[i]; !h.Reachable || h.Keeper == nil {
			b.away[h.Name] = true
		}
	}
	b.indexLayers(observed)
	b.addNetworks(networks)
	for i := range nodes {
		b.addNode(&nodes[i])
	}
	if joined(desired) {
		b.keepTold()
	}
	return b.zones
}

type builder struct {
	desired *spec.Spec
	work    *Work
	hosts   []*fleet.HostState
	zones   []fleet.Zone
	byHost  map[string]int
	layers  map[fleet.LayerID]*spec.Layer
	names   map[string][]string // the layers of each environment, sorted
	carry   map[string][]int    // the zones with each environment's network, where hosts are joined
	away    map[string]bool     // hosts of which, or of whose keepers' records, nothing is known
	newer   map[*spec.Layer][]fleet.ZoneService
	older   map[string][]fleet.ZoneService // of what isn't written any more
}

// indexLayers gathers the layers that are wanted, and those that only exist.
func (b *builder) indexLayers(observed fleet.Observed) {
	b.layers, b.names = layersOf(b.desired), map[string][]string{}
	known := map[fleet.LayerID]bool{}
	for id := range b.layers {
		known[id] = true
	}
	for h := range observed.Hosts {
		var last fleet.LayerID
		for i := range observed.Hosts[h].Instances {
			if l := observed.Hosts[h].Instances[i].LayerID(); l != last {
				known[l], last = true, l
			}
		}
	}
	for id := range known {
		b.names[id.Environment] = append(b.names[id.Environment], id.Layer)
	}
	for env := range b.names {
		slices.Sort(b.names[env])
	}
}

// layersOf are the layers that are wanted.
func layersOf(desired *spec.Spec) map[fleet.LayerID]*spec.Layer {
	layers := map[fleet.LayerID]*spec.Layer{}
	for e := range desired.Environments {
		env := &desired.Environments[e]
		for i := range env.Layers {
			layers[fleet.LayerID{Environment: env.Name, Layer: env.Layers[i].Name}] = &env.Layers[i]
		}
	}
	return layers
}

func (b *builder) addNetworks(networks []plan.EnvironmentNetwork) {
	networks = slices.DeleteFunc(slices.Clone(networks), func(n plan.EnvironmentNetwork) bool { _, ok := b.byHost[n.Host]; return !ok })
	slices.SortFunc(networks, func(x, y plan.EnvironmentNetwork) int {
		return cmp.Or(cmp.Compare(x.Environment, y.Environment), cmp.Compare(x.Host, y.Host))
	})
	var name string
	var layers []string
	b.carry = map[string][]int{}
	for i := range networks {
		n := &networks[i]
		if i == 0 || n.Environment != networks[i-1].Environment {
			name, layers = fleet.NetworkName(b.desired.Fleet.Name, n.Environment), b.names[n.Environment]
		}
		h := b.byHost[n.Host]
		b.zones[h].Networks = append(b.zones[h].Networks, fleet.ZoneNetwork{
			Environment: n.Environment, Name: name, Subnet: n.Subnet, Address: n.Keeper, Layers: layers,
		})
		if joined(b.desired) {
			b.carry[n.Environment] = append(b.carry[n.Environment], h)
		}
	}
}

// addNode puts a node's instances into the zones of their hosts, and of those that reach them.
func (b *builder) addNode(n *fleet.Node) {
	for i := range n.Instances {
		in := &n.Instances[i]
		candidate := i > n.Current
		if i < n.Current || candidate && !in.Running() || !in.Address.IsValid() {
			continue
		}
		z := fleet.ZoneNode{
			NodeID: n.NodeID, Generation: in.Generation, Instance: in.ID, Address: in.Address, Candidate: candidate,
		}
		if !in.StartedAt.IsZero() {
			z.Epoch = in.StartedAt.UTC().Format(time.RFC3339Nano)
		}
		if !candidate {
			z.Out, z.Services = b.whyOut(n, in), b.services(in)
		}
		here, known := b.byHost[in.Host]
		if known {
			z.Probes = b.probes(n, in, candidate || b.work.Out(n.NodeID) != "" || b.work.Gated(n.NodeID) || n.Unproven)
			b.zones[here].Nodes = append(b.zones[here].Nodes, z)
		}
		if candidate || b.away[in.Host] {
			continue
		}
		z.Host, z.Probes = in.Host, b.probes(n, in, false)
		for _, h := range b.carry[n.Environment] {
			if !known || h != here {
				b.zones[h].Nodes = append(b.zones[h].Nodes, z)
			}
		}
	}
}

// keepTold keeps what keepers were told of nodes on hosts that don't answer, or whose keepers don't: they may well serve,
// and what is seen elsewhere of such a node may be what it has superseded. Of a host that was taken out of the spec, and of
// nodes that aren't wanted any more, nothing is kept.
func (b *builder) keepTold() {
	for i, h := range b.hosts {
		if h.Keeper == nil {
			continue
		}
		z := &b.zones[i]
		for j := range h.Keeper.Zone.Nodes {
			n := h.Keeper.Zone.Nodes[j]
			if n.Host == "" || !b.away[n.Host] || b.desired.Fleet.Host(n.Host) == nil || !b.wants(n.NodeID) || !slices.Contains(b.carry[n.Environment], i) {
				continue
			}
			switch reason := b.work.Out(n.NodeID); {
			case reason != "":
				n.Out = reason
			case strings.HasPrefix(n.Out, fleet.OutWithdrawn), n.Out == fleet.OutStarting:
				n.Out = "" // that is over, and probes say the rest
			}
			seen := slices.IndexFunc(z.Nodes, func(o fleet.ZoneNode) bool { return o.NodeID == n.NodeID && !o.Candidate })
			switch {
			case seen < 0:
				z.Nodes = append(z.Nodes, n)
			case z.Nodes[seen].Host != "" && z.Nodes[seen].Generation < n.Generation:
				z.Nodes[seen] = n
			}
		}
		slices.SortStableFunc(z.Nodes, func(x, y fleet.ZoneNode) int {
			return cmp.Or(x.Compare(y.NodeID), cmp.Compare(x.Generation, y.Generation))
		})
	}
}

func (b *builder) wants(n fleet.NodeID) bool {
	l := b.layers[n.LayerID()]
	return l != nil && n.Node <= l.Replicas
}

// services are the ports that an instance was made with, as far as they are known.
func (b *builder) services(in *fleet.Instance) []fleet.ZoneService {
	if l := b.layers[in.LayerID()]; l != nil && in.MadeFor(l) {
		known, ok := b.newer[l]
		if !ok {
			known = namedPorts(l.Ports)
			b.newer[l] = known
		}
		return known
	}
	known, ok := b.older[in.Written]
	if !ok {
		ports, _ := spec.WrittenPorts(in.Written)
		known = namedPorts(ports)
		b.older[in.Written] = known
	}
	return known
}

func namedPorts(ports []spec.Port) []fleet.ZoneService {
	if len(ports) == 0 {
		return nil
	}
	services := make([]fleet.ZoneService, 0, len(ports))
	for i := range ports {
		services = append(services, fleet.ZoneService{Name: ports[i].Name, Protocol: ports[i].Protocol, Port: ports[i].Port})
	}
	slices.SortFunc(services, func(a, b fleet.ZoneService) int { return cmp.Compare(a.Name, b.Name) })
	return services[:min(len(services), fleet.MaxServices)]
}

// whyOut is why a current instance isn't to be found under its layer's name.
func (b *builder) whyOut(n *fleet.Node, in *fleet.Instance) string {
	if reason := b.work.Out(n.NodeID); reason != "" {
		return reason
	}
	return n.Unfit(in)
}
