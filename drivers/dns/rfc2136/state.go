package rfc2136

import (
	"fmt"
	"slices"

	"github.com/miekg/dns"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// state is what is under a name, as far as it concerns records of one type.
type state struct {
	name, kind string
	set        []dns.RR // the records of that type
	alias      []dns.RR // what is in their way, where they are no aliases
	used       bool     // there is something under the name; only known where a wildcard might pretend it
	texts      []dns.RR // all TXT records where marks are
	textAlias  []dns.RR // what is in the way of marks
	marks      marks
	others     map[string][]dns.RR // records of the other types that marks speak of
}

// read asks the server for all that a change of records of a name and type depends on.
func (s *session) read(name, kind string) (*state, error) {
	st := &state{name: name, kind: kind, others: map[string][]dns.RR{}}
	found, err := s.there(name, dns.StringToType[kind])
	if err != nil {
		return nil, err
	}
	st.set, st.alias = split(found, kind)
	if kind == fleet.TypeCNAME && len(st.set) == 0 {
		if st.used, err = s.inUse(name); err != nil {
			return nil, err
		}
	}
	texts, err := s.there(markLabel+name, dns.TypeTXT)
	if err != nil {
		return nil, err
	}
	st.texts, st.textAlias = split(texts, "TXT")
	for _, rr := range st.texts {
		if m, ok := parseMark(rr); ok {
			st.marks = append(st.marks, m)
		}
	}
	return st, s.readOthers(st)
}

// readOthers reads the records of other types that marks speak of.
func (s *session) readOthers(st *state) error {
	for _, m := range st.marks {
		if _, known := st.others[m.kind]; known || m.kind == st.kind {
			continue
		}
		found, err := s.there(st.name, dns.StringToType[m.kind])
		if err != nil {
			return err
		}
		st.others[m.kind], _ = split(found, m.kind)
	}
	return nil
}

// there are the records under a name, without those that a wildcard makes up for it.
func (s *session) there(name string, kind uint16) ([]dns.RR, error) {
	found, err := s.query(name, kind)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	if used, err := s.inUse(name); err != nil || !used {
		return nil, err
	}
	return found, nil
}

// split tells records of a type from the alias that is there in their place.
func split(found []dns.RR, kind string) (set, alias []dns.RR) {
	for _, rr := range found {
		if dns.TypeToString[rr.Header().Rrtype] == kind {
			set = append(set, rr)
		} else {
			alias = append(alias, rr)
		}
	}
	return set, alias
}

// find finds the record that says something; nil: there is none.
func (st *state) find(what string) dns.RR {
	if i := slices.IndexFunc(st.set, func(rr dns.RR) bool { return content(rr) == what }); i >= 0 {
		return st.set[i]
	}
	return nil
}

// owner is whose a record is that is there.
func (st *state) owner(rr dns.RR) string { return st.marks.owner(st.kind, content(rr)) }

// record is one that is there.
func (st *state) record(rr dns.RR) fleet.DNSRecord {
	r := fromRR(rr)
	r.Owner = st.owner(rr)
	return r
}

// ttl is what the records of the type have; 0: there are none.
func (st *state) ttl() uint32 {
	if len(st.set) == 0 {
		return 0
	}
	return st.set[0].Header().Ttl
}

// shared says whether there are records that aren't the fleet's, one aside.
func (st *state) shared(fleetName, aside string) bool {
	return slices.ContainsFunc(st.set, func(rr dns.RR) bool {
		return content(rr) != aside && fleet.DNSOwnerFleet(st.owner(rr)) != fleetName
	})
}

// stale are the marks whose records aren't there.
func (st *state) stale() []mark {
	var stale []mark
	for _, m := range st.marks {
		set := st.others[m.kind]
		if m.kind == st.kind {
			set = st.set
		}
		if !slices.ContainsFunc(set, func(rr dns.RR) bool { return content(rr) == m.content }) {
			stale = append(stale, m)
		}
	}
	return stale
}

// room says what leaves no room for one more record.
func (st *state) room() error {
	switch {
	case len(st.alias) > 0:
		r := fromRR(st.alias[0])
		r.Owner = st.marks.owner(r.Type, r.Content)
		return &conflictError{fmt.Sprintf("%s %s is there, which %s, and an alias leaves no room for anything else: remove it, or use another name", r.Type, r.Content, whose(r))}
	case st.kind == fleet.TypeCNAME && len(st.set) > 0:
		r := st.record(st.set[0])
		return &conflictError{fmt.Sprintf("%s %s is there, which %s, and a name has one alias: remove it, or use another name", r.Type, r.Content, whose(r))}
	case st.used:
		return &conflictError{"there are other records under the name, which leave no room for an alias: remove them, or use another name"}
	case len(st.textAlias) > 0:
		return &conflictError{fmt.Sprintf("%s%s is an alias, and evenkeel writes there whose records are: remove it", markLabel, st.name)}
	}
	return nil
}

func whose(r fleet.DNSRecord) string {
	if r.Owner == "" {
		return "isn't evenkeel's"
	}
	return "belongs to " + r.Owner
}

// unchanged has an update be made only if all that was read is still so.
func (st *state) unchanged(m *dns.Msg) {
	demand(m, st.name, st.kind, st.set)
	for _, kind := range kinds { // in an order of its own
		if set, known := st.others[kind]; known {
			demand(m, st.name, kind, set)
		}
	}
	demand(m, markLabel+st.name, "TXT", st.texts)
	alias := []dns.RR{&dns.ANY{Hdr: header(st.name, dns.TypeCNAME, 0)}}
	switch _, known := st.others[fleet.TypeCNAME]; {
	case st.kind != fleet.TypeCNAME && !known && len(st.alias) == 0:
		m.RRsetNotUsed(alias) // a server ignores what would be beside one, and says that it did it
	case st.kind == fleet.TypeCNAME && len(st.set) == 0 && !st.used:
		m.NameNotUsed(alias)
	}
	if len(st.textAlias) == 0 && len(st.texts) == 0 {
		m.RRsetNotUsed([]dns.RR{&dns.ANY{Hdr: header(markLabel+st.name, dns.TypeCNAME, 0)}})
	}
}

// demand has an update be made only if just these records are there (RFC 2136, 2.4.2), or none (2.4.3).
func demand(m *dns.Msg, name, kind string, set []dns.RR) {
	if len(set) == 0 {
		m.RRsetNotUsed([]dns.RR{&dns.ANY{Hdr: header(name, dns.StringToType[kind], 0)}})
		return
	}
	m.Used(copies(set))
}

// copies are of records that a message makes others of.
func copies(set []dns.RR) []dns.RR {
	all := make([]dns.RR, len(set))
	for i, rr := range set {
		all[i] = dns.Copy(rr)
	}
	return all
}
