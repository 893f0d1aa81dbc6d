// Package conformance is what every DNS provider has to do alike, the real ones and those that stand in for them in
// tests.
package conformance

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
)

// Provider is what the suite asks of a zone at a DNS provider.
type Provider interface {
	Records(ctx context.Context) ([]fleet.DNSRecord, error)
	Create(ctx context.Context, r fleet.DNSRecord) error
	Update(ctx context.Context, was, is fleet.DNSRecord) error
	Delete(ctx context.Context, was fleet.DNSRecord) error
}

// Site is an empty zone with what the suite may use on it.
type Site struct {
	Provider Provider
	Zone     string
	// Foreign makes a record as somebody else does, with the owner in it where there is one.
	Foreign func(t *testing.T, r fleet.DNSRecord)
	// Proxies says whether the provider knows proxied records, and an automatic TTL.
	Proxies bool
	// SharedTTL: all records of a name and type have one TTL, as in DNS itself. It is that of others' records, where
	// there are any among them.
	SharedTTL bool
}

// Run runs the suite. Each of its tests is handed over to be run on a site of its own, in whatever time and place.
func Run(t *testing.T, on func(t *testing.T, test func(t *testing.T, s Site))) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s *site)
	}{
		{"an empty zone is empty", empty},
		{"a record is read back as it was asked for", readBack},
		{"a proxied record is read back as it was asked for", proxied},
		{"a create whose reply was lost is finished", createTwice},
		{"a record that is there otherwise becomes the wanted one", adopted},
		{"an identical foreign record is a conflict", identical},
		{"nobody's record is never made", nobodys},
		{"a record is changed", updated},
		{"what is gone already is done", goneIsDone},
		{"what isn't there can't be changed", notFound},
		{"nothing foreign is changed", foreign},
		{"others' records keep their TTL", beside},
		{"what has become somebody else's is left alone", seized},
		{"what names decide leaves nothing to do", asDecided},
	} {
		t.Run(test.name, func(t *testing.T) {
			on(t, func(t *testing.T, s Site) { test.run(t, &site{s}) })
		})
	}
}

const owner = "production/shop"

type site struct{ Site }

func (s *site) name(label string) string { return label + "." + s.Zone }

// a is an address of www, ours.
func (s *site) a(content string) fleet.DNSRecord {
	return fleet.DNSRecord{Name: s.name("www"), Type: fleet.TypeA, Content: content, TTL: 2 * time.Minute, Owner: owner}
}

// records are the zone's, sorted.
func (s *site) records(t *testing.T) []fleet.DNSRecord {
	t.Helper()
	records, err := s.Provider.Records(t.Context())
	require.NoError(t, err)
	slices.SortFunc(records, func(a, b fleet.DNSRecord) int { return slices.Compare(key(a), key(b)) })
	return records
}

func key(r fleet.DNSRecord) []string { return []string{r.Name, r.Type, r.Content} }

// holds requires that the zone holds just these, but for their IDs.
func (s *site) holds(t *testing.T, want ...fleet.DNSRecord) {
	t.Helper()
	records := s.records(t)
	for i := range records {
		require.NotEmpty(t, records[i].ID)
		records[i].ID = ""
	}
	require.ElementsMatch(t, want, records)
}

func (s *site) create(t *testing.T, r fleet.DNSRecord) {
	t.Helper()
	require.NoError(t, s.Provider.Create(t.Context(), r))
}

func empty(t *testing.T, s *site) { require.Empty(t, s.records(t)) }

func readBack(t *testing.T, s *site) {
	want := []fleet.DNSRecord{
		s.a("203.0.113.1"),
		s.a("203.0.113.2"),
		{Name: s.name("www"), Type: fleet.TypeAAAA, Content: "2001:db8::1", TTL: 2 * time.Minute, Owner: owner},
		{Name: s.Zone, Type: fleet.TypeA, Content: "203.0.113.1", TTL: time.Hour, Owner: "production/blog"},
		{Name: s.name("*.apps"), Type: fleet.TypeCNAME, Content: "hn1.example.net", TTL: time.Minute, Owner: owner},
		{Name: s.name("_http._tcp"), Type: fleet.TypeSRV, Content: "1 10 8080 hn1.example.net", TTL: time.Minute, Owner: owner},
	}
	for _, r := range want {
		s.create(t, r)
	}
	s.holds(t, want...)
}

