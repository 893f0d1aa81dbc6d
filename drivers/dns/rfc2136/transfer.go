package rfc2136

import (
	"errors"

	"github.com/miekg/dns"
)

var (
	errNoZone  = errors.New("what it sends isn't the zone")
	errMixed   = errors.New("the zone it sends begins and ends with different versions")
	errTooMuch = errors.New("it sends more than the zone")
)

// transfer reads the whole zone, without its SOA. The server is to send it between two copies of that, each message
// signed: what is cut anywhere is an error.
func (s *session) transfer() ([]dns.RR, error) {
	m := new(dns.Msg)
	m.SetAxfr(dns.Fqdn(s.zone.name))
	begun := s.zone.now()
	records, err := s.receiveZone(m)
	s.zone.called(methodOf(m), outcome(err), s.zone.now().Sub(begun))
	return records, err
}

func (s *session) receiveZone(m *dns.Msg) ([]dns.RR, error) {
	answer, mac, err := s.ask(m)
	var t transferred
	for err == nil {
		if err := t.take(s.zone.name, answer.Answer); err != nil {
			return nil, &silentError{err: err, unclear: "the transfer isn't whole"}
		}
		if t.done {
			return t.records, nil
		}
		answer, mac, err = s.receive(m, mac, true)
	}
	return nil, err
}

// transferred is what has come of a zone.
type transferred struct {
	version *dns.SOA
	records []dns.RR
	done    bool
}

func (t *transferred) take(zone string, all []dns.RR) error {
	for _, rr := range all {
		version, is := rr.(*dns.SOA)
		switch {
		case t.done:
			return errTooMuch
		case t.version == nil && (!is || !sameName(rr, zone)):
			return errNoZone
		case t.version == nil:
			t.version = version
		case !is:
			t.records = append(t.records, rr)
		case version.Serial != t.version.Serial:
			return errMixed
		default:
			t.done = true
		}
	}
	if t.version == nil {
		return errNoZone
	}
	return nil
}
