package reconciler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// sweep removes images that evenkeel pulled and that no node needs any more. What fails is tried again
// with the next pass.
func (c *Controller) sweep(ctx context.Context) {
	c.mu.Lock()
	desired := c.desired
	c.mu.Unlock()
	for _, h := range c.wantedHosts() {
		st := h.snapshot()
		s := plan.SweepImages(&st, desired, time.Now(), c.opts.KeepImages)
		if err := c.sweepHost(ctx, h, s); err != nil && !errors.Is(err, fleet.ErrUnreachable) && !errors.Is(err, fleet.ErrFenced) {
			c.notice("warning", h.name, "clearing images away: "+err.Error())
		}
	}
}

func (c *Controller) sweepHost(ctx context.Context, h *host, s plan.Sweep) error {
	for _, r := range s.Note {
		if err := c.record(ctx, h.name, fleet.ImageKey(r.ID), r); err != nil {
			return err
		}
	}
	for _, r := range s.Remove {
		if _, err := h.writable(); err != nil {
			return err
		}
		// By the reference that was pulled: under another one the image may be somebody else's.
		op := plan.HostOperation{Host: h.name, Operation: "remove", What: "image", Name: r.Ref}
		err := c.changing(ctx, op, func(ctx context.Context) error { return h.engine.RemoveImage(ctx, r.Ref) })
		if errors.Is(err, fleet.ErrConflict) {
			continue // a container that isn't ours is made of it
		}
		if err != nil && !errors.Is(err, fleet.ErrNotFound) {
			return fmt.Errorf("image %s: %w", r.Ref, err)
		}
		if err := c.record(ctx, h.name, fleet.ImageKey(r.ID), nil); err != nil {
			return err
		}
		c.notice("info", h.name, fmt.Sprintf("removed image %s, which no node of %s/%s needs any more", r.Ref, r.Environment, r.Layer))
	}
	return nil
}
