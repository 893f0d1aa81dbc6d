package zone

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sort"
	"sync"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// Copy returns the placement of the whole fleet as every keeper is to have it: what was seen, and, of hosts
// that don't answer, what the newest copy in reach says of them. Its serial is the newest one's, plus one
// where anything changed.
//
// It is false where the placement isn't known: hosts don't answer, and no keeper in reach has a copy
// though the fleet has been here before. Such a copy must not be handed out: what it lacks would be
// taken for absent.
func Copy(desired *spec.Spec, observed fleet.Observed, networks []plan.EnvironmentNetwork, outside Outside) (fleet.Copy, bool) {
	c := copier{desired: desired, was: fleet.NewestCopy(observed), state: map[string]*fleet.HostState{}, layers: layersOf(desired)}
	c.services, c.outside = servicesOf(desired), outsideOf(desired, observed, c.was, outside.Zones)
	traces, down := false, false
	for i := range observed.Hosts {
		h := &observed.Hosts[i]
		c.state[h.Name] = h
		down = down || !h.Reachable && desired.Fleet.Host(h.Name) != nil
		traces = traces || h.Reachable && plan.HasTraces(h, desired.Fleet.Name)
	}
	if down && traces && c.was.Serial == 0 {
		return fleet.Copy{}, false
	}
	next := fleet.Copy{Serial: c.was.Serial, Environments: c.environments(networks), Nodes: c.nodes(observed)}
	next.Hosts = c.hosts(next.Nodes)
	if next.Said = maps.Clone(outside.Said); outside.Said == nil {
		next.Said = c.was.Said
	}
	if next.Serial == 0 || !next.Same(&c.was) {
		next.Serial++
	}
	return next, true
}

// servicesOf are the layers that have SRV records outside.
func servicesOf(desired *spec.Spec) map[fleet.LayerID]bool {
	services := map[fleet.LayerID]bool{}
	for i := range desired.Environments {
		env := &desired.Environments[i]
		for _, x := range env.DNS {
			if x.Type == spec.RecordSRV {
				services[fleet.LayerID{Environment: env.Name, Layer: x.Layer}] = true
			}
		}
	}
	return services
}

type copier struct {
	desired *spec.Spec
	was     fleet.Copy
	state   map[string]*fleet.HostState
	layers  map[fleet.LayerID]*spec.Layer // those that are wanted
	// services are the layers whose ports external names say.
	services map[fleet.LayerID]bool
	outside  []externalZone
}

// answers says whether a host was read.
func (c *copier) answers(host string) bool {
	h := c.state[host]
	return h != nil && h.Reachable
}

// nodes are those that were seen, and those that can't be seen.
func (c *copier) nodes(observed fleet.Observed) []fleet.CopyNode {
	was := c.was.Nodes
	if byNode := func(a, b fleet.CopyNode) int { return a.Compare(b.NodeID) }; !slices.IsSortedFunc(was, byNode) {
		was = slices.Clone(was)
		slices.SortFunc(was, byNode)
	}
	nodes := c.seen(observed, was)
	seen := nodes // sorted, as is was
	bound := c.bound(observed)
	for id, v := range bound {
		before := find(was, id)
		if find(seen, id) != nil || before != nil && !c.answers(before.Host) {
			delete(bound, id)
			continue
		}
		v.Reserved = c.reserved(c.layers[id.LayerID()], before)
		nodes = append(nodes, v)
	}
	for i := range was {
		n := &was[i]
		if c.answers(n.Host) || c.givenUp(n) || find(seen, n.NodeID) != nil {
			continue
		}
		if _, there := bound[n.NodeID]; !there {
			nodes = append(nodes, *n)
		}
	}
	slices.SortFunc(nodes, func(a, b fleet.CopyNode) int { return a.Compare(b.NodeID) })
	return nodes
}

// seen are the instances that were seen, one of each node, sorted, unless what the copy has of the node counts for more.
func (c *copier) seen(observed fleet.Observed, was []fleet.CopyNode) []fleet.CopyNode {
	seen := fleet.Nodes(observed)
	nodes := make([]fleet.CopyNode, 0, len(seen))
	var of fleet.LayerID
	var layer *spec.Layer
	for i := range seen {
		n := &seen[i]
		if id := n.LayerID(); id != of {
			of, layer = id, c.layers[id]
		}
		for len(was) > 0 && was[0].Compare(n.NodeID) < 0 {
			was = was[1:]
		}
		var before *fleet.CopyNode
		if len(was) > 0 && was[0].NodeID == n.NodeID {
			before = &was[0]
		}
		in := n.CurrentInstance()
		if in == nil {
			in = n.Candidate() // also that may run when its host is out of reach
		}
		if before != nil && (in.Generation < before.Generation || n.Recorded < in.Generation) && !c.answers(before.Host) {
			continue // the one out of reach is the newer one, or the only one that was ever healthy
		}
		nodes = append(nodes, fleet.CopyNode{
			NodeID: n.NodeID, Host: in.Host, Generation: in.Generation, Unproven: n.Unproven || n.Current < 0, Address: in.Address, Volumes: in.Volumes,
			Reserved: c.reserved(layer, before), Published: c.published(in, before),
			Zones: c.zones(in, before),
		})
	}
	return nodes
}

