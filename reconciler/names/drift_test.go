package names_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
)

// TestWhatOthersHaveChanged goes through who changed what of a name that leads to two nodes and was last made to say so.
func TestWhatOthersHaveChanged(t *testing.T) {
	shop := func(n int) fleet.DNSRecord {
		content := "203.0.113." + string(rune('0'+n))
		return fleet.DNSRecord{
			ID: content, Name: "shop.example.com", Type: fleet.TypeA, Content: content, TTL: time.Minute,
			Owner: fleet.DNSOwner("production", "shop"),
		}
	}
	lasting := func(r fleet.DNSRecord) fleet.DNSRecord {
		r.TTL = time.Hour
		return r
	}
	target := func(n int, out bool) names.Target {
		return names.Target{Node: web(n), Out: out, Data: []names.Data{{Type: "A", Content: shop(n).Content}}}
	}
	both := fleet.SaidDigest([]fleet.DNSRecord{shop(1), shop(2)})
	wanted := func(targets ...names.Target) []names.Name {
		return []names.Name{{Environment: "shop", Name: "shop.example.com", TTL: time.Minute, Targets: targets}}
	}
	all := wanted(target(1, false), target(2, false))
	tests := []struct {
		name           string
		records        []fleet.DNSRecord
		said           map[string]string
		wanted         []names.Name
		drift, changes int
		reportedOnly   int // changes that are still made where others' are only reported
		then           string
	}{
		{"nothing", []fleet.DNSRecord{shop(1), shop(2)}, map[string]string{"shop.example.com": both}, all, 0, 0, 0, both},
		{"a record was removed", []fleet.DNSRecord{shop(1)}, map[string]string{"shop.example.com": both}, all, 1, 1, 0, both},
		{"a record was added", []fleet.DNSRecord{shop(1), shop(2), shop(9)}, map[string]string{"shop.example.com": both}, all, 1, 1, 0, both},
		{"a record was changed", []fleet.DNSRecord{shop(1), lasting(shop(2))}, map[string]string{"shop.example.com": both}, all, 1, 1, 0, both},
		{"a node left", []fleet.DNSRecord{shop(1), shop(2)}, map[string]string{"shop.example.com": both}, wanted(target(1, false), target(2, true)), 0, 1, 1, both},
		{"a node left, and a record was changed", []fleet.DNSRecord{lasting(shop(1)), shop(2)}, map[string]string{"shop.example.com": both}, wanted(target(1, false), target(2, true)), 2, 2, 2, both},
		{"a crash while it was being changed", []fleet.DNSRecord{shop(1)}, map[string]string{}, all, 0, 1, 1, ""},
		{"nobody knows", []fleet.DNSRecord{shop(1)}, nil, all, 0, 1, 1, ""},
		{"a commit takes the name away", []fleet.DNSRecord{shop(1), shop(2)}, map[string]string{"shop.example.com": both}, nil, 0, 2, 2, both},
		{"the name was taken away", nil, map[string]string{"shop.example.com": both}, nil, 0, 0, 0, ""},
		{"it was not known, and is right", []fleet.DNSRecord{shop(1), shop(2)}, map[string]string{}, all, 0, 0, 0, both},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			z := names.Zone{Fleet: "production", Name: "example.com", Records: tc.records, Said: tc.said}
			r := names.Compute(z, tc.wanted)
			require.Len(t, r.Drift, tc.drift)
			require.Len(t, r.Changes, tc.changes)
			require.Equal(t, tc.then, r.Said["shop.example.com"])
			z.ReportOnly = true
			r = names.Compute(z, tc.wanted)
			require.Len(t, r.Drift, tc.drift)
			require.Len(t, r.Changes, tc.reportedOnly)
		})
	}
}
