// Package zone decides what each host's keeper is told: which of its nodes are to be found under which
// names, how they are probed, and the copy of who is where. Pure data in, pure data out.
package zone

import (
	"cmp"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// Compute returns the zone of every host that was read, sorted by host. networks are those of the plan
// for the same input. out says why a node is to be kept out of its layer's names though it may well
// serve; empty: it isn't; nil: none is.
//
// A keeper is told of the nodes on its own host only, as it is with the bridge driver. Each node's current
// instance is among them, running or not, so that its own name stays; so is a running candidate, which is
// probed and not answered with. Superseded instances are in no zone.
func Compute(desired *spec.Spec, observed fleet.Observed, networks []plan.EnvironmentNetwork, out func(fleet.NodeID) string) []fleet.Zone {
	b := builder{desired: desired, out: out, byHost: map[string]int{}}
	if out == nil {
		b.out = func(fleet.NodeID) string { return "" }
	}
	for i := range observed.Hosts {
		h := &observed.Hosts[i]
		if h.Reachable {
			b.hosts = append(b.hosts, h)
		}
	}
	slices.SortFunc(b.hosts, func(x, y *fleet.HostState) int { return cmp.Compare(x.Name, y.Name) })
	for i, h := range b.hosts {
		b.byHost[h.Name] = i
		b.zones = append(b.zones, fleet.Zone{
			Fleet: desired.Fleet.Name, Host: h.Name, Domain: desired.Fleet.Internal.Zone,
			TTL: desired.Fleet.Internal.TTL, Pool: desired.Fleet.Network.Pool,
		})
	}
	b.indexLayers(observed)
	b.addNetworks(networks)
	nodes := fleet.Nodes(observed)
	for i := range nodes {
		b.addNode(&nodes[i])
	}
	return b.zones
}

type builder struct {
	desired *spec.Spec
	out     func(fleet.NodeID) string
	hosts   []*fleet.HostState
	zones   []fleet.Zone
	byHost  map[string]int
	layers  map[fleet.LayerID]*spec.Layer
	names   map[string][]string // the layers of each environment, sorted
}

// indexLayers gathers the layers that are wanted, and those that only exist.
func (b *builder) indexLayers(observed fleet.Observed) {
	b.layers, b.names = map[fleet.LayerID]*spec.Layer{}, map[string][]string{}
	for e := range b.desired.Environments {
		env := &b.desired.Environments[e]
		for i := range env.Layers {
			b.layers[fleet.LayerID{Environment: env.Name, Layer: env.Layers[i].Name}] = &env.Layers[i]
		}
	}
	known := map[fleet.LayerID]bool{}
	for id := range b.layers {
		known[id] = true
	}
	for h := range observed.Hosts {
		for i := range observed.Hosts[h].Instances {
			known[observed.Hosts[h].Instances[i].LayerID()] = true
		}
	}
	for id := range known {
		b.names[id.Environment] = append(b.names[id.Environment], id.Layer)
	}
	for env := range b.names {
		slices.Sort(b.names[env])
	}
}

func (b *builder) addNetworks(networks []plan.EnvironmentNetwork) {
	networks = slices.Clone(networks)
	slices.SortFunc(networks, func(x, y plan.EnvironmentNetwork) int {
		return cmp.Or(cmp.Compare(x.Environment, y.Environment), cmp.Compare(x.Host, y.Host))
	})
	for i := range networks {
		n := &networks[i]
		h, ok := b.byHost[n.Host]
		if !ok {
			continue
		}
		b.zones[h].Networks = append(b.zones[h].Networks, fleet.ZoneNetwork{
			Environment: n.Environment, Name: fleet.NetworkName(b.desired.Fleet.Name, n.Environment),
			Subnet: n.Subnet, Address: n.Keeper, Layers: b.names[n.Environment],
		})
	}
}

// addNode puts a node's instances into the zones of their hosts.
func (b *builder) addNode(n *fleet.Node) {
	for i := range n.Instances {
		in := &n.Instances[i]
		h, ok := b.byHost[in.Host]
		candidate := i > n.Current
		if !ok || i < n.Current || candidate && !in.Running() || !in.Address.IsValid() {
			continue
		}
		z := fleet.ZoneNode{
			NodeID: n.NodeID, Generation: in.Generation, Instance: in.ID, Address: in.Address, Candidate: candidate,
		}
		if !in.StartedAt.IsZero() {
			z.Epoch = in.StartedAt.UTC().Format(time.RFC3339Nano)
		}
		if !candidate {
			z.Out = b.whyOut(n, in)
		}
		z.Probes = b.probes(n, in, candidate || b.out(n.NodeID) != "" || n.Unproven)
		b.zones[h].Nodes = append(b.zones[h].Nodes, z)
	}
}

// whyOut is why a current instance isn't to be found under its layer's name.
func (b *builder) whyOut(n *fleet.Node, in *fleet.Instance) string {
	if reason := b.out(n.NodeID); reason != "" {
		return reason
	}
	switch {
	case !in.Running():
		return "stopped"
	case in.State == fleet.StatePaused:
		return "paused"
	case in.State == fleet.StateRestarting:
		return "restarting"
	case in.Health == fleet.HealthStarting:
		return "its health check has not succeeded yet"
	case in.Health == fleet.HealthUnhealthy:
		return "its health check fails"
	case n.Unproven:
		return "not healthy yet"
	}
	return ""
}
