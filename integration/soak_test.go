//go:build soak

package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

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

// TestSoakKilledAnywhere kills `apply` at seeded moments of rollouts under load. The next pass ends in the wanted state, without a
// leftover, and two of three nodes serve throughout. EVENKEEL_SEED runs the moments of an earlier run again.
func TestSoakKilledAnywhere(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("EVENKEEL_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("EVENKEEL_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	const policy = "delay: 0s, minHealthy: 500ms, drainTimeout: 5s"
	h := lab.Host(2)
	s := newSite(t, h)
	s.environment("shop", webAndClient(1, "", policy))
	s.apply()
	for version := 2; version <= 26; version++ {
		s.environment("shop", webAndClient(version, "", policy))
		least := s.fewest(h, "web")
		moment := time.Duration(random.IntN(9000)) * time.Millisecond
		first := s.command(t.Context(), "apply")
		select {
		case <-first.done:
		case <-time.After(moment): // what is tested, not a wait for something
			first.kill()
		}
		eventually(t, patience, func() error {
			if o := s.evenkeel("apply"); o.code != 0 {
				return fmt.Errorf("killed after %s: %s", moment, o)
			}
			return nil
		})
		require.GreaterOrEqual(t, least(), 2, "killed after %s", moment)
		web := 0
		for _, in := range s.observe(h).Instances {
			if in.Layer == "web" {
				web++
			}
		}
		require.Equal(t, 3, web, "a container was left over after a kill at %s", moment)
		require.Equal(t, 3, layer(t, s.status(), "shop", "web").Serving, "killed after %s", moment)
	}
}
