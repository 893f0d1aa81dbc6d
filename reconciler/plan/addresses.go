package plan

import (
	"cmp"
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
	for _, s := range w.subnets {
		for _, a := range w.in.Taken {
			s.take(a)
		}
	}
}

// clashes says whether an instance that doesn't run can't have its address any more: another node's has it, which
// runs, or was made before. Nobody else gives way, so it needs another one.
func (w *world) clashes(in *fleet.Instance) bool {
	if in.Running() || !in.Address.IsValid() {
		return false
	}
	for _, other := range w.holders()[in.Address] {
		if other.NodeID != in.NodeID && other.Environment == in.Environment && (other.Running() || madeBefore(other, in)) {
			return true
		}
	}
	return false
}

func madeBefore(a, b *fleet.Instance) bool {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID)) < 0
}

// holdersOf are the instances that were seen, by their addresses.
func holdersOf(o fleet.Observed) map[netip.Addr][]*fleet.Instance {
	holders := map[netip.Addr][]*fleet.Instance{}
	for h := range o.Hosts {
		for i := range o.Hosts[h].Instances {
			in := &o.Hosts[h].Instances[i]
			holders[in.Address] = append(holders[in.Address], in)
		}
	}
	return holders
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
