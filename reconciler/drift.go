package reconciler

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/drift"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
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
	ctx, end := c.aside(ctx)
	defer end()
	c.observeAll(ctx)
	c.openGone(ctx)
	_, in := c.input()
	tags, problems := c.tags(ctx, in)
	r := driftOf(in, tags)
	r.Unknown = append(r.Unknown, problems...)
	return c.scoped(r), ctx.Err()
}

func driftOf(in plan.Input, tags map[string]plan.Image) drift.Report {
	return drift.Compute(drift.Input{Revision: in.Revision, Desired: in.Desired, Observed: in.Observed, Now: time.Now(), Tags: tags})
}

// tagPatience is how long a registry may take to say what a tag stands for.
const tagPatience = 5 * time.Second

// tags looks up what the written images stand for by now, side by side: those that nodes were made of a
// registry's digest from in the registry, the others on their hosts.
func (c *Controller) tags(ctx context.Context, in plan.Input) (tags map[string]plan.Image, problems []string) {
	ctx, cancel := context.WithTimeout(ctx, tagPatience)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	tags = map[string]plan.Image{}
	for _, r := range drift.Tags(in.Desired, in.Observed) {
		wg.Go(func() {
			img := c.resolveOne(ctx, r, func([]string) {})
			mu.Lock()
			defer mu.Unlock()
			tags[r.Image] = img
			if img.Problem == "" && img.Digest == "" && r.Pull == spec.PullAlways {
				img.Problem = "image " + r.Image + " can't be looked up in its registry"
			}
			if img.Problem != "" {
				problems = append(problems, "whether its tag has moved: "+img.Problem)
			}
		})
	}
	wg.Wait()
	slices.Sort(problems)
	return tags, problems
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
	r := c.scoped(driftOf(in, nil))
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
