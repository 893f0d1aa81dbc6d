package reconciler

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

const (
	// withdrawn is what a keeper is told of a node that left its names for an operation.
	withdrawn = fleet.OutWithdrawn
	// defaultStop is how long a container is given to end that says nothing itself.
	defaultStop = 10 * time.Second
	// stopMargin is how much longer its end may take than it is given.
	stopMargin = 2 * time.Second
)

// takeOver asks a keeper, whose lease was just granted, which nodes a controller before this one has taken out.
func (h *host) takeOver(ctx context.Context) {
	s, err := h.stateSince(ctx, time.Now())
	if err != nil {
		return // it is read again, as a keeper that doesn't answer
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inherited = &s.Zone
}

// inherit keeps those nodes out of their names for as long as their end may take: an engine may have been asked to
// stop them, does so whoever asked being alive or not, and says nothing of it before they have ended.
func (c *Controller) inherit(ctx context.Context, h *host) {
	h.mu.Lock()
	z, instances := h.inherited, h.state.Instances
	h.inherited = nil
	h.mu.Unlock()
	if z == nil {
		return
	}
	for i := range z.Nodes {
		n := &z.Nodes[i]
		at := slices.IndexFunc(instances, func(in fleet.Instance) bool { return in.ID == n.Instance && in.Running() })
		if at >= 0 && !n.Candidate && strings.HasPrefix(n.Out, withdrawn) {
			c.keepOut(ctx, n.NodeID, n.Out, cmp.Or(instances[at].StopGrace, defaultStop)+stopMargin)
		}
	}
}

// keepOut keeps a node out of its names for a while, unless it is out already. A pass waits for that, one that is
// asked to stop doesn't.
func (c *Controller) keepOut(ctx context.Context, id fleet.NodeID, reason string, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out[id] != "" {
		return
	}
	key := "the end of " + id.String()
	c.out[id], c.ends[id], c.chores[key] = reason, true, atHand
	stop := c.stop
	c.choring.Go(func() {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-stop:
		case <-ctx.Done():
		}
		c.mu.Lock()
		delete(c.ends, id)
		delete(c.chores, key)
		c.mu.Unlock()
		c.kick()
	})
}
