package zone

import (
	"cmp"
	"reflect"
	"slices"

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
func Copy(desired *spec.Spec, observed fleet.Observed, networks []plan.EnvironmentNetwork) (fleet.Copy, bool) {
	c := copier{desired: desired, was: fleet.NewestCopy(observed), state: map[string]*fleet.HostState{}}
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
	if next.Serial == 0 || !reflect.DeepEqual(canonical(next), canonical(c.was)) {
		next.Serial++
	}
	return next, true
}

// canonical makes copies comparable: one that came over a wire has nil where another has nothing.
func canonical(c fleet.Copy) fleet.Copy {
	c.Hosts, c.Environments, c.Nodes = slices.Clone(c.Hosts), slices.Clone(c.Environments), slices.Clone(c.Nodes)
	for i := range c.Environments {
		if len(c.Environments[i].Hosts) == 0 {
			c.Environments[i].Hosts = nil
		}
	}
	for i := range c.Nodes {
		if len(c.Nodes[i].Volumes) == 0 {
			c.Nodes[i].Volumes = nil
		}
	}
	if len(c.Hosts) == 0 {
		c.Hosts = nil
	}
	if len(c.Environments) == 0 {
		c.Environments = nil
	}
	if len(c.Nodes) == 0 {
		c.Nodes = nil
	}
	return c
}

type copier struct {
	desired *spec.Spec
	was     fleet.Copy
	state   map[string]*fleet.HostState
}

// answers says whether a host was read.
func (c *copier) answers(host string) bool {
	h := c.state[host]
	return h != nil && h.Reachable
}

// nodes are the current instances that were seen, and those that can't be seen.
func (c *copier) nodes(observed fleet.Observed) []fleet.CopyNode {
	was := make(map[fleet.NodeID]*fleet.CopyNode, len(c.was.Nodes))
	for i := range c.was.Nodes {
		was[c.was.Nodes[i].NodeID] = &c.was.Nodes[i]
	}
	var nodes []fleet.CopyNode
	taken := map[fleet.NodeID]bool{}
	seen := fleet.Nodes(observed)
	for i := range seen {
		n := &seen[i]
		in, before := n.CurrentInstance(), was[n.NodeID]
		if in == nil {
			continue
		}
		if before != nil && !c.answers(before.Host) && (in.Generation < before.Generation || n.Recorded < in.Generation) {
			continue // the one out of reach is the newer one, or the only one that was ever healthy
		}
		taken[n.NodeID] = true
		nodes = append(nodes, fleet.CopyNode{
			NodeID: n.NodeID, Host: in.Host, Generation: in.Generation, Address: in.Address, Volumes: in.Volumes,
			Reserved: c.reserved(n.NodeID, before),
		})
	}
	for i := range c.was.Nodes {
		if n := c.was.Nodes[i]; !taken[n.NodeID] && !c.answers(n.Host) && !c.givenUp(&n) {
			nodes = append(nodes, n)
		}
	}
	slices.SortFunc(nodes, func(a, b fleet.CopyNode) int { return a.Compare(b.NodeID) })
	return nodes
}

// givenUp says whether a node on a host that was taken out of the spec isn't wanted any more: then there is
// nothing left to remember of it.
func (c *copier) givenUp(n *fleet.CopyNode) bool {
	if c.desired.Fleet.Host(n.Host) != nil {
		return false
	}
	env := c.desired.Environment(n.Environment)
	if env == nil {
		return true
	}
	l := env.Layer(n.Layer)
	return l == nil || n.Node > l.Replicas
}

func (c *copier) reserved(id fleet.NodeID, before *fleet.CopyNode) spec.Resources {
	if env := c.desired.Environment(id.Environment); env != nil {
		if l := env.Layer(id.Layer); l != nil {
			return l.Reserved
		}
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

// hosts are the spec's, and those that were taken out of it and still have nodes.
func (c *copier) hosts(nodes []fleet.CopyNode) []fleet.CopyHost {
	var hosts []fleet.CopyHost
	for i := range c.desired.Fleet.Hosts {
		h := &c.desired.Fleet.Hosts[i]
		hosts = append(hosts, fleet.CopyHost{Name: h.Name, Endpoint: h.Endpoint, Insecure: h.Insecure, TLS: h.TLS, SSH: h.SSH, Address: h.Address})
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
