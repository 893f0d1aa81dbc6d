package fleet

import (
	"net/netip"
	"slices"
)

// Links are what joins a host's networks to those of the fleet's other hosts. They are always sent whole, so that
// sending them again changes nothing.
type Links struct {
	Fleet string     `json:"fleet"`
	Local netip.Addr `json:"local"` // what other hosts reach this one by
	Port  uint16     `json:"port"`  // UDP, of VXLAN
	// Hosts are all others of the fleet: nobody else's frames are taken.
	Hosts    []netip.Addr `json:"hosts"`
	Networks []Link       `json:"networks"`
}

// Link joins one environment's network.
type Link struct {
	Environment string       `json:"environment"`
	Bridge      string       `json:"bridge"` // the network's device on the host
	ID          uint32       `json:"id"`     // of the VXLAN: VXLANID's
	MTU         int          `json:"mtu"`    // of the device, in bytes
	Peers       []netip.Addr `json:"peers"`  // the other hosts that carry the environment
}

// Same says whether two say the same.
func (l *Links) Same(o *Links) bool {
	return l.Fleet == o.Fleet && l.Local == o.Local && l.Port == o.Port && slices.Equal(l.Hosts, o.Hosts) &&
		slices.EqualFunc(l.Networks, o.Networks, func(a, b Link) bool {
			return a.Environment == b.Environment && a.Bridge == b.Bridge && a.ID == b.ID && a.MTU == b.MTU && slices.Equal(a.Peers, b.Peers)
		})
}

// LinksResult is what became of links that were set.
type LinksResult struct {
	Changed []string `json:"changed,omitempty"`
	// Waiting are the environments whose bridges aren't there: the engine has yet to make them.
	Waiting []string `json:"waiting,omitempty"`
	Problem string   `json:"problem,omitempty"` // what could not be done; the rest is
	MTU     int      `json:"mtu,omitempty"`     // of the host's own link to the others, in bytes; 0: not known
}

// VXLANOverhead is what a frame's way over another host's network takes of its size: the outer IPv4, UDP and VXLAN
// headers and the inner Ethernet one (RFC 7348 §5).
const VXLANOverhead = 50

// VXLANID is the VXLAN network identifier of a /22 of IPv4 addresses: its number among all of them, so that networks
// that don't overlap don't share one. It needs 22 of an identifier's 24 bits; 0, which is no identifier of ours, would
// be that of 0.0.0.0/22.
func VXLANID(subnet netip.Prefix) uint32 {
	a := subnet.Masked().Addr().As4()
	return (uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])) >> 10
}
