package reconciler

import (
	"errors"
	"fmt"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// unread is a known host that has been neither read nor found out of reach yet; empty: there is none.
func (c *Controller) unread() string {
	for _, h := range c.allHosts() {
		if !h.wasRead() {
			return h.name
		}
	}
	return ""
}

func (h *host) wasRead() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.read
}

// unready has those operations wait that can't be begun now: on hosts that can't be written to, and, as
// long as a host has not been read, those that choose one (the node, or the room for it, may be there) and
// removals, whose share of all nodes can't be told.
func (c *Controller) unready(p plan.Plan, unread string) plan.Plan {
	if !c.leading.Load() {
		return p
	}
	hosts := map[string]string{}
	return plan.Hold(p, func(op plan.Operation) string {
		reason, known := hosts[op.Host]
		if !known {
			reason = c.whyNot(op.Host)
			hosts[op.Host] = reason
		}
		rests := op.Kind == plan.Create && op.Candidate == nil || op.FromHost != "" || op.Kind == plan.Remove
		if reason == "" && rests && unread != "" {
			return fmt.Sprintf("%s waits until host %s has been read, or is found to be out of reach", op.Kind, unread)
		}
		return reason
	})
}

// whyNot is why a host can't be written to now; empty: it can.
func (c *Controller) whyNot(name string) string {
	h := c.host(name)
	if h == nil {
		return "host " + name + " is not known"
	}
	_, err := h.writable()
	switch {
	case err == nil:
		return ""
	case errors.Is(err, fleet.ErrUnreachable):
		return err.Error()
	}
	return "host " + name + " isn't leased at the moment"
}
