package reconciler

import (
	"context"
	"fmt"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// atWork says whether a worker has the node at hand that a chore is about. When it ends, a new plan is made.
func (c *Controller) atWork(op plan.HostOperation) bool {
	if op.Instance == nil {
		return false
	}
	c.mu.Lock()
	w := c.workers[op.Instance.LayerID()]
	c.mu.Unlock()
	return w != nil && w.Busy(op.Instance.Node)
}

// mend puts back one thing that was changed of a node's container by hand.
func (c *Controller) mend(ctx context.Context, h *host, op plan.HostOperation) error {
	id := op.Instance.ID
	var err error
	switch op.Operation {
	case "rename":
		err = h.engine.Rename(ctx, id, op.Instance.Renamed)
	case "update":
		err = h.engine.SetRestartPolicy(ctx, id, plan.RestartPolicy)
	case "disconnect":
		err = h.engine.Disconnect(ctx, op.Network, id)
	case "connect":
		// The keeper may be being told that the node isn't there, which would take it out of the names again where
		// that came later; and until it is seen to be there, nothing else can be told.
		if err := h.telling.Take(ctx); err != nil {
			return err
		}
		defer h.telling.Give()
		err = h.engine.Connect(ctx, op.Network, id, op.Address.String())
	default:
		return fmt.Errorf("no such operation: %s container", op.Operation)
	}
	if err != nil {
		return err
	}
	in, err := h.engine.Inspect(ctx, id)
	if err != nil {
		return err
	}
	h.saw(id, patch{in: in})
	return nil
}

// mendKeeper puts the keeper back onto its way out, takes it off a network of others, names it back, or gives it its
// restart policy back.
func (c *Controller) mendKeeper(ctx context.Context, h *host, op plan.HostOperation) error {
	name := c.fleetName()
	k := current(h.snapshot().Keepers, name)
	if k == nil {
		return fmt.Errorf("%w: there is no keeper", fleet.ErrUnreachable)
	}
	err := func() error {
		switch op.Operation {
		case "disconnect":
			return h.engine.Disconnect(ctx, op.Name, k.ID)
		case "rename":
			return h.engine.Rename(ctx, k.ID, op.Name)
		case "update":
			return h.engine.SetRestartPolicy(ctx, k.ID, plan.KeeperRestartPolicy)
		}
		if err := h.engine.EnsureNetwork(ctx, uplink(name)); err != nil {
			return err
		}
		return h.engine.Connect(ctx, op.Name, k.ID, "")
	}()
	c.observeHost(ctx, h)
	return err
}

// uplink is the network that a fleet's keepers forward through.
func uplink(fleetName string) fleet.Network {
	return fleet.Network{Name: fleet.UplinkName(fleetName), Fleet: fleetName, Role: fleet.RoleKeeper, Driver: "bridge"}
}