func proxied(t *testing.T, s *site) {
	if !s.Proxies {
		return
	}
	want := []fleet.DNSRecord{
		{Name: s.name("www"), Type: fleet.TypeA, Content: "203.0.113.1", Proxied: true, Owner: owner},
		{Name: s.name("auto"), Type: fleet.TypeA, Content: "203.0.113.1", Owner: owner},
		{Name: s.name("alias"), Type: fleet.TypeCNAME, Content: "hn1.example.net", Proxied: true, Owner: owner},
	}
	for _, r := range want {
		s.create(t, r)
	}
	s.holds(t, want...)
}

func createTwice(t *testing.T, s *site) {
	s.create(t, s.a("203.0.113.1"))
	s.create(t, s.a("203.0.113.1"))
	s.holds(t, s.a("203.0.113.1"))
}

func adopted(t *testing.T, s *site) {
	before := s.a("203.0.113.1")
	before.TTL, before.Owner = time.Hour, "production/blog"
	s.create(t, before)
	s.create(t, s.a("203.0.113.1"))
	s.holds(t, s.a("203.0.113.1"))
}

func identical(t *testing.T, s *site) {
	for content, of := range map[string]string{"203.0.113.1": "", "203.0.113.2": "other/shop"} {
		r := s.a(content)
		theirs := r
		theirs.Owner, theirs.TTL = of, time.Hour
		s.Foreign(t, theirs)
		before := s.records(t)
		require.ErrorIs(t, s.Provider.Create(t.Context(), r), fleet.ErrConflict)
		require.Equal(t, before, s.records(t))
	}
}

func nobodys(t *testing.T, s *site) {
	r := s.a("203.0.113.1")
	r.Owner = ""
	require.Error(t, s.Provider.Create(t.Context(), r))
	require.Empty(t, s.records(t))
}

func updated(t *testing.T, s *site) {
	s.create(t, s.a("203.0.113.1"))
	s.create(t, s.a("203.0.113.2"))
	is := s.a("203.0.113.1")
	is.TTL, is.Owner = time.Hour, "production/blog"
	was := s.records(t)[0]
	is.ID = was.ID
	require.NoError(t, s.Provider.Update(t.Context(), was, is))
	is.ID = ""
	other := s.a("203.0.113.2")
	if s.SharedTTL {
		other.TTL = is.TTL
	}
	s.holds(t, is, other)

	alias := fleet.DNSRecord{Name: s.name("alias"), Type: fleet.TypeCNAME, Content: "hn1.example.net", TTL: time.Minute, Owner: owner}
	s.create(t, alias)
	was = s.records(t)[0]
	require.Equal(t, alias.Name, was.Name)
	to := was
	to.Content = "hn2.example.net"
	require.NoError(t, s.Provider.Update(t.Context(), was, to))
	to.ID = ""
	s.holds(t, to, is, other)
}

func goneIsDone(t *testing.T, s *site) {
	s.create(t, s.a("203.0.113.1"))
	s.create(t, s.a("203.0.113.2"))
	was := s.records(t)[0]
	require.NoError(t, s.Provider.Delete(t.Context(), was))
	s.holds(t, s.a("203.0.113.2"))
	require.NoError(t, s.Provider.Delete(t.Context(), was))
	s.holds(t, s.a("203.0.113.2"))
}

func notFound(t *testing.T, s *site) {
	s.create(t, s.a("203.0.113.1"))
	was := s.records(t)[0]
	require.NoError(t, s.Provider.Delete(t.Context(), was))
	is := was
	is.TTL = time.Hour
	require.ErrorIs(t, s.Provider.Update(t.Context(), was, is), fleet.ErrNotFound)
	require.Empty(t, s.records(t))
}

func foreign(t *testing.T, s *site) {
	theirs := s.a("203.0.113.1")
	theirs.Owner = ""
	s.Foreign(t, theirs)
	text := fleet.DNSRecord{Name: s.name("www"), Type: "TXT", Content: "v=spf1 -all", TTL: time.Hour}
	s.Foreign(t, text)
	before := s.records(t)
	for _, was := range before {
		for _, claimed := range []string{"", owner} {
			was.Owner = claimed
			is := was
			is.TTL, is.Owner = time.Minute, owner
			require.ErrorIs(t, s.Provider.Update(t.Context(), was, is), fleet.ErrConflict)
			require.ErrorIs(t, s.Provider.Delete(t.Context(), was), fleet.ErrConflict)
		}
	}
	require.Equal(t, before, s.records(t))
}

