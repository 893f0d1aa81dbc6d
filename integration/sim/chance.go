package sim

import (
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"
)

// chance draws what happens by chance from a seed and from what it is about.
type chance struct{ seed uint64 }

// of gives the numbers for one matter. Asked for the same matter again it gives the same ones again.
func (c chance) of(matter ...string) *rand.Rand {
	h := fnv.New64a()
	for _, m := range matter {
		_, _ = h.Write([]byte(m))
		_, _ = h.Write([]byte{0})
	}
	return rand.New(rand.NewPCG(c.seed, h.Sum64()))
}

// nth numbers the occurrences of a matter. The world's lock is held.
func (w *World) nth(matter string) string {
	w.counts[matter]++
	return strconv.Itoa(w.counts[matter])
}

// between draws a time from a range, to the nanosecond: two matters hardly ever fall onto the same moment, so
// that what goes on side by side has an order that doesn't hang on the scheduler.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	if most <= least {
		return least
	}
	return least + time.Duration(r.Int64N(int64(most-least)))
}

// oneIn says yes once in n times; n of 0: never.
func oneIn(r *rand.Rand, n int) bool { return n > 0 && r.IntN(n) == 0 }
