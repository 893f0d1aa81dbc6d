package reconciler

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/drift"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// How much drift that is over a running controller goes on telling of.
const (
	keepEnded = time.Hour
	mostEnded = 100
)

// Drift reads the fleet once and says what no commit explains. It changes nothing.
func (c *Controller) Drift(ctx context.Context) (drift.Report, error) {
	if _, err := c.Fetch(ctx); err != nil {
		return drift.Report{}, err
	}
	c.glances.Store(true)
	ctx, end := c.aside(ctx)
	defer end()
	c.lookAtAll(ctx)
	c.openGone(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { c.readFiles(ctx) })
	wg.Go(func() { c.readTags(ctx, anyWay, tagPatience) })
	wg.Wait()
	_, in := c.input()
	return c.scoped(driftOf(in)), ctx.Err()
}

func driftOf(in plan.Input) drift.Report {
	return drift.Compute(drift.Input{
		Revision: in.Revision, Desired: in.Desired, Observed: in.Observed, Now: time.Now(), Tags: in.Tags,
		Zones: in.Zones, Said: in.Said, Out: in.Out,
	})
}

func (c *Controller) scoped(r drift.Report) drift.Report {
	if e := c.opts.Only; e != "" {
		return r.Only(e)
	}
	return r
}

// CurrentDrift is the newest report of a run, with what is over. Before the first pass, and while another
// controller holds the lease, nothing is known.
func (c *Controller) CurrentDrift() drift.Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drifting == nil || c.waiting != "" || c.drifting.number == 0 {
		why := c.waiting
		if why == "" {
			why = "no pass has been made yet"
		}
		return drift.Report{Revision: c.revision, Time: time.Now(), Drift: []drift.Finding{}, Unknown: []string{why}}
	}
	return c.drifting.report
}

// drifting is what a run remembers of drift.
type drifting struct {
	report drift.Report
	number int // of the input that it was computed from
}

// noteDrift takes the drift of an input in. What workers have at hand is not as it will be: nothing new is
// found of a node that one was changing, or had changed, when the input was gathered; what was found before
// stays until it is over.
func (c *Controller) noteDrift(number int, in plan.Input, busy map[fleet.NodeID]bool) {
	c.mu.Lock()
	follows := c.drifting != nil
	c.mu.Unlock()
	if !follows {
		return
	}
	for id := range c.nodesAtHand() {
		busy[id] = true
	}
	r := c.scoped(driftOf(in))
	untaken := c.untaken()
	c.mu.Lock()
	defer c.mu.Unlock()
	if number <= c.drifting.number {
		return
	}
	known := map[string]bool{}
	for i := range c.drifting.report.Drift {
		known[c.drifting.report.Drift[i].Key()] = true
	}
	r.Drift = slices.DeleteFunc(r.Drift, func(f drift.Finding) bool {
		ended, changed := c.ended[f.ID.LayerID()]
		ours := busy[f.ID] || changed && number <= ended || f.What == drift.Keeper && untaken[f.Host]
		return ours && !known[f.Key()]
	})
	c.drifting.report = r.After(c.drifting.report, keepEnded, mostEnded)
	c.drifting.number = number
}

// noteLoss takes in what was last read of a host whose keeper is about to be started or made anew, since no pass may
// see it as it is. One that has never been ours is only just being made.
func (c *Controller) noteLoss(h *host) {
	h.mu.Lock()
	ours := h.taken
	h.mu.Unlock()
	c.mu.Lock()
	follows := c.drifting != nil
	c.mu.Unlock()
	if !ours || !follows {
		return
	}
	busy := c.nodesAtHand()
	number, in := c.input()
	c.noteDrift(number, in, busy)
}

// nodesAtHand are the nodes that workers are changing.
func (c *Controller) nodesAtHand() map[fleet.NodeID]bool {
	busy := map[fleet.NodeID]bool{}
	for _, w := range c.allWorkers() {
		for _, n := range w.AtHand() {
			busy[n] = true
		}
	}
	return busy
}

// untaken are the hosts whose keepers have never been ours: they are only just being made.
func (c *Controller) untaken() map[string]bool {
	names := map[string]bool{}
	for _, h := range c.allHosts() {
		h.mu.Lock()
		if !h.taken {
			names[h.name] = true
		}
		h.mu.Unlock()
	}
	return names
}
