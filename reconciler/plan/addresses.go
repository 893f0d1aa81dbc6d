package plan

import (
	"net/netip"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// takeAddresses marks the addresses that are in use: those of all instances that were seen, stopped ones
// too, and those of nodes on hosts out of reach.
func (w *world) takeAddresses() {
	for _, l := range w.layers {
		s := w.subnets[l.id.Environment]
		if s == nil || s.problem != "" {
			continue
		}
		for _, n := range l.nodes {
			if n.copy != nil && !w.byHost[n.copy.Host].up() {
				s.take(n.copy.Address)
			}
			if n.seen == nil {
				continue
			}
			for i := range n.seen.Instances {
				s.take(n.seen.Instances[i].Address)
			}
		}
	}
	for _, h := range w.hosts {
		if h.up() {
			w.takeKeepers(h.state)
		}
	}
}

// takeKeepers marks what a keeper of ours holds outside of the keepers' own part, which only happens
// where the layout of a subnet was another one.
func (w *world) takeKeepers(h *fleet.HostState) {
	for i := range h.Networks {
		s := w.subnets[h.Networks[i].Environment]
		if s == nil || h.Networks[i].Fleet != w.fleet.Name {
			continue
		}
		for k := range h.Keepers {
			s.take(h.Keepers[k].Networks[h.Networks[i].Name])
		}
	}
}

func (s *subnet) take(a netip.Addr) {
	if o := s.offset(a); o >= 0 && o < len(s.nodes) {
		s.nodes[o] = true
	}
}

// allocate takes the lowest free address for a node.
func (s *subnet) allocate() (netip.Addr, bool) {
	for ; s.next < dockersBase; s.next++ {
		if !s.nodes[s.next] {
			s.nodes[s.next] = true
			return s.at(s.next), true
		}
	}
	return netip.Addr{}, false
}
