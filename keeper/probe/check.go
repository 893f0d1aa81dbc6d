package probe

import (
	"context"
	"errors"
	"hash/fnv"
	"net/netip"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// How often an instance is asked that isn't healthy: often while a gate may wait for it, then less.
const (
	eagerInterval   = 250 * time.Millisecond
	patientAfter    = time.Minute
	patientInterval = time.Second
	unattachedWait  = 100 * time.Millisecond
	maxLast         = 256 // bytes of what a failed probe said
)

// checkID is what makes one check another: its results don't count for any other.
type checkID struct {
	fleet.Probe
	address, source netip.Addr
	name            string
}

// check runs one probe of one instance. Its state is guarded by the prober's lock.
type check struct {
	id       checkID
	prober   *Prober
	instance *instance
	target   Target
	cancel   context.CancelFunc
	wake     chan struct{}
	known    time.Time

	decided  bool
	healthy  bool
	failures int // in a row
	since    time.Time
	asked    int
	settled  bool // in its place within the interval
}

// kick lets a check look again at how long it has to wait.
func (c *check) kick() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *check) run(ctx context.Context) {
	for ctx.Err() == nil {
		started := time.Now()
		if !c.once(ctx) {
			return
		}
		c.sleep(ctx, started)
	}
}

// once asks, and says whether to go on.
func (c *check) once(ctx context.Context) bool {
	select {
	case c.prober.slots <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	timed, cancel := context.WithTimeout(ctx, c.id.Timeout)
	err := c.prober.ask(timed, &c.target, &c.id.Probe)
	cancel()
	<-c.prober.slots
	if ctx.Err() != nil {
		return false
	}
	c.note(ctx, err)
	return true
}

// note takes a probe's outcome in.
func (c *check) note(ctx context.Context, err error) {
	p := c.prober
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil { // dropped meanwhile: it is nobody's result
		return
	}
	if errors.Is(err, ErrUnattached) {
		c.asked = 0
		return
	}
	now := time.Now()
	c.asked++
	was := c.healthy
	if err == nil {
		c.decided, c.healthy, c.failures = true, true, 0
	} else {
		c.failures++
		c.instance.last = shorten(err.Error())
		if !c.healthy || c.instance.eager || c.failures >= max(1, c.id.Retries) {
			c.decided, c.healthy = true, false
		}
	}
	if was != c.healthy || c.since.IsZero() {
		c.since = now
	}
	before := p.seq
	c.instance.evaluate(now, &p.seq)
	if p.seq != before {
		p.announce()
	}
}

// sleep waits until the next probe is due, counted from the start of the last one, so that slow answers
// don't stretch the interval.
func (c *check) sleep(ctx context.Context, started time.Time) {
	for {
		timer := time.NewTimer(time.Until(started.Add(c.wait())))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			return
		case <-c.wake:
			timer.Stop()
		}
	}
}

func (c *check) wait() time.Duration {
	p := c.prober
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case c.asked == 0:
		return unattachedWait
	case !c.healthy && time.Since(later(c.since, c.known.Add(c.id.StartPeriod))) > patientAfter:
		return min(c.id.Interval, patientInterval)
	case !c.healthy || c.instance.eager:
		return min(c.id.Interval, eagerInterval)
	case !c.settled:
		c.settled = true
		return c.spread()
	}
	return c.id.Interval
}

// spread is how long after it was found healthy an instance is asked again, and then at its interval:
// the same for each life of an instance, another for each instance.
func (c *check) spread() time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(c.target.Instance))
	return c.id.Interval/2 + time.Duration(h.Sum64()%uint64(max(2, c.id.Interval)/2))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// shorten keeps what a node sent from filling the keeper's state.
func shorten(text string) string {
	if len(text) > maxLast {
		text = text[:maxLast] + "…"
	}
	return strings.ToValidUTF8(text, "")
}
