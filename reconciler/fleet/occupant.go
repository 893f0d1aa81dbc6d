package fleet

import (
	"net/netip"
	"slices"
)

// Occupant is a container that runs, whoever's it is, and what it holds that no other can have meanwhile.
type Occupant struct {
	ID   string
	Name string // without a leading slash
	// Fleet is the label of the fleet that it belongs to; empty: it isn't evenkeel's.
	Fleet string
	// NodeID is the node that it is, where its labels say so.
	NodeID
	Addresses []netip.Addr // on whatever networks
	Ports     []Published  // of the host, sorted; none with HostPort 0
}

// Holds says whether the occupant has an address, or publishes a port of the host.
func (o *Occupant) Holds(address netip.Addr, ports []Published) bool {
	if address.IsValid() && slices.Contains(o.Addresses, address) {
		return true
	}
	return slices.ContainsFunc(ports, func(p Published) bool {
		return p.HostPort != 0 && slices.ContainsFunc(o.Ports, func(has Published) bool {
			return has.HostPort == p.HostPort && has.Protocol == p.Protocol
		})
	})
}
