package plan

import (
	"strings"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/placement"
	"github.com/evenkeel/evenkeel/spec"
)

// place asks for a host for every wanted node.
func (w *world) place() {
	volumes := w.volumeHosts()
	known := 0
	for _, l := range w.layers {
		known += len(l.nodes)
	}
	nodes, placed := make([]placement.Node, 0, known), make([]*node, 0, known)
	var others []placement.Node
	for _, l := range w.layers {
		for _, n := range l.nodes {
			switch {
			case !n.wanted:
				if cur := n.newest(); cur != nil {
					others = append(others, placement.Node{NodeID: n.id, Host: cur.Host, Reserved: w.reserved(n)})
				}
			case n.far != "":
				nodes, placed = append(nodes, w.placementNode(n, n.far, true)), append(placed, n)
			case n.wait == "":
				if p, ok := w.whereabouts(n, volumes); ok {
					nodes, placed = append(nodes, p), append(placed, n)
				}
			}
		}
	}
	for i, p := range placement.Compute(w.placementHosts(), nodes, others) {
		placed[i].place = p // both are sorted by node
	}
}

// newest is the node's current instance, or, where there is none, the newest.
func (n *node) newest() *fleet.Instance {
	if n.seen == nil {
		return nil
	}
	if cur := n.seen.CurrentInstance(); cur != nil {
		return cur
	}
	return &n.seen.Instances[len(n.seen.Instances)-1]
}

// whereabouts says where a node is and what holds it there; false: it can't be told, and it waits.
func (w *world) whereabouts(n *node, volumes map[fleet.NodeID][]string) (placement.Node, bool) {
	cur := n.current()
	host := ""
	if cur != nil {
		host = cur.Host
	}
	h := w.byHost[host]
	p := w.placementNode(n, host, h != nil && h.mute != "")
	if c := w.candidate(n); c != nil {
		p.Prefer = c.Host
	}
	switch on := volumes[n.id]; {
	case len(on) == 1:
		p.Bound = on[0]
	case len(on) > 1 && contains(on, host):
		p.Bound = host
	case len(on) > 1:
		n.wait = "has volumes on " + strings.Join(on, " and ") + ": remove those that aren't the right ones"
		return p, false
	}
	return p, true
}

func (w *world) placementNode(n *node, host string, fixed bool) placement.Node {
	return placement.Node{
		NodeID: n.id, Host: host, Fixed: fixed, Reserved: w.reserved(n),
		Labels: n.layer.spec.Placement.Hosts, AntiAffinity: n.layer.spec.Placement.AntiAffinity,
	}
}

// reserved is what the node counts for.
func (w *world) reserved(n *node) spec.Resources {
	switch {
	case n.layer.spec != nil:
		return n.layer.spec.Reserved
	case n.copy != nil:
		return n.copy.Reserved
	}
	return w.fleet.Cloudlet
}

// candidate is an instance beyond the current one that was made for what is wanted now, or nil. Its image
// isn't looked at here: that is known only once its host is.
func (w *world) candidate(n *node) *fleet.Instance {
	if n.seen == nil || n.layer.spec == nil {
		return nil
	}
	c := n.seen.Candidate()
	if c == nil || !sameSpec(c, n.layer.spec) || w.clashes(c) || w.byHost[c.Host].spec == nil || w.byHost[c.Host].mute != "" {
		return nil
	}
	return c
}

func sameSpec(in *fleet.Instance, l *spec.Layer) bool { return in.MadeFor(l) }

// volumeHosts are the hosts of each node's volumes that its layer still has, sorted.
func (w *world) volumeHosts() map[fleet.NodeID][]string {
	on := map[fleet.NodeID][]string{}
	for _, h := range w.hosts {
		if !h.up() || h.spec == nil {
			continue
		}
		for i := range h.state.Volumes {
			v := &h.state.Volumes[i]
			if l := w.byLayer[v.LayerID()]; l != nil && l.spec != nil && hasVolume(l.spec, v.Volume) && !contains(on[v.NodeID], h.name) {
				on[v.NodeID] = append(on[v.NodeID], h.name)
			}
		}
	}
	return on
}

func hasVolume(l *spec.Layer, name string) bool {
	for i := range l.Volumes {
		if l.Volumes[i].Name == name {
			return true
		}
	}
	return false
}

func contains(s []string, v string) bool {
	for i := range s {
		if s[i] == v {
			return true
		}
	}
	return false
}

// placementHosts are the spec's hosts as placement sees them.
func (w *world) placementHosts() []placement.Host {
	hosts := make([]placement.Host, 0, len(w.fleet.Hosts))
	for _, h := range w.hosts {
		if h.spec == nil {
			continue
		}
		p := placement.Host{Name: h.name, Labels: h.spec.Labels}
		switch {
		case !h.up():
			p.Unfit = "doesn't answer"
		case h.mute != "":
			p.Unfit = "has a keeper that doesn't answer"
		case h.spec.State == spec.HostCordoned:
			p.Unfit = placement.Cordoned
		}
		if h.up() {
			p.Capacity = placement.Room(*h.spec, h.state.Engine)
		} else {
			p.Capacity = placement.Room(*h.spec, fleet.Engine{})
		}
		hosts = append(hosts, p)
	}
	return hosts
}
