package rfc2136_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/nameserver"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// others are the lines of a zone that aren't marks, and not the zone's own NS.
func others(s *nameserver.Server) []string {
	return slices.DeleteFunc(s.Records(zoneName), func(line string) bool {
		return strings.HasPrefix(line, "_evenkeel.") || strings.HasPrefix(line, zoneName+". 3600 IN NS")
	})
}

func TestWhatIsListed(t *testing.T) {
	on(t, func(t *testing.T, s *nameserver.Server) {
		s.Change(zoneName,
			"@ MX 10 mail.example.net.", `@ TXT "v=spf1 -all" "b"`, "sub NS ns1.example.net.", "WwW 60 A 203.0.113.1", "www AAAA 2001:DB8:0::1",
			"_http._tcp SRV 1 2 80 WWW", "alias CNAME www", `@ CAA 0 issue "ca.example.net"`, "root SRV 0 0 0 .", `odd TYPE65280 \# 2 abcd`,
			`_evenkeel.www TXT "evenkeel:production/shop" "A 203.0.113.1"`,
			`_evenkeel.www TXT "evenkeel:production/shop" "A 203.0.113.7"`, // its record is gone
			`_evenkeel.www TXT "evenkeel:production/shop" "MX 10 mail"`, `_evenkeel.www TXT "somebody's"`,
			// Two that don't agree say nothing.
			`_evenkeel.www TXT "evenkeel:production/shop" "AAAA 2001:db8::1"`, `_evenkeel.www TXT "evenkeel:other/shop" "AAAA 2001:db8::1"`,
		)
		var lines []string
		for _, r := range read(t, newZone(s, nameserver.Full)) {
			lines = append(lines, strings.TrimSpace(r.String()+" "+r.TTL.String()+" "+r.Owner))
			require.NotEmpty(t, r.ID)
		}
		slices.Sort(lines)
		require.Equal(t, []string{
			`_evenkeel.www.corp.example TXT "evenkeel:production/shop" "MX 10 mail" 1h0m0s`,
			`_evenkeel.www.corp.example TXT "somebody's" 1h0m0s`,
			"_http._tcp.corp.example SRV 1 2 80 www.corp.example 1h0m0s",
			"alias.corp.example CNAME www.corp.example 1h0m0s",
			`corp.example CAA 0 issue "ca.example.net" 1h0m0s`,
			"corp.example MX 10 mail.example.net. 1h0m0s",
			`corp.example TXT "v=spf1 -all" "b" 1h0m0s`,
			`odd.corp.example TYPE65280 \# 2 abcd 1h0m0s`,
			"root.corp.example SRV 0 0 0 . 1h0m0s",
			"sub.corp.example NS ns1.example.net. 1h0m0s",
			"www.corp.example A 203.0.113.1 1m0s production/shop",
			"www.corp.example AAAA 2001:db8::1 1h0m0s",
		}, lines)
	})
}

// TestOneTTLForAll: where all records of a name and type are the fleet's, they change together.
func TestOneTTLForAll(t *testing.T) {
	on(t, func(t *testing.T, s *nameserver.Server) {
		z := newZone(s, nameserver.Full)
		first, second := ours("203.0.113.1"), ours("203.0.113.2")
		second.Owner, second.TTL = "production/blog", time.Hour
		require.NoError(t, z.Create(t.Context(), first))
		require.NoError(t, z.Create(t.Context(), second))
		require.Equal(t, []string{"www.corp.example. 3600 IN A 203.0.113.1", "www.corp.example. 3600 IN A 203.0.113.2"}, others(s))
		serial := s.Serial(zoneName)
		first.TTL = time.Hour
		require.NoError(t, z.Update(t.Context(), first, first), "it is so by now")
		require.Equal(t, serial, s.Serial(zoneName))

		s.Change(zoneName, "www 3600 IN A 203.0.113.9")
		is := second
		is.TTL = time.Minute
		require.ErrorIs(t, z.Update(t.Context(), second, is), fleet.ErrAltered)
		require.Equal(t, serial+1, s.Serial(zoneName), "nothing was changed")
		s.Change(zoneName, "-www A 203.0.113.9")
		require.NoError(t, z.Update(t.Context(), second, is))
		require.Equal(t, []string{"www.corp.example. 60 IN A 203.0.113.1", "www.corp.example. 60 IN A 203.0.113.2"}, others(s))
	})
}

