package probe

import (
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// instance is what is known of one start of one container. Its fields are guarded by the prober's lock.
type instance struct {
	id      string
	known   time.Time
	eager   bool // not to be found anyway: asked often, and one failure counts
	checks  map[checkID]*check
	answers *atomic.Bool // healthy by its own probes, for lookups

	decided bool // every probe has said something
	healthy bool
	pending bool // one that was added since has not
	since   time.Time
	last    string // what the last failed probe said
	seq     uint64 // of the last change
}

// evaluate takes together what the checks say, and counts a change.
func (in *instance) evaluate(now time.Time, seq *uint64) {
	answers, healthy, decided := true, true, true
	for cid, c := range in.checks {
		if !c.decided {
			decided = false
		}
		if !c.healthy {
			healthy = false
			answers = answers && cid.Gate
		}
	}
	in.answers.Store(answers)
	if !decided && !in.decided {
		return
	}
	if !decided {
		healthy = false // a probe was added: what was known doesn't say enough any more
	}
	if in.decided && healthy == in.healthy && decided != in.pending {
		return
	}
	if !in.decided || healthy != in.healthy {
		in.since = in.changedAt(healthy, now)
	}
	in.decided, in.healthy, in.pending = true, healthy, !decided
	*seq++
	in.seq = *seq
}

// changedAt is since when the state counts: for an instance without probes since it is known, for one that
// was never healthy since its start period was over.
func (in *instance) changedAt(healthy bool, now time.Time) time.Time {
	if healthy && len(in.checks) == 0 && !in.decided {
		return in.known
	}
	if healthy || in.decided {
		return now
	}
	var start time.Duration
	for cid := range in.checks {
		start = max(start, cid.StartPeriod)
	}
	return in.known.Add(start)
}

func (in *instance) result(now time.Time) fleet.ProbeResult {
	return fleet.ProbeResult{Instance: in.id, Healthy: in.healthy, For: max(0, now.Sub(in.since)), Pending: in.pending, Last: in.last}
}

func (in *instance) stop() {
	for _, c := range in.checks {
		c.cancel()
	}
}
