package names

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// verdict is what is to be done with a question.
type verdict int

const (
	forward verdict = iota // not ours
	exists                 // answered, or the name has no record of that type
	denied                 // no such name, and nobody else is asked
)

// resolve decides on a question. The owner is the zone whose SOA record goes with a negative answer.
func (v *View) resolve(q dns.Question) (rrs []dns.RR, owner string, _ verdict) {
	name := dns.CanonicalName(q.Name)
	if e := v.names[name]; e != nil {
		return v.records(e, name, q.Qtype), e.zone, exists
	}
	if strings.HasSuffix(name, reverseZone) {
		return v.resolveReverse(name, q.Qtype)
	}
	labels := dns.SplitDomainName(name)
	switch {
	case len(labels) == 0:
		return nil, "", forward
	case name == v.domain && len(labels) == 1:
		return nil, name, exists // our environments are below it
	case dns.IsSubDomain(v.domain, name):
		return v.resolveZone(labels)
	case len(labels) == 1:
		return nil, ".", denied
	}
	last := labels[len(labels)-1]
	if v.bare[last] || v.unqualified[labels[len(labels)-2]+"."+last+"."] {
		return nil, last + ".", denied
	}
	if v.layers[last] && (len(labels) == 2 && isNode(labels[0]) || isProtocol(labels[len(labels)-2])) {
		return nil, last + ".", denied
	}
	return nil, "", forward
}

// resolveZone decides on a name in the zone that has no entry: ours where the environment is ours.
func (v *View) resolveZone(labels []string) ([]dns.RR, string, verdict) {
	depth := len(labels) - dns.CountLabel(v.domain)
	if depth < 1 {
		return nil, "", forward
	}
	environment := labels[depth-1]
	if !v.environments[environment] {
		return nil, "", forward
	}
	return nil, environment + "." + v.domain, denied
}

// isNode says whether a label is a node's hostname.
func isNode(label string) bool {
	digits, ok := strings.CutPrefix(label, "node")
	if !ok {
		return false
	}
	_, err := strconv.ParseUint(digits, 10, 64)
	return err == nil
}

// isProtocol says whether a label stands between a layer's name and its services'.
func isProtocol(label string) bool { return label == "_tcp" || label == "_udp" }

func (v *View) records(e *entry, name string, qtype uint16) []dns.RR {
	switch {
	case len(e.members) > 0 && (qtype == e.rrtype || qtype == dns.TypeANY):
		return e.answer()
	case qtype == dns.TypeSOA && name == e.zone:
		return []dns.RR{v.soa(e.zone)}
	}
	return nil
}

const reverseZone = ".in-addr.arpa."

// resolveReverse answers for the addresses of current nodes of this environment and denies all others of
// the pool, and the zones between them.
func (v *View) resolveReverse(name string, qtype uint16) ([]dns.RR, string, verdict) {
	prefix, whole, ok := parseReverse(name)
	if !ok || !v.owns(prefix) {
		return nil, "", forward
	}
	if rr := v.reverse[prefix.Addr()]; rr != nil && whole {
		if qtype == dns.TypePTR || qtype == dns.TypeANY {
			return []dns.RR{rr}, name, exists
		}
		return nil, name, exists
	}
	return nil, name, denied
}

func (v *View) owns(p netip.Prefix) bool {
	for _, q := range []netip.Prefix{v.pool, v.subnet} {
		if q.IsValid() && q.Bits() <= p.Bits() && q.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// parseReverse reads the addresses that a name of the reverse zone stands for: one, or a network's. Whole
// says that the name is that of one address and nothing below it.
func parseReverse(name string) (p netip.Prefix, whole, ok bool) {
	labels := strings.Split(strings.TrimSuffix(name, reverseZone), ".")
	slices.Reverse(labels)
	var b [4]byte
	n := min(len(labels), 4)
	for i, l := range labels[:n] {
		octet, err := strconv.ParseUint(l, 10, 8)
		if err != nil {
			// A label that is no octet, below those that are: it belongs to their network.
			n = i
			break
		}
		b[i] = byte(octet)
	}
	if n == 0 {
		return netip.Prefix{}, false, false
	}
	return netip.PrefixFrom(netip.AddrFrom4(b), 8*n), n == 4 && len(labels) == 4, true
}
