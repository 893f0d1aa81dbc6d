package rfc2136

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// plain is a name in the form in which names are compared.
func plain(name string) string {
	if name == "." {
		return name
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

func header(name string, kind uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: dns.Fqdn(name), Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
}

// fromRR is a record in the form in which records are compared, without its owner.
func fromRR(rr dns.RR) fleet.DNSRecord {
	h := rr.Header()
	r := fleet.DNSRecord{
		Name: plain(h.Name), Type: dns.TypeToString[h.Rrtype], Content: content(rr), TTL: time.Duration(h.Ttl) * time.Second,
	}
	if r.Type == "" {
		r.Type = fmt.Sprintf("TYPE%d", h.Rrtype)
	}
	r.ID = r.String()
	if r.Type == fleet.TypeCNAME {
		r.ID = r.Name + " " + r.Type // a name has one, which changes in place
	}
	return r
}

// content is what a record says.
func content(rr dns.RR) string {
	switch rr := rr.(type) {
	case *dns.A:
		if a, ok := netip.AddrFromSlice(rr.A); ok {
			return a.Unmap().String()
		}
	case *dns.AAAA:
		if a, ok := netip.AddrFromSlice(rr.AAAA); ok {
			return a.String()
		}
	case *dns.CNAME:
		return plain(rr.Target)
	case *dns.SRV:
		return fmt.Sprintf("%d %d %d %s", rr.Priority, rr.Weight, rr.Port, plain(rr.Target))
	}
	if unknown, ok := rr.(*dns.RFC3597); ok { // its text has another header
		return fmt.Sprintf(`\# %d %s`, len(unknown.Rdata)/2, unknown.Rdata)
	}
	return strings.TrimPrefix(rr.String(), rr.Header().String())
}

// toRR is a record as the server is told of it.
func toRR(r fleet.DNSRecord, ttl uint32) (dns.RR, error) {
	h := header(r.Name, dns.StringToType[r.Type], ttl)
	a, err := netip.ParseAddr(r.Content)
	switch r.Type {
	case fleet.TypeA:
		if err == nil && a.Is4() {
			return &dns.A{Hdr: h, A: net.IP(a.AsSlice())}, nil
		}
	case fleet.TypeAAAA:
		if err == nil && a.Is6() && a.Zone() == "" {
			return &dns.AAAA{Hdr: h, AAAA: net.IP(a.AsSlice())}, nil
		}
	case fleet.TypeCNAME:
		if isName(r.Content) {
			return &dns.CNAME{Hdr: h, Target: dns.Fqdn(r.Content)}, nil
		}
	case fleet.TypeSRV:
		return toSRV(r, h)
	}
	return nil, fmt.Errorf("%q is nothing that an %s record of evenkeel's can say", r.Content, r.Type)
}

func toSRV(r fleet.DNSRecord, h dns.RR_Header) (dns.RR, error) {
	fields := strings.Fields(r.Content)
	var numbers [3]uint16
	ok := len(fields) == 4 && isName(fields[3])
	for i := 0; ok && i < len(numbers); i++ {
		n, err := strconv.ParseUint(fields[i], 10, 16)
		numbers[i], ok = uint16(n), err == nil
	}
	if !ok {
		return nil, fmt.Errorf("%q is no priority, weight, port and target", r.Content)
	}
	return &dns.SRV{Hdr: h, Priority: numbers[0], Weight: numbers[1], Port: numbers[2], Target: dns.Fqdn(fields[3])}, nil
}

func isName(s string) bool {
	_, ok := dns.IsDomainName(s)
	return ok && s != ""
}

// sameName says whether a record is under a name.
func sameName(rr dns.RR, name string) bool { return plain(rr.Header().Name) == name }