// TestAliasesAndOtherRecords exclude each other, and a server that is asked for both says nothing.
func TestAliasesAndOtherRecords(t *testing.T) {
	on(t, func(t *testing.T, s *nameserver.Server) {
		z := newZone(s, nameserver.Full)
		alias := ours("hn1.example.net")
		alias.Type = fleet.TypeCNAME
		for _, tt := range []struct{ there, says string }{
			{"www CNAME elsewhere.example.net.", "CNAME elsewhere.example.net is there, which isn't evenkeel's"},
			{`www TXT "x"`, "there are other records under the name, which leave no room for an alias"},
			{"www A 198.51.100.1", "leave no room for an alias"},
		} {
			s.Change(zoneName, tt.there)
			before := s.Records(zoneName)
			err := z.Create(t.Context(), alias)
			require.ErrorIs(t, err, fleet.ErrConflict)
			require.ErrorContains(t, err, tt.says)
			if strings.Contains(tt.there, "CNAME") {
				require.ErrorIs(t, z.Create(t.Context(), ours("203.0.113.1")), fleet.ErrConflict)
			}
			require.Equal(t, before, s.Records(zoneName))
			s.Change(zoneName, "-"+tt.there)
		}
		require.NoError(t, z.Create(t.Context(), alias))
		require.ErrorContains(t, z.Create(t.Context(), ours("203.0.113.1")), "CNAME hn1.example.net is there, which belongs to production/shop")
		require.NoError(t, z.Delete(t.Context(), alias))
		require.NoError(t, z.Create(t.Context(), ours("203.0.113.1")))

		s.Change(zoneName, "_evenkeel.marked CNAME elsewhere.example.net.")
		r := ours("203.0.113.1")
		r.Name = "marked." + zoneName
		require.ErrorContains(t, z.Create(t.Context(), r), "_evenkeel.marked.corp.example is an alias")
		r.Name = zoneName
		require.NoError(t, z.Create(t.Context(), r))
		alias.Name = zoneName
		require.ErrorIs(t, z.Create(t.Context(), alias), fleet.ErrConflict)
	})
}

// TestBesideAWildcard: what a server makes up for a name from a wildcard isn't under that name.
func TestBesideAWildcard(t *testing.T) {
	for _, wildcard := range []string{"* 60 IN A 203.0.113.1", "* 60 IN CNAME elsewhere.example.net.", `* 60 IN TXT "x"`} {
		on(t, func(t *testing.T, s *nameserver.Server) {
			s.Change(zoneName, wildcard)
			z := newZone(s, nameserver.Full)
			r := ours("203.0.113.1")
			require.NoError(t, z.Delete(t.Context(), r), "there is none")
			require.ErrorIs(t, z.Update(t.Context(), r, r), fleet.ErrNotFound)
			require.NoError(t, z.Create(t.Context(), r))
			require.Contains(t, others(s), "www.corp.example. 60 IN A 203.0.113.1")
			s.Change(zoneName, "-www A 203.0.113.1") // its mark stays
			require.NoError(t, z.Create(t.Context(), r))
			require.Contains(t, others(s), "www.corp.example. 60 IN A 203.0.113.1")
			alias := r
			alias.Name, alias.Type, alias.Content = "alias."+zoneName, fleet.TypeCNAME, "hn1.example.net"
			require.NoError(t, z.Create(t.Context(), alias))
			require.NoError(t, z.Delete(t.Context(), alias))
			require.NoError(t, z.Delete(t.Context(), r))
			require.Len(t, s.Records(zoneName), 2, "the wildcard and the zone's NS")
		})
	}
}

