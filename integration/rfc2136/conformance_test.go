package rfc2136_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/dns/rfc2136"
	"github.com/evenkeel/evenkeel/integration/lab/nameserver"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names/conformance"
)

const zoneName = "corp.example"

// on runs a test at a server of each kind.
func on(t *testing.T, test func(t *testing.T, s *nameserver.Server)) {
	for _, kind := range nameserver.Kinds {
		t.Run(kind.Name, func(t *testing.T) { test(t, nameserver.Start(t, kind, zoneName)) })
	}
}

func newZone(s *nameserver.Server, key string) *rfc2136.Zone { return zoneAt(s, key, s.Address) }

func zoneAt(s *nameserver.Server, key, address string) *rfc2136.Zone {
	return rfc2136.New(rfc2136.Config{
		Zone: zoneName, Server: address,
		Key: rfc2136.Key{Name: key, Algorithm: "hmac-sha256", Secret: func() (string, error) { return s.Secrets[key] + "\n", nil }},
	})
}

// put adds a record as somebody else does, with the mark of its owner where it has one.
func put(s *nameserver.Server, r fleet.DNSRecord) {
	content := r.Content
	switch r.Type {
	case fleet.TypeCNAME, fleet.TypeSRV:
		content += "."
	case "TXT":
		content = fmt.Sprintf("%q", content)
	}
	lines := []string{fmt.Sprintf("%s. %d IN %s %s", r.Name, int(r.TTL/time.Second), r.Type, content)}
	if r.Owner != "" {
		lines = append(lines, fmt.Sprintf("_evenkeel.%s. 300 IN TXT %q %q", r.Name, fleet.DNSMark(r.Owner), r.Type+" "+r.Content))
	}
	s.Change(zoneName, lines...)
}

func TestConformance(t *testing.T) {
	for _, kind := range nameserver.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			conformance.Run(t, func(t *testing.T, test func(t *testing.T, s conformance.Site)) {
				s := nameserver.Start(t, kind, zoneName)
				test(t, conformance.Site{Provider: newZone(s, nameserver.Full), Zone: zoneName, SharedTTL: true, Foreign: func(_ *testing.T, r fleet.DNSRecord) { put(s, r) }})
			})
		})
	}
}

// ours is a record as evenkeel asks for it.
func ours(content string) fleet.DNSRecord {
	return fleet.DNSRecord{Name: "www." + zoneName, Type: fleet.TypeA, Content: content, TTL: time.Minute, Owner: "production/shop"}
}

func read(t *testing.T, z *rfc2136.Zone) []fleet.DNSRecord {
	t.Helper()
	records, err := z.Records(t.Context())
	require.NoError(t, err)
	return records
}
