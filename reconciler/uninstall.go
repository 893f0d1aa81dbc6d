package reconciler

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Uninstall removes all of a fleet from its hosts: nodes, networks, keepers; volumes only if asked to.
// What isn't the fleet's is left alone. A host that can't be reached fails, the others are done.
func (c *Controller) Uninstall(ctx context.Context, volumes bool) error {
	if _, err := c.Fetch(ctx); err != nil {
		return err
	}
	c.observeAll(ctx)
	if err := c.leaseThere(ctx); err != nil {
		return err
	}
	defer c.letGo(ctx)
	c.openGone(ctx)
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	for _, h := range c.allHosts() {
		wg.Go(func() {
			if err := c.clear(ctx, h, volumes); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("host %s: %w", h.name, err))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// leaseThere takes the leases of the keepers that are there; none is made for the purpose.
func (c *Controller) leaseThere(ctx context.Context) error {
	for _, h := range c.allHosts() {
		if h.keeper() == nil {
			continue
		}
		if err := c.lease(ctx, h); isHeld(err) {
			c.giveBack(ctx)
			return err
		}
	}
	return nil
}

func (c *Controller) clear(ctx context.Context, h *host, volumes bool) error {
	observed := c.observed()
	st := observed.Host(h.name) // with what only looks like a node put aside: it isn't ours
	if !st.Reachable {
		return fmt.Errorf("%w: %s", fleet.ErrUnreachable, st.Problem)
	}
	var errs []error
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, in := range st.Instances {
		wg.Go(func() {
			if err := c.end(ctx, h, in); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	if volumes {
		for _, v := range st.Volumes {
			errs = append(errs, h.engine.RemoveVolume(ctx, v.Name))
		}
	}
	if k := h.keeper(); k != nil {
		errs = append(errs, k.Close())
	}
	for _, k := range st.Keepers {
		errs = append(errs, h.engine.Remove(ctx, k.ID), h.dropImage(ctx, k.Image))
	}
	name := c.fleetName()
	for _, n := range st.Networks {
		if n.Fleet == name {
			errs = append(errs, h.engine.RemoveNetwork(ctx, n.Name))
		}
	}
	if len(st.Keepers) > 0 {
		errs = append(errs, h.engine.RemoveVolume(ctx, fleet.KeeperVolume(name)))
	}
	return errors.Join(errs...)
}

// end stops and removes one instance, given the time that it wants.
func (c *Controller) end(ctx context.Context, h *host, in fleet.Instance) error {
	release, err := c.slots.Take(ctx, h.name)
	if err != nil {
		return err
	}
	defer release()
	if in.Running() {
		if err := h.engine.Stop(ctx, in.ID, "", in.StopGrace); err != nil && !errors.Is(err, fleet.ErrNotFound) {
			return fmt.Errorf("stopping %s: %w", in.NodeID, err)
		}
	}
	if err := h.engine.Remove(ctx, in.ID); err != nil {
		return fmt.Errorf("removing %s: %w", in.NodeID, err)
	}
	return nil
}
