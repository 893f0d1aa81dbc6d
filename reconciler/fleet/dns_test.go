package fleet_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func TestOwnersOfRecords(t *testing.T) {
	require.Equal(t, "evenkeel:production/shop", fleet.DNSMark(fleet.DNSOwner("production", "shop")))
	require.Equal(t, "production", fleet.DNSOwnerFleet(fleet.DNSOwner("production", "shop")))

	longest := strings.Repeat("f", 40)
	fits := strings.Repeat("e", 50)
	require.Len(t, fleet.DNSMark(fleet.DNSOwner(longest, fits)), 100)
	require.True(t, strings.HasSuffix(fleet.DNSOwner(longest, fits), fits), "what fits is written as it is")
	require.Contains(t, fleet.DNSOwner(longest, fits+"e"), longest+"/~", "a hash can't be taken for a name")
	require.NotEqual(t, fleet.DNSOwner(longest, fits+"ea"), fleet.DNSOwner(longest, fits+"eb"))
}

func TestEveryMarkIsShortAndReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?`).Draw(t, "fleet")
		environment := rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?`).Draw(t, "environment")
		owner := fleet.DNSOwner(name, environment)
		require.LessOrEqual(t, len(fleet.DNSMark(owner)), 100)
		require.Equal(t, owner, fleet.ParseDNSMark(fleet.DNSMark(owner)))
		require.Equal(t, name, fleet.DNSOwnerFleet(owner))
	})
}

func TestWhatIsNoMarkIsNobodys(t *testing.T) {
	for _, comment := range []string{
		"", "evenkeel", "evenkeel:", "evenkeel:production", "evenkeel:production/", "evenkeel:/shop", "Evenkeel:production/shop",
		"evenkeel:production/shop, keep this", "evenkeel:production/shop/web", " evenkeel:production/shop", "evenkeel:production/~~x",
	} {
		require.Empty(t, fleet.ParseDNSMark(comment), "%q", comment)
	}
}
