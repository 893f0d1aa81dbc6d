package reconciler

import (
	"context"
	"fmt"
	"slices"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// handOver moves each network from the old keeper to the new one, with its address. Nodes' resolvers ask
// again within the moment in which neither has it.
func (c *Controller) handOver(ctx context.Context, h *host, old, next fleet.KeeperContainer) error {
	if k := h.keeper(); k != nil {
		if err := k.Retire(ctx); err != nil {
			return fmt.Errorf("retiring the old keeper: %w", err)
		}
	}
	uplink := fleet.UplinkName(c.fleetName())
	networks := make([]string, 0, len(old.Networks))
	for n := range old.Networks {
		if n != uplink {
			networks = append(networks, n)
		}
	}
	slices.Sort(networks)
	for _, n := range networks {
		if err := h.engine.Disconnect(ctx, n, old.ID); err != nil {
			return err
		}
		if err := h.engine.Connect(ctx, n, next.ID, old.Networks[n].String()); err != nil {
			return err
		}
	}
	h.mu.Lock()
	s := h.session
	h.session, h.leased, h.told = nil, false, nil
	h.mu.Unlock()
	if s != nil {
		return s.Close()
	}
	return nil
}
