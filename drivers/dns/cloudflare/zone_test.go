package cloudflare_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/dns/cloudflare"
	emulator "github.com/evenkeel/evenkeel/integration/lab/cloudflare"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names/conformance"
)

const zoneName = "example.com"

// ours is a record as evenkeel asks for it.
func ours(content string) fleet.DNSRecord {
	return fleet.DNSRecord{Name: "www.example.com", Type: fleet.TypeA, Content: content, TTL: time.Minute, Owner: "production/shop"}
}

func newZone(t *testing.T, transport http.RoundTripper) *cloudflare.Zone {
	z, err := cloudflare.New(cloudflare.Config{
		Zone: zoneName, Token: func() (string, error) { return emulator.Token + "\n", nil },
		BaseURL: "https://cloudflare.test" + emulator.BasePath, Transport: transport,
	})
	require.NoError(t, err)
	return z
}

// inTime runs a test in a time of its own, with a server that has the zone.
func inTime(t *testing.T, test func(t *testing.T, s *emulator.Server, z *cloudflare.Zone)) {
	synctest.Test(t, func(t *testing.T) {
		s := emulator.New()
		s.AddZone(zoneName)
		test(t, s, newZone(t, s))
	})
}

// add adds a record to the zone as somebody else does.
func add(s *emulator.Server, r fleet.DNSRecord) {
	ttl := 1
	if r.TTL != 0 {
		ttl = int(r.TTL / time.Second)
	}
	var comment *string
	if r.Owner != "" {
		mark := fleet.DNSMark(r.Owner)
		comment = &mark
	}
	s.Add(zoneName, emulator.Record{Type: r.Type, Name: r.Name, Content: r.Content, TTL: ttl, Comment: comment, Proxied: r.Proxied})
}

func read(t *testing.T, z *cloudflare.Zone) []fleet.DNSRecord {
	t.Helper()
	records, err := z.Records(t.Context())
	require.NoError(t, err)
	return records
}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T, test func(t *testing.T, s conformance.Site)) {
		inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
			test(t, conformance.Site{Provider: z, Zone: zoneName, Proxies: true, Foreign: func(_ *testing.T, r fleet.DNSRecord) { add(s, r) }})
		})
	})
}

// TestOverANetwork: as in all others, but for real.
func TestOverANetwork(t *testing.T) {
	s := emulator.New()
	s.AddZone(zoneName)
	h := httptest.NewServer(s)
	defer h.Close()
	z, err := cloudflare.New(cloudflare.Config{Zone: zoneName, Token: func() (string, error) { return emulator.Token, nil }, BaseURL: h.URL + emulator.BasePath})
	require.NoError(t, err)
	s.Inject(emulator.Fault{Method: http.MethodPost, Times: 1, Done: true})
	require.NoError(t, z.Create(t.Context(), ours("203.0.113.1")))
	require.Len(t, read(t, z), 1)
	require.Equal(t, 1, s.Count(http.MethodPost))
}

func TestPages(t *testing.T) {
	inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
		for i := range 500 {
			add(s, fleet.DNSRecord{Type: "TXT", Name: "www", Content: fmt.Sprint(i)})
		}
		require.Len(t, read(t, z), 500)
		require.Equal(t, 2, s.Count(""), "the zone is looked up once, and 500 records are a page")
		require.Len(t, read(t, z), 500)
		require.Equal(t, 3, s.Count(""))
	})
}

func TestAServerWithSmallerPages(t *testing.T) {
	inTime(t, func(t *testing.T, s *emulator.Server, _ *cloudflare.Zone) {
		s.SetPage(100)
		for i := range 250 {
			add(s, fleet.DNSRecord{Type: "TXT", Name: "www", Content: fmt.Sprint(i)})
		}
		z := newZone(t, s)
		require.Len(t, read(t, z), 250)
		require.Equal(t, 1+3, s.Count(""))
	})
}