// beside: a record comes, changes and goes beside others'.
func beside(t *testing.T, s *site) {
	var theirs []fleet.DNSRecord
	for content, of := range map[string]string{"203.0.113.8": "other/shop", "203.0.113.9": ""} {
		r := s.a(content)
		r.TTL, r.Owner = time.Hour, of
		s.Foreign(t, r)
		theirs = append(theirs, r)
	}
	done := func(ours fleet.DNSRecord, err error) {
		t.Helper()
		if s.SharedTTL {
			require.ErrorIs(t, err, fleet.ErrAltered)
			ours.TTL = time.Hour
		} else {
			require.NoError(t, err)
		}
		s.holds(t, append(slices.Clone(theirs), ours)...)
	}
	done(s.a("203.0.113.1"), s.Provider.Create(t.Context(), s.a("203.0.113.1")))
	was := s.records(t)[0]
	is := was
	is.TTL, is.Owner = 30*time.Minute, "production/blog"
	err := s.Provider.Update(t.Context(), was, is)
	is.ID = ""
	done(is, err)
	require.NoError(t, s.Provider.Delete(t.Context(), s.records(t)[0]))
	s.holds(t, theirs...)
}

// seized: what was read as ours a while ago belongs to another environment now.
func seized(t *testing.T, s *site) {
	s.create(t, s.a("203.0.113.1"))
	was := s.records(t)[0]
	now := was
	now.Owner = "other/shop"
	require.NoError(t, s.Provider.Update(t.Context(), was, now))
	is := was
	is.TTL = time.Hour
	require.ErrorIs(t, s.Provider.Update(t.Context(), was, is), fleet.ErrConflict)
	require.ErrorIs(t, s.Provider.Delete(t.Context(), was), fleet.ErrConflict)
	now.ID = ""
	s.holds(t, now)
}

// asDecided: three steps of a name's life, each carried out as names says, and each leaving nothing to do.
func asDecided(t *testing.T, s *site) {
	beside := s.a("203.0.113.9")
	beside.Owner = ""
	s.Foreign(t, beside)
	node := func(n int, out bool, address string) names.Target {
		return names.Target{
			Node: fleet.NodeID{Environment: "shop", Layer: "web", Node: n}, Out: out,
			Data: []names.Data{{Type: fleet.TypeA, Content: address}},
		}
	}
	for _, step := range []struct {
		targets []names.Target
		want    []fleet.DNSRecord
	}{
		{[]names.Target{node(1, false, "203.0.113.1"), node(2, false, "203.0.113.2")}, []fleet.DNSRecord{s.a("203.0.113.1"), s.a("203.0.113.2"), beside}},
		{[]names.Target{node(1, false, "203.0.113.1"), node(2, true, "203.0.113.2")}, []fleet.DNSRecord{s.a("203.0.113.1"), beside}},
		{[]names.Target{node(1, false, "203.0.113.3"), node(2, false, "203.0.113.2")}, []fleet.DNSRecord{s.a("203.0.113.2"), s.a("203.0.113.3"), beside}},
		{nil, []fleet.DNSRecord{beside}},
	} {
		var wanted []names.Name
		if step.targets != nil {
			wanted = []names.Name{{Environment: "shop", Name: s.name("www"), TTL: 2 * time.Minute, Targets: step.targets}}
		}
		zone := func() names.Zone { return names.Zone{Fleet: "production", Name: s.Zone, Records: s.records(t)} }
		for _, c := range names.Compute(zone(), wanted).Changes {
			require.NoError(t, carryOut(t.Context(), s.Provider, c))
		}
		s.holds(t, step.want...)
		require.Empty(t, names.Compute(zone(), wanted).Changes)
	}
}

func carryOut(ctx context.Context, p Provider, c names.Change) error {
	switch c.Operation {
	case names.Create:
		return p.Create(ctx, c.Record)
	case names.Update:
		return p.Update(ctx, c.Was, c.Record)
	}
	return p.Delete(ctx, c.Was)
}
