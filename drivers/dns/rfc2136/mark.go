package rfc2136

import (
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

const (
	// markLabel is where marks are, below the names of the records that they are for.
	markLabel = "_evenkeel."
	// markTTL is what marks have that are alone there; nobody but evenkeel looks them up, and at the server itself.
	markTTL = 300
	// longestString is what fits into one string of a TXT record.
	longestString = 255
)

// mark is a TXT record that says whose a record is: one string is fleet.DNSMark, and what follows is the record.
//
//	_evenkeel.www.example.com. TXT "evenkeel:production/shop" "A 203.0.113.7"
//
// Without the record it stands for nothing.
type mark struct {
	name          string // of the record
	kind, content string
	owner         string
	rr            dns.RR
}

// kinds are the types of records that can be ours.
var kinds = []string{fleet.TypeA, fleet.TypeAAAA, fleet.TypeCNAME, fleet.TypeSRV}

func parseMark(rr dns.RR) (mark, bool) {
	text, ok := rr.(*dns.TXT)
	if !ok || len(text.Txt) < 2 {
		return mark{}, false
	}
	name, ok := strings.CutPrefix(plain(text.Hdr.Name), markLabel)
	m := mark{name: name, owner: fleet.ParseDNSMark(text.Txt[0]), rr: rr}
	if !ok || m.owner == "" {
		return mark{}, false
	}
	m.kind, m.content, ok = strings.Cut(strings.Join(text.Txt[1:], ""), " ")
	return m, ok && slices.Contains(kinds, m.kind)
}

// newMark is what says that a record belongs to its owner.
func newMark(r fleet.DNSRecord, ttl uint32) dns.RR {
	texts := []string{fleet.DNSMark(r.Owner)}
	for rest := r.Type + " " + r.Content; rest != ""; {
		n := min(len(rest), longestString)
		texts, rest = append(texts, rest[:n]), rest[n:]
	}
	return &dns.TXT{Hdr: header(markLabel+r.Name, dns.TypeTXT, ttl), Txt: texts}
}

func (m mark) is(kind, content string) bool { return m.kind == kind && m.content == content }

// marks are those of one name.
type marks []mark

// owner is whose a record is; empty: nobody's, or that of several, and then it isn't known whose.
func (all marks) owner(kind, content string) string {
	owner := ""
	for _, m := range all {
		if !m.is(kind, content) {
			continue
		}
		if owner != "" {
			return ""
		}
		owner = m.owner
	}
	return owner
}
