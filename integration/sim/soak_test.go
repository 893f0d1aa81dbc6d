//go:build soak

package sim

import "testing"

// TestSoakSeeds makes more runs than TestSeeds, of which the first are the same. Ten thousand are meant to pass here;
// of those beyond these, about one in two thousand still finds something: `-seeds 10000` runs them all.
func TestSoakSeeds(t *testing.T) { runSeeds(t, 600) }
