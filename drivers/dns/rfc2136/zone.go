// Package rfc2136 reads and changes the records of a zone at its own server: by transfers (RFC 5936) and dynamic updates
// (RFC 2136), all signed with a key (TSIG, RFC 8945) and over TCP.
//
// DNS has no room for a comment: whose a record is says a TXT record beside it (see mark), which comes and goes in the
// same message as the record. What is changed was read before, and the server changes it only if it is still like that;
// a message whose answer was lost is never simply sent again: what became of it is looked up.
package rfc2136

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

const (
	// messageTime is how long the server may take to answer, and callTime how long all of a call may take.
	messageTime = 10 * time.Second
	callTime    = time.Minute
)

// Config says which zone, where, and with what right.
type Config struct {
	Zone   string // example.com
	Server string // host:port of the zone's primary server; without a port: 53
	Key    Key
	// Called is told of each message that was answered or given up: QUERY, AXFR or UPDATE, and what came of it: the
	// code of the answer, timeout, or error; nil: nobody is.
	Called func(method, outcome string, took time.Duration)
	Now    func() time.Time // nil: time.Now; signatures hold only near the server's
}

// Key is a TSIG key.
type Key struct {
	Name      string
	Algorithm string                 // hmac-sha224, hmac-sha256, hmac-sha384 or hmac-sha512
	Secret    func() (string, error) // base64; asked before each call, so that a new one is taken up
}

// Zone is a zone at a server. It is safe for concurrent use.
type Zone struct {
	name   string // as in Config
	server string
	key    Key
	called func(method, outcome string, took time.Duration)
	now    func() time.Time
}

// New returns a zone; nothing is asked yet.
func New(c Config) *Zone {
	z := &Zone{name: c.Zone, server: c.Server, key: c.Key, called: c.Called, now: c.Now}
	if _, _, err := net.SplitHostPort(c.Server); err != nil {
		z.server = net.JoinHostPort(strings.Trim(c.Server, "[]"), "53")
	}
	if z.called == nil {
		z.called = func(string, string, time.Duration) {}
	}
	if z.now == nil {
		z.now = time.Now
	}
	return z
}

// Current: what is read is never older than the last change, since the server that takes the changes is asked.
func (z *Zone) Current() bool { return true }

// Records returns all records of the zone, evenkeel's and others', without what is the zone's own: its SOA and NS, its
// signatures, and the marks that say whose a record is. A list that isn't known to be whole is an error.
func (z *Zone) Records(ctx context.Context) ([]fleet.DNSRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	records, err := z.records(ctx)
	if err != nil {
		return nil, z.failed("reading the records", err)
	}
	return records, nil
}

func (z *Zone) records(ctx context.Context) ([]fleet.DNSRecord, error) {
	s, err := z.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer s.close()
	all, err := s.transfer()
	if err != nil {
		return nil, err
	}
	return z.listed(all), nil
}

// listed are the records that a zone is made of, for people and comparisons.
func (z *Zone) listed(all []dns.RR) []fleet.DNSRecord {
	marks := map[string]marks{}
	var shown []dns.RR
	for _, rr := range all {
		if m, ok := parseMark(rr); ok {
			marks[m.name] = append(marks[m.name], m)
		} else if !z.hidden(rr) {
			shown = append(shown, rr)
		}
	}
	records := make([]fleet.DNSRecord, len(shown))
	for i, rr := range shown {
		r := fromRR(rr)
		r.Owner = marks[r.Name].owner(r.Type, r.Content)
		records[i] = r
	}
	return records
}

// typeSigning is what BIND notes in the zone of how far it is with signing it.
const typeSigning = 65534

// hidden says whether a record is the zone's own.
func (z *Zone) hidden(rr dns.RR) bool {
	switch h := rr.Header(); h.Rrtype {
	case dns.TypeSOA, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, typeSigning:
		return true
	case dns.TypeNS:
		return plain(h.Name) == z.name
	}
	return false
}

// Check says whether the key is good for the zone, without changing anything: the zone is read, and a record asked to be
// removed that isn't there. Whether a key may do that is found out before.
func (z *Zone) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := z.check(ctx); err != nil {
		return z.failed("checking the key", err)
	}
	return nil
}

func (z *Zone) check(ctx context.Context) error {
	records, err := z.records(ctx)
	if err != nil {
		return err
	}
	s, err := z.dial(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	_, err = s.exchange(z.harmless(records))
	if isMoved(err) {
		return nil // somebody has a record of that name: the server has looked
	}
	return err
}

// harmless is an update that changes nothing, under the mark of a record of ours, where there is one: a key's right may
// end at a part of the zone.
func (z *Zone) harmless(records []fleet.DNSRecord) *dns.Msg {
	at := z.name
	for i := range records {
		if records[i].Owner != "" {
			at = records[i].Name
			break
		}
	}
	m := z.update()
	m.Remove([]dns.RR{&dns.TXT{Hdr: header(markLabel+at, dns.TypeTXT, 0), Txt: []string{"is this key allowed to change the zone?"}}})
	return m
}

// update is an update of the zone that asks for nothing yet.
func (z *Zone) update() *dns.Msg {
	m := new(dns.Msg)
	m.SetUpdate(dns.Fqdn(z.name))
	return m
}