// TestMarksWithoutRecords own nothing, and go with the next change under their name.
func TestMarksWithoutRecords(t *testing.T) {
	on(t, func(t *testing.T, s *nameserver.Server) {
		z := newZone(s, nameserver.Full)
		six := ours("2001:db8::1")
		six.Type = fleet.TypeAAAA
		for _, r := range []fleet.DNSRecord{ours("203.0.113.1"), ours("203.0.113.2"), six} {
			require.NoError(t, z.Create(t.Context(), r))
		}
		s.Change(zoneName, "-www A 203.0.113.1", "-www AAAA 2001:db8::1", `_evenkeel.www 300 TXT "somebody's"`)
		require.Len(t, read(t, z), 2)
		require.Len(t, s.Records(zoneName), 1+1+4)
		require.NoError(t, z.Create(t.Context(), ours("203.0.113.3")))
		require.Len(t, s.Records(zoneName), 1+2+3, "%v", s.Records(zoneName))
		s.Change(zoneName, "-www A 203.0.113.3")
		require.NoError(t, z.Delete(t.Context(), ours("203.0.113.3")))
		require.Len(t, s.Records(zoneName), 1+1+2, "what is gone takes its mark along")
		require.NoError(t, z.Delete(t.Context(), ours("203.0.113.2")))
		require.Equal(t, []string{`_evenkeel.www.corp.example. 300 IN TXT "somebody's"`, "corp.example. 3600 IN NS ns.example.net."}, s.Records(zoneName))
	})
}

func TestNamesThatCannotBeHad(t *testing.T) {
	on(t, func(t *testing.T, s *nameserver.Server) {
		z := newZone(s, nameserver.Full)
		s.Change(zoneName, "sub NS ns1.example.net.")
		before := s.Records(zoneName)
		for says, change := range map[string]func(r *fleet.DNSRecord){
			"sub.corp.example is delegated to other servers": func(r *fleet.DNSRecord) { r.Name = "www.sub." + zoneName },
			"outside of the zone":                            func(r *fleet.DNSRecord) { r.Name = "www.example" },
			"too long":                                       func(r *fleet.DNSRecord) { r.Name = strings.Repeat("long.", 47) + zoneName },
			"only Cloudflare knows proxied":                  func(r *fleet.DNSRecord) { r.Proxied = true },
			"a ttl of 0s can't be had":                       func(r *fleet.DNSRecord) { r.TTL = 0 },
			"can say":                                        func(r *fleet.DNSRecord) { r.Content = "hn1" },
			"no priority":                                    func(r *fleet.DNSRecord) { r.Type, r.Content = fleet.TypeSRV, "1 2 70000 y" },
			"belongs to nobody":                              func(r *fleet.DNSRecord) { r.Owner = "" },
		} {
			r := ours("203.0.113.1")
			change(&r)
			require.ErrorContains(t, z.Create(t.Context(), r), says)
		}
		require.Equal(t, before, s.Records(zoneName))
		long := ours(strings.Repeat("long.", 48) + "example.net")
		long.Type = fleet.TypeCNAME
		require.NoError(t, z.Create(t.Context(), long))
		require.Equal(t, "production/shop", read(t, z)[1].Owner)
		require.NoError(t, z.Delete(t.Context(), long))
		require.Equal(t, before, s.Records(zoneName))
	})
}

// TestASignedZone: what makes up its signatures is its own, and comes and goes with what is signed.
func TestASignedZone(t *testing.T) {
	for _, kind := range nameserver.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			s := nameserver.Start(t, kind.Signed(), zoneName)
			require.Eventually(t, func() bool {
				return strings.Contains(strings.Join(s.Records(zoneName), "\n"), "RRSIG NS ")
			}, 30*time.Second, 50*time.Millisecond)
			z := newZone(s, nameserver.Full)
			require.Empty(t, read(t, z))
			r := ours("203.0.113.1")
			require.NoError(t, z.Create(t.Context(), r))
			is := r
			is.TTL = time.Hour
			require.NoError(t, z.Update(t.Context(), r, is))
			alias := ours("hn1.example.net")
			alias.Type = fleet.TypeCNAME
			require.ErrorIs(t, z.Create(t.Context(), alias), fleet.ErrConflict)
			alias.Name = "alias." + zoneName
			require.NoError(t, z.Create(t.Context(), alias))
			to := alias
			to.Content = "hn2.example.net"
			require.NoError(t, z.Update(t.Context(), alias, to))
			longer := to
			longer.TTL = time.Hour
			require.NoError(t, z.Update(t.Context(), to, longer))
			require.Len(t, read(t, z), 2)
			require.NoError(t, z.Check(t.Context()))
			require.NoError(t, z.Delete(t.Context(), is))
			require.NoError(t, z.Delete(t.Context(), to))
			require.Empty(t, read(t, z))
		})
	}
}
