package reconciler

import (
	"context"
	"errors"
	"strings"
)

// regain looks at hosts that are lost, brings keepers back that don't answer, and leases what came back.
func (c *Controller) regain(ctx context.Context) {
	for _, h := range c.allHosts() {
		if _, err := h.writable(); err == nil || ctx.Err() != nil {
			continue
		}
		c.bringBack(ctx, h)
	}
}

// awaitBack returns when hosts that answer, and aren't leased, have been leased or could not be: what can be
// done on a host that came back isn't left to the next pass.
func (c *Controller) awaitBack(ctx context.Context, pass passing) {
	var begun []<-chan struct{}
	for _, h := range c.wantedHosts() {
		if _, err := h.writable(); err != nil && h.returns() {
			begun = append(begun, c.bringBack(pass.beside, h))
		}
	}
	for _, done := range begun {
		select {
		case <-done:
		case <-pass.stop:
			return
		case <-ctx.Done():
			return
		}
	}
}

// returns says whether the host answers, and its keeper has not been found to be beyond help.
func (h *host) returns() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state.Reachable && h.muted == ""
}

// bringBack works on one host, one attempt at a time, aside: a host that hangs holds nothing else up. What
// it returns is closed when the attempt has ended.
func (c *Controller) bringBack(ctx context.Context, h *host) <-chan struct{} {
	replacing := c.replacing(h)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.regaining != nil && !closed(h.regaining) {
		return h.regaining
	}
	done := make(chan struct{})
	h.regaining = done
	if replacing {
		close(done)
		return done
	}
	c.besides.Go(func() {
		defer close(done)
		c.observeHost(ctx, h)
		if !h.snapshot().Reachable {
			return
		}
		c.kick() // what is about to be brought back is told of as it is
		var held *HeldError
		switch err := c.ownHost(ctx, h); {
		case ctx.Err() != nil:
		case errors.As(err, &held):
			c.yield.Store(held)
			c.kick()
		case err != nil:
			if h.mute(err) {
				c.notice("error", h.name, err.Error())
			}
		default:
			c.inherit(ctx, h)
			c.kick()
		}
	})
	return done
}

// replacing says whether the host's keeper is being replaced, which takes the session away by itself.
func (c *Controller) replacing(h *host) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, until := range c.chores {
		if until.Equal(atHand) && strings.HasPrefix(key, h.name+" replace keeper ") {
			return true
		}
	}
	return false
}
