//go:build soak

package integration

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSoakRollouts changes three nodes again and again under load; not one request may be lost.
func TestSoakRollouts(t *testing.T) {
	t.Parallel()
	const policy = "delay: 0s, minHealthy: 500ms, drainTimeout: 5s"
	h := lab.Host(1)
	s := newSite(t, h)
	s.environment("shop", webAndClient(1, "", policy))
	s.apply()
	for version := 2; version <= 12; version++ {
		s.environment("shop", webAndClient(version, "", policy))
		s.apply()
		r := s.asked(h)
		require.Zero(t, r.Failed, "version %d: %v", version, r.Errors)
	}
	t.Logf("%d requests, 0 failed", s.asked(h).Requests)
}

// TestSoakKilledAnywhere is TestKilledAnywhere at 50 moments.
func TestSoakKilledAnywhere(t *testing.T) {
	t.Parallel()
	killedAnywhere(t, 50, newSite(t, lab.Hosts()...), nil)
}

// TestSoakKilledWithExternalNames does it to nodes with a name at Cloudflare, by which clients find their published
// ports: each leaves it before it is touched, and is back in it in the end.
func TestSoakKilledWithExternalNames(t *testing.T) {
	t.Parallel()
	s, p := newProvided(t)
	killedAnywhere(t, 8, s, p)
}

// TestSoakFaultsOneByOne are the faults that TestFaultsDuringOperations leaves out.
func TestSoakFaultsOneByOne(t *testing.T) {
	t.Parallel()
	for _, f := range allFaults() {
		if !f.everyTime {
			t.Run(f.name, func(t *testing.T) { during(t, f) })
		}
	}
}
