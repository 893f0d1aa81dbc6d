package names

import (
	"net"
	"net/netip"

	"github.com/miekg/dns"
)

// udpSize is the largest answer over UDP that no network of ours has to fragment.
const udpSize = 1232

// reply makes the answer to a question that is ours.
func (v *View) reply(r *dns.Msg, rrs []dns.RR, owner string, as verdict) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(r)
	m.Authoritative, m.RecursionAvailable = true, true
	m.Answer = rrs
	for _, rr := range rrs {
		if s, ok := rr.(*dns.SRV); ok {
			m.Extra = append(m.Extra, v.names[s.Target].answer()...) // whoever asks wants to go there
		}
	}
	if as == denied {
		m.Rcode = dns.RcodeNameError
	}
	if len(rrs) == 0 {
		m.Ns = []dns.RR{v.soa(owner)}
	}
	return m
}

func refuse(r *dns.Msg, rcode int) *dns.Msg {
	m := new(dns.Msg)
	m.SetRcode(r, rcode)
	m.RecursionAvailable = true
	return m
}

// checkQuery says with which code a message is refused; RcodeSuccess: it isn't.
func checkQuery(r *dns.Msg) int {
	switch {
	case r.Opcode != dns.OpcodeQuery:
		return dns.RcodeNotImplemented
	case len(r.Question) != 1:
		return dns.RcodeFormatError
	case r.Question[0].Qclass != dns.ClassINET && r.Question[0].Qclass != dns.ClassANY:
		return dns.RcodeRefused
	case r.Question[0].Qtype == dns.TypeAXFR || r.Question[0].Qtype == dns.TypeIXFR:
		return dns.RcodeRefused
	}
	if opt := r.IsEdns0(); opt != nil && opt.Version() != 0 {
		return dns.RcodeBadVers
	}
	return dns.RcodeSuccess
}

// fit makes an answer fit what the asker can take: its OPT record, and its size.
func fit(m, r *dns.Msg, tcp bool) {
	size := dns.MinMsgSize
	asked := r.IsEdns0()
	switch {
	case asked == nil:
		m.Extra = withoutOPT(m.Extra)
	case m.IsEdns0() == nil:
		m.SetEdns0(udpSize, asked.Do())
	}
	if m.Rcode > 0xf && m.IsEdns0() == nil {
		m.Rcode = dns.RcodeServerFailure // an extended code needs the OPT record that the asker doesn't know
	}
	if asked != nil {
		size = min(max(int(asked.UDPSize()), dns.MinMsgSize), udpSize)
	}
	if tcp {
		size = dns.MaxMsgSize
	}
	m.Truncate(size)
}

func withoutOPT(rrs []dns.RR) []dns.RR {
	var kept []dns.RR
	for _, rr := range rrs {
		if rr.Header().Rrtype != dns.TypeOPT {
			kept = append(kept, rr)
		}
	}
	return kept
}

// addrOf returns the address of a UDP or TCP peer.
func addrOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
