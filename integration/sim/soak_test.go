//go:build soak

package sim

import "testing"

// TestSoakSeeds makes more runs than TestSeeds, of which the first are the same; -seeds says how many.
func TestSoakSeeds(t *testing.T) { runSeeds(t, 10_000) }
