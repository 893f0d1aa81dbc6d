package rfc2136_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/dns/rfc2136"
	"github.com/evenkeel/evenkeel/integration/lab/nameserver"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// calls are all that a zone can be asked for.
func calls(ctx context.Context, z *rfc2136.Zone) map[string]error {
	_, err := z.Records(ctx)
	is := ours("203.0.113.1")
	is.TTL = time.Hour
	return map[string]error{
		"read":   err,
		"create": z.Create(ctx, ours("203.0.113.9")),
		"update": z.Update(ctx, ours("203.0.113.1"), is),
		"delete": z.Delete(ctx, ours("203.0.113.1")),
		"check":  z.Check(ctx),
	}
}

// TestKeysThatAreNoGood: nothing is known, nothing is changed, and it is said what to do.
func TestKeysThatAreNoGood(t *testing.T) {
	on(t, func(t *testing.T, s *nameserver.Server) {
		require.NoError(t, newZone(s, nameserver.Full).Create(t.Context(), ours("203.0.113.1")))
		before := s.Records(zoneName)
		key := rfc2136.Key{Name: nameserver.Full, Algorithm: "hmac-sha256"}
		zone := func(change func(c *rfc2136.Config), secret string) *rfc2136.Zone {
			c := rfc2136.Config{Zone: zoneName, Server: s.Address, Key: key}
			c.Key.Secret = func() (string, error) { return secret, nil }
			change(&c)
			return rfc2136.New(c)
		}
		good := s.Secrets[nameserver.Full]
		for _, tt := range []struct {
			name string
			zone *rfc2136.Zone
			says string
		}{
			{"a key that the server hasn't", zone(func(c *rfc2136.Config) { c.Key.Name = "nobody" }, good), "doesn't know the TSIG key nobody (hmac-sha256)"},
			{"another secret", zone(func(*rfc2136.Config) {}, s.Secrets[nameserver.Admin]), "isn't the server's (BADSIG): write the same in both places"},
			{"another algorithm", zone(func(c *rfc2136.Config) { c.Key.Algorithm = "hmac-sha512" }, good), "TSIG key evenkeel (hmac-sha512)"},
			{"no secret", zone(func(*rfc2136.Config) {}, "no base64!"), "isn't base64"},
			{"a clock that is behind", zone(func(c *rfc2136.Config) { c.Now = func() time.Time { return time.Now().Add(-time.Hour) } }, good), "(BADTIME): set both"},
		} {
			for call, err := range calls(t.Context(), tt.zone) {
				require.ErrorIs(t, err, fleet.ErrDenied, "%s: %s", tt.name, call)
				require.ErrorContains(t, err, tt.says, "%s: %s", tt.name, call)
				require.ErrorContains(t, err, "in the zone corp.example at "+s.Address)
				require.NotContains(t, err.Error(), good)
			}
		}
		ahead := zone(func(c *rfc2136.Config) { c.Now = func() time.Time { return time.Now().Add(time.Hour) } }, good)
		require.Regexp(t, "its clock and this machine's differ: this one's is (1h0m[0-2]|59m5[89])s ahead", ahead.Check(t.Context()).Error())
		unset := zone(func(c *rfc2136.Config) {
			c.Key.Secret = func() (string, error) { return "", errors.New("the environment has no TSIG") }
		}, "")
		require.ErrorIs(t, unset.Check(t.Context()), fleet.ErrNoSecret)
		require.EqualError(t, unset.Check(t.Context()), "checking the key in the zone corp.example at "+s.Address+": the secret of the TSIG key can't be read: the environment has no TSIG")
		require.Equal(t, before, s.Records(zoneName))
	})
}

// TestKeysThatMayNotDoAll tells which right is missing.
func TestKeysThatMayNotDoAll(t *testing.T) {
	on(t, func(t *testing.T, s *nameserver.Server) {
		require.NoError(t, newZone(s, nameserver.Full).Create(t.Context(), ours("203.0.113.1")))
		before, serial := s.Records(zoneName), s.Serial(zoneName)
		z := newZone(s, nameserver.ReadOnly)
		require.Len(t, read(t, z), 1)
		for call, err := range calls(t.Context(), z) {
			if call != "read" {
				require.ErrorIs(t, err, fleet.ErrDenied, call)
				require.ErrorContains(t, err, "the right to change the zone, its TXT records included (BIND: update-policy; Knot: an acl with action update)", call)
			}
		}
		z = newZone(s, nameserver.WriteOnly)
		_, err := z.Records(t.Context())
		for _, err := range []error{err, z.Check(t.Context())} {
			require.ErrorIs(t, err, fleet.ErrDenied)
			require.ErrorContains(t, err, "the right to transfer the zone (BIND: allow-transfer; Knot: an acl with action transfer)")
		}
		require.NoError(t, newZone(s, nameserver.Full).Check(t.Context()))
		require.Equal(t, before, s.Records(zoneName))
		require.Equal(t, serial, s.Serial(zoneName), "a check changes nothing")
	})
}

func TestAZoneThatIsNotThere(t *testing.T) {
	on(t, func(t *testing.T, s *nameserver.Server) {
		z := rfc2136.New(rfc2136.Config{
			Zone: "other.example", Server: s.Address,
			Key: rfc2136.Key{Name: nameserver.Full, Algorithm: "hmac-sha256", Secret: func() (string, error) { return s.Secrets[nameserver.Full], nil }},
		})
		r := ours("203.0.113.1")
		r.Name = "www.other.example"
		_, err := z.Records(t.Context())
		for _, err := range []error{err, z.Create(t.Context(), r), z.Delete(t.Context(), r), z.Check(t.Context())} {
			require.ErrorIs(t, err, fleet.ErrNotFound)
			require.NotErrorIs(t, err, fleet.ErrDenied)
			require.ErrorContains(t, err, "other.example")
		}
	})
}

func TestAlgorithms(t *testing.T) {
	on(t, func(t *testing.T, s *nameserver.Server) {
		for _, algorithm := range nameserver.Algorithms {
			z := rfc2136.New(rfc2136.Config{
				Zone: zoneName, Server: s.Address,
				Key: rfc2136.Key{Name: algorithm, Algorithm: algorithm, Secret: func() (string, error) { return s.Secrets[algorithm], nil }},
			})
			require.NoError(t, z.Check(t.Context()), algorithm)
			require.NoError(t, z.Create(t.Context(), ours("203.0.113.1")), algorithm)
			require.NoError(t, z.Delete(t.Context(), ours("203.0.113.1")), algorithm)
		}
	})
}