// find returns the node among sorted ones, or nil.
func find(sorted []fleet.CopyNode, id fleet.NodeID) *fleet.CopyNode {
	i, ok := sort.Find(len(sorted), func(i int) int { return id.Compare(sorted[i].NodeID) })
	if !ok {
		return nil
	}
	return &sorted[i]
}

// bound are wanted nodes by their volumes: those bind a node to its host also while it isn't there.
func (c *copier) bound(observed fleet.Observed) map[fleet.NodeID]fleet.CopyNode {
	recorded := sync.OnceValue(func() map[fleet.NodeID]int { return fleet.Recorded(observed) })
	bound := map[fleet.NodeID]fleet.CopyNode{}
	for i := range observed.Hosts {
		h := &observed.Hosts[i]
		for j := range h.Volumes {
			v := &h.Volumes[j]
			env := c.desired.Environment(v.Environment)
			if !h.Reachable || env == nil || env.Layer(v.Layer) == nil || v.Node < 1 || v.Node > env.Layer(v.Layer).Replicas {
				continue
			}
			n, known := bound[v.NodeID]
			if known && n.Host != h.Name {
				continue // on several hosts: the plan says so
			}
			n.NodeID, n.Host, n.Generation = v.NodeID, h.Name, recorded()[v.NodeID]
			n.Volumes = append(n.Volumes, v.Name)
			bound[v.NodeID] = n
		}
	}
	for _, n := range bound {
		slices.Sort(n.Volumes)
	}
	return bound
}

// givenUp says whether a node on a host that was taken out of the spec isn't wanted any more: then there is
// nothing left to remember of it.
func (c *copier) givenUp(n *fleet.CopyNode) bool {
	if c.desired.Fleet.Host(n.Host) != nil {
		return false
	}
	l := c.layers[n.LayerID()]
	return l == nil || n.Node > l.Replicas
}

// published are the ports of a node that an external name says; those of a stopped one aren't known.
func (c *copier) published(in *fleet.Instance, before *fleet.CopyNode) []fleet.Published {
	if len(c.services) == 0 || !c.services[in.LayerID()] {
		return nil
	}
	known := slices.DeleteFunc(slices.Clone(in.Published), func(p fleet.Published) bool { return p.HostPort == 0 })
	if len(known) == 0 && before != nil && before.Host == in.Host && before.Generation == in.Generation {
		return before.Published
	}
	return known
}

func (c *copier) reserved(l *spec.Layer, before *fleet.CopyNode) spec.Resources {
	if l != nil {
		return l.Reserved
	}
	if before != nil {
		return before.Reserved
	}
	return c.desired.Fleet.Cloudlet
}

// environments are each environment's subnet and hosts, with the hosts that can't be seen.
func (c *copier) environments(networks []plan.EnvironmentNetwork) []fleet.CopyEnvironment {
	byName := map[string]*fleet.CopyEnvironment{}
	var names []string
	get := func(name string) *fleet.CopyEnvironment {
		e := byName[name]
		if e == nil {
			e = &fleet.CopyEnvironment{Name: name}
			byName[name] = e
			names = append(names, name)
		}
		return e
	}
	for i := range networks {
		e := get(networks[i].Environment)
		e.Subnet = networks[i].Subnet
		e.Hosts = append(e.Hosts, networks[i].Host)
		noteGateway(e, networks[i].Host, networks[i].Gateway)
	}
	for i := range c.was.Environments {
		for _, h := range c.was.Environments[i].Hosts {
			if c.answers(h) || c.desired.Fleet.Host(h) == nil {
				continue
			}
			e := get(c.was.Environments[i].Name)
			if !e.Subnet.IsValid() {
				e.Subnet = c.was.Environments[i].Subnet
			}
			e.Hosts = append(e.Hosts, h)
			noteGateway(e, h, c.was.Environments[i].Gateways[h])
		}
	}
	slices.Sort(names)
	environments := make([]fleet.CopyEnvironment, 0, len(names))
	for _, name := range names {
		e := byName[name]
		slices.Sort(e.Hosts)
		e.Hosts = slices.Compact(e.Hosts)
		environments = append(environments, *e)
	}
	return environments
}

func noteGateway(e *fleet.CopyEnvironment, host string, gateway netip.Addr) {
	if !gateway.IsValid() {
		return
	}
	if e.Gateways == nil {
		e.Gateways = map[string]netip.Addr{}
	}
	e.Gateways[host] = gateway
}

// hosts are the spec's, and those that were taken out of it and still have nodes.
func (c *copier) hosts(nodes []fleet.CopyNode) []fleet.CopyHost {
	var hosts []fleet.CopyHost
	for i := range c.desired.Fleet.Hosts {
		h := &c.desired.Fleet.Hosts[i]
		hosts = append(hosts, fleet.CopyHost{
			Name: h.Name, Endpoint: h.Endpoint, Insecure: h.Insecure, TLS: h.TLS, SSH: h.SSH,
			Address: h.Address, PublicAddresses: h.PublicAddresses,
		})
	}
	occupied := map[string]bool{}
	for i := range nodes {
		occupied[nodes[i].Host] = true
	}
	for _, h := range c.was.Hosts {
		if c.desired.Fleet.Host(h.Name) == nil && occupied[h.Name] {
			hosts = append(hosts, h)
		}
	}
	slices.SortFunc(hosts, func(a, b fleet.CopyHost) int { return cmp.Compare(a.Name, b.Name) })
	return hosts
}
