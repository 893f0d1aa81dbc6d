package memory_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names/conformance"
	"github.com/evenkeel/evenkeel/reconciler/names/memory"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T, test func(t *testing.T, s conformance.Site)) {
		z := memory.New("example.com")
		test(t, conformance.Site{Provider: z, Zone: "example.com", Proxies: true, Foreign: func(t *testing.T, r fleet.DNSRecord) { require.NoError(t, z.Put(r)) }})
	})
}

func TestWhatExcludesOneAnother(t *testing.T) {
	record := func(name, kind, content string) fleet.DNSRecord {
		return fleet.DNSRecord{Name: name, Type: kind, Content: content, Owner: "production/shop"}
	}
	for _, test := range []struct {
		name          string
		first, second fleet.DNSRecord
		refused       bool
	}{
		{"an address beside an alias", record("www.example.com", "CNAME", "x"), record("www.example.com", "A", "203.0.113.1"), true},
		{"an alias beside an address", record("www.example.com", "A", "203.0.113.1"), record("www.example.com", "CNAME", "x"), true},
		{"two aliases", record("www.example.com", "CNAME", "x"), record("www.example.com", "CNAME", "y"), true},
		{"an address in a delegated name", record("www.example.com", "NS", "x"), record("www.example.com", "A", "203.0.113.1"), true},
		{"an address of the zone itself", record("example.com", "NS", "x"), record("example.com", "A", "203.0.113.1"), false},
		{"text beside an alias", record("www.example.com", "CNAME", "x"), record("www.example.com", "TXT", "x"), false},
		{"two addresses", record("www.example.com", "A", "203.0.113.1"), record("www.example.com", "A", "203.0.113.2"), false},
		{"another name", record("www.example.com", "CNAME", "x"), record("api.example.com", "A", "203.0.113.2"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			z := memory.New("example.com")
			require.NoError(t, z.Create(t.Context(), test.first))
			err := z.Create(t.Context(), test.second)
			if test.refused {
				require.ErrorIs(t, err, fleet.ErrConflict)
			} else {
				require.NoError(t, err)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	z := memory.New("example.com")
	r := fleet.DNSRecord{Name: "www.example.com", Type: fleet.TypeA, Content: "203.0.113.1", Owner: "production/shop"}
	require.NoError(t, z.Create(t.Context(), r))
	records, err := z.Records(t.Context())
	require.NoError(t, err)
	lost := errors.New("lost")
	var calls []string
	z.Fail(func(call string) error { calls = append(calls, call); return lost })
	_, err = z.Records(t.Context())
	require.ErrorIs(t, err, lost)
	require.ErrorIs(t, z.Create(t.Context(), r), lost)
	require.ErrorIs(t, z.Update(t.Context(), records[0], r), lost)
	require.ErrorIs(t, z.Delete(t.Context(), records[0]), lost)
	require.Equal(t, []string{"read", "create", "update", "delete"}, calls)
	z.Fail(nil)
	after, err := z.Records(t.Context())
	require.NoError(t, err)
	require.Equal(t, records, after)
	z.Take(func(fleet.DNSRecord) bool { return true })
	after, err = z.Records(t.Context())
	require.NoError(t, err)
	require.Empty(t, after)
}
