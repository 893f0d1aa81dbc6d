package reconciler

import (
	"context"
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// stateAge is how old a keeper's answer may be to serve again: many gates ask at once.
const stateAge = 50 * time.Millisecond

// keeperState asks the keeper, or takes an answer that was given just now.
func (h *host) keeperState(ctx context.Context) (*fleet.KeeperState, error) {
	h.asking.Lock()
	defer h.asking.Unlock()
	if h.answer != nil && time.Since(h.answeredAt) < stateAge {
		return h.answer, nil
	}
	k := h.keeper()
	if k == nil {
		return nil, fmt.Errorf("the keeper on %s: %w", h.name, fleet.ErrUnreachable)
	}
	asked := time.Now()
	s, err := k.State(ctx)
	if err != nil {
		return nil, fmt.Errorf("the keeper on %s: %w", h.name, err)
	}
	h.answer, h.answeredAt = s, asked
	h.mu.Lock()
	h.state.Keeper, h.state.KeeperProblem = s, ""
	h.mu.Unlock()
	return s, nil
}
