package fleet

import "net/netip"

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