// TestAPartialListIsNoList: what changes while it is read is read again, and what isn't whole is an error.
func TestAPartialListIsNoList(t *testing.T) {
	inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
		s.SetPage(100)
		for i := range 150 {
			add(s, fleet.DNSRecord{Type: "TXT", Name: "www", Content: fmt.Sprint(i)})
		}
		removals := 0
		s.Hook(func(r *http.Request) {
			if r.URL.Query().Get("page") == "2" && removals < 1 {
				removals++
				s.Remove(zoneName, s.Records(zoneName)[0].ID) // what was 101st is on the first page now
			}
		})
		var want, got []string
		for _, r := range read(t, z) {
			got = append(got, r.ID)
		}
		for _, r := range s.Records(zoneName) {
			want = append(want, r.ID)
		}
		require.Equal(t, want, got)
		removals = -10
		_, err := z.Records(t.Context())
		require.ErrorIs(t, err, fleet.ErrUnreachable)
		require.ErrorContains(t, err, "changes while it is read")
	})
	for _, answer := range []string{
		`{"success":false,"result":null}`,
		`{"success":true,"result":[],"result_info":{"page":1,"per_page":5000,"count":0,"total_count":5,"total_pages":1}}`,
	} {
		inTime(t, func(t *testing.T, s *emulator.Server, _ *cloudflare.Zone) {
			z := newZone(t, roundTripper(func(r *http.Request) (*http.Response, error) {
				if !strings.HasSuffix(r.URL.Path, "/dns_records") {
					return s.RoundTrip(r)
				}
				return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(answer))}, nil
			}))
			_, err := z.Records(t.Context())
			require.ErrorIs(t, err, fleet.ErrUnreachable)
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestWhoseARecordIs(t *testing.T) {
	inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
		for i, comment := range []string{"evenkeel:production/shop", "evenkeel:production/shop!", "Evenkeel:production/shop", ""} {
			s.Add(zoneName, emulator.Record{Type: "A", Name: "www", Content: fmt.Sprintf("203.0.113.%d", i), TTL: 1, Comment: &comment})
		}
		var owners []string
		for _, r := range read(t, z) {
			owners = append(owners, r.Owner)
		}
		require.Equal(t, []string{"production/shop", "", "", ""}, owners)
		require.NoError(t, z.Create(t.Context(), fleet.DNSRecord{Name: "x.example.com", Type: fleet.TypeA, Content: "203.0.113.1",
			Owner: fleet.DNSOwner(strings.Repeat("f", 40), strings.Repeat("e", 63))}), "a long one fits")
	})
}

func TestTags(t *testing.T) {
	inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
		add(s, ours("203.0.113.1"))
		s.SetTags(20)
		id := s.Records(zoneName)[0].ID
		s.Change(zoneName, id, func(r *emulator.Record) { r.Tags = []string{"team:shop"} })
		was := read(t, z)[0]
		is := was
		is.TTL = time.Hour
		require.NoError(t, z.Update(t.Context(), was, is))
		require.Equal(t, []string{"team:shop"}, s.Records(zoneName)[0].Tags)
		require.Equal(t, 3600, s.Records(zoneName)[0].TTL)
	})
}

func TestTheToken(t *testing.T) {
	inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
		require.NoError(t, z.Check(t.Context()))
		other := strings.Repeat("n", 40)
		s.SetToken(other)
		for _, err := range []error{z.Check(t.Context()), z.Create(t.Context(), ours("203.0.113.1"))} {
			require.ErrorIs(t, err, fleet.ErrDenied)
			require.ErrorContains(t, err, "Cloudflare refuses the token: Invalid access token (9109): give it Zone Read and DNS Edit for this zone")
		}
		_, err := z.Records(t.Context())
		require.ErrorIs(t, err, fleet.ErrDenied)
		require.NotContains(t, err.Error(), emulator.Token)

		token, problem := other, error(nil)
		z, err = cloudflare.New(cloudflare.Config{Zone: zoneName, Transport: s, Token: func() (string, error) { return token, problem }})
		require.NoError(t, err)
		require.NoError(t, z.Check(t.Context()), "a new one is taken up")
		s.SetReadOnly(true)
		require.ErrorIs(t, z.Create(t.Context(), ours("203.0.113.1")), fleet.ErrDenied)
		err = z.Check(t.Context())
		require.ErrorIs(t, err, fleet.ErrDenied)
		require.ErrorContains(t, err, "it may read the records, and not edit them")
		token = "short"
		require.ErrorIs(t, z.Check(t.Context()), fleet.ErrDenied)
		problem = errors.New("the environment has no CLOUDFLARE_API_TOKEN")
		s.Forget()
		_, err = z.Records(t.Context())
		require.ErrorIs(t, err, fleet.ErrDenied)
		require.EqualError(t, err, "reading the records in the zone "+zoneName+" at Cloudflare: the API token can't be read: the environment has no CLOUDFLARE_API_TOKEN")
		require.ErrorIs(t, err, fleet.ErrNoSecret)
		require.ErrorIs(t, z.Create(t.Context(), ours("203.0.113.1")), fleet.ErrDenied)
		require.Zero(t, s.Count(""), "nobody refused anything")
	})
}

