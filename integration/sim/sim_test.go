package sim

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "the only seed to run, with its trace")
	seedsFlag = flag.Int("seeds", 0, "how many seeds to run; 0: as many as the test wants")
	fromFlag  = flag.Uint64("from", 1, "the first seed")
)

// runSeed makes the run of a seed in a bubble of its own.
func runSeed(t *testing.T, seed uint64) (o Outcome) {
	t.Helper()
	synctest.Test(t, func(*testing.T) { o = Run(seed) })
	return o
}

func checkSeed(t *testing.T, seed uint64) {
	o := runSeed(t, seed)
	if *seedFlag != 0 {
		t.Logf("%s in its own time, %d changes\n%s", o.Took, o.Writes, o.Trace)
	}
	if len(o.Broken) > 0 {
		name := fmt.Sprintf("%s/evenkeel-sim-%d.trace", os.TempDir(), seed)
		require.NoError(t, os.WriteFile(name, []byte(o.Trace), 0o600))
		t.Errorf("seed %d: %s\nthe whole trace is in %s; run it again:\n\tgo test ./integration/sim -run 'TestSeeds$' -seed %d -v",
			seed, strings.Join(o.Broken, "\n"), name, seed)
	}
}

// TestSeeds makes runs in which commits come at any moment, evenkeel is killed at any moment, and hosts, keepers,
// nodes, calls and events fail as they please. At each moment the rules hold; once nothing goes wrong any more the
// fleet becomes what is wanted, and a further pass changes nothing.
func TestSeeds(t *testing.T) {
	n := 200
	if raced {
		n = 20 // which takes ten times as long each
	}
	runSeeds(t, n)
}

func runSeeds(t *testing.T, n int) {
	if *seedFlag != 0 {
		checkSeed(t, *seedFlag)
		return
	}
	if *seedsFlag > 0 {
		n = *seedsFlag
	}
	for i := range n {
		seed := *fromFlag + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			checkSeed(t, seed)
		})
	}
}
