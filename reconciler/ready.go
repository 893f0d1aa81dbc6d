package reconciler

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
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

// unready has those operations wait that can't be begun now: on hosts that can't be written to; of a node that may
// be ending, which is only kept out of the names and not known not to serve; and, as long as a host has not been
// read, those that choose one (the node, or the room for it, may be there) and removals, whose share of all nodes
// can't be told.
func (c *Controller) unready(p plan.Plan, unread string) plan.Plan {
	if !c.leading.Load() {
		return p
	}
	hosts := map[string]string{}
	return plan.Hold(p, func(op plan.Operation) string {
		reason, known := hosts[op.Host]
		if !known {
			if reason = c.whyNot(op.Host); reason == "" && c.replacesKeeper(p, op.Host) {
				reason = "the keeper on " + op.Host + " is being replaced by a newer one"
			}
			hosts[op.Host] = reason
		}
		if reason == "" && op.Intrusive && op.Instance != nil && op.Instance.Running() && c.mayEnd(op.ID) {
			return "an evenkeel before this one may have had " + op.Instance.Name + " stopped: it gets its names back when it has not ended by then, or is gone on with"
		}
		rests := op.Kind == plan.Create && op.Candidate == nil || op.FromHost != "" || op.Kind == plan.Remove
		if reason == "" && rests && unread != "" {
			return fmt.Sprintf("%s waits until host %s has been read, or is found to be out of reach", op.Kind, unread)
		}
		return reason
	})
}

// replacesKeeper says whether a host's keeper is being replaced, or is about to be: what is done to its nodes
// meanwhile would have no session with either. Where it failed a moment ago, nodes don't wait for the next try.
func (c *Controller) replacesKeeper(p plan.Plan, host string) bool {
	i := slices.IndexFunc(p.Hosts, func(op plan.HostOperation) bool {
		return op.Host == host && op.Operation == "replace" && op.What == "keeper"
	})
	if i < 0 {
		return c.replacing(c.host(host))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	until, tried := c.chores[choreKey(p.Hosts[i])]
	return !tried || until.Equal(atHand) || !time.Now().Before(until)
}

// busyOn says whether anything of a host's nodes is at hand.
func (c *Controller) busyOn(host string) bool {
	return slices.ContainsFunc(c.allWorkers(), func(w *rollout.Worker) bool { return w.BusyOn(host) })
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