func TestTheZoneIsLookedUp(t *testing.T) {
	inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
		require.Empty(t, read(t, z))
		s.RemoveZone(zoneName)
		_, err := z.Records(t.Context())
		require.ErrorIs(t, err, fleet.ErrNotFound)
		_, err = z.Records(t.Context())
		require.ErrorIs(t, err, fleet.ErrDenied)
		require.ErrorContains(t, err, "it may not see the zone, or there is none of that name")
		s.AddZone(zoneName)
		require.Empty(t, read(t, z), "a zone that was made anew has another ID")
		s.AddZone(zoneName)
		_, err = newZone(t, s).Records(t.Context())
		require.ErrorContains(t, err, "2 zones of that name")
	})
}

// TestWhatCloudflareRefuses comes back with its own words.
func TestWhatCloudflareRefuses(t *testing.T) {
	inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
		r := ours("203.0.113.1")
		r.TTL = 30 * time.Second
		require.EqualError(t, z.Create(t.Context(), r),
			"creating www.example.com A 203.0.113.1 in the zone example.com at Cloudflare: TTL must be between 60 and 86400 seconds, or 1 for Automatic. (9021)")
		add(s, fleet.DNSRecord{Type: fleet.TypeCNAME, Name: "www", Content: "x.example.net"})
		require.ErrorIs(t, z.Create(t.Context(), ours("203.0.113.1")), fleet.ErrConflict)
		for _, content := range []string{"1 2 x", "1 2 x y", "1 2 70000 y"} {
			r = fleet.DNSRecord{Name: "_x._tcp.example.com", Type: fleet.TypeSRV, Content: content, Owner: "production/shop"}
			require.ErrorContains(t, z.Create(t.Context(), r), "is no priority, weight, port and target")
		}
		require.Len(t, s.Records(zoneName), 1)
	})
}

// TestWhatCloudflareMakesOtherwiseIsSaid: each pass would change it again.
func TestWhatCloudflareMakesOtherwiseIsSaid(t *testing.T) {
	inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
		r := ours("203.0.113.1")
		r.Proxied = true // and a TTL, which proxied ones haven't got
		require.ErrorContains(t, z.Create(t.Context(), r), "has made something else of it: www.example.com A 203.0.113.1 with ttl 0s, proxied true")
		was := read(t, z)[0]
		is := was
		is.Name = "WWW.example.com"
		require.ErrorContains(t, z.Update(t.Context(), was, is), "has made something else of it")
	})
}

func TestCallsEnd(t *testing.T) {
	inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
		s.Inject(emulator.Fault{Hang: true})
		began := time.Now()
		_, err := z.Records(t.Context())
		require.ErrorIs(t, err, fleet.ErrUnreachable)
		require.ErrorContains(t, err, "no answer within 10s")
		require.Equal(t, 33*time.Second, time.Since(began), "three attempts, with a second and two between them")

		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began = time.Now()
		_, err = z.Records(ctx)
		require.ErrorIs(t, err, fleet.ErrUnreachable)
		require.Equal(t, 5*time.Second, time.Since(began))
	})
}
