package reconciler

import (
	"context"
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// stateAge is how old a keeper's answer may be to serve again: many gates ask at once.
const stateAge = 50 * time.Millisecond

// keeperState asks the keeper, or takes an answer that was given just now, unless it has been told something since.
func (h *host) keeperState(ctx context.Context) (*fleet.KeeperState, error) {
	return h.stateSince(ctx, time.Now().Add(-stateAge))
}

// stateSince is an answer of the keeper that was asked for at a time or later, and since it was told something.
func (h *host) stateSince(ctx context.Context, moment time.Time) (*fleet.KeeperState, error) {
	if err := h.asking.Take(ctx); err != nil {
		return nil, fmt.Errorf("the keeper on %s: %w", h.name, err)
	}
	defer h.asking.Give()
	if h.answer != nil && h.answeredAt.After(moment) && !h.toldSince(h.answeredAt) {
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
	h.mu.Lock()
	defer h.mu.Unlock()
	s = h.withAcknowledged(s, asked)
	h.answer, h.answeredAt = s, asked
	h.state.Keeper, h.state.KeeperProblem = s, ""
	return s, nil
}

// toldSince says whether the keeper acknowledged a zone at that time or later.
func (h *host) toldSince(t time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.toldAt.Before(t)
}

// acknowledged is a record that the keeper has, or no longer has, since it was asked what it has.
type acknowledged struct {
	fleet.Record
	at time.Time
}

// withAcknowledged is a keeper's answer, which was asked for at a time, with what it has acknowledged since: what
// was asked of it beside a slow engine is taken in late. h.mu is held.
func (h *host) withAcknowledged(s *fleet.KeeperState, asked time.Time) *fleet.KeeperState {
	if h.state.Keeper != nil && asked.Before(h.askedAt) {
		return h.state.Keeper
	}
	h.askedAt = asked
	next := *s
	for key, a := range h.acknowledged {
		if a.at.Before(asked) {
			delete(h.acknowledged, key)
			continue
		}
		next.Records = fleet.WithRecord(next.Records, a.Record)
	}
	if h.told == nil || h.toldAt.Before(asked) {
		zone := next.Zone
		h.told = &zone
	}
	next.Zone = *h.told
	return &next
}

// recordPut notes a record that the keeper has acknowledged; nil: it was deleted.
func (h *host) recordPut(r fleet.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acknowledged[r.Key] = acknowledged{r, time.Now()}
	if h.state.Keeper == nil {
		return
	}
	k := *h.state.Keeper
	k.Records = fleet.WithRecord(k.Records, r)
	h.state.Keeper = &k
}
