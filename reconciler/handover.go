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
	// From here on the session, with one that is retired or with one that moves, tells nothing; also where this fails.
	defer h.hangUp()
	// Where the session is with the new one, a hand-over was cut short: the old one has left the volume to it.
	if k := h.keeperOf(old.ID); k != nil {
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
	return nil
}

// keeperOf returns the open session, if it is with the keeper in that container, or nil.
func (h *host) keeperOf(container string) Keeper {
	k := h.keeper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.with != container {
		return nil
	}
	return k
}

// hangUp ends the session, so that another is opened with whichever keeper is there then.
func (h *host) hangUp() {
	h.mu.Lock()
	s := h.session
	h.session, h.leased, h.told = nil, false, nil
	h.mu.Unlock()
	hangUp(s)
}
