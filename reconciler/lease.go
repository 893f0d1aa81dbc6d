package reconciler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// leaseMargin is how long a lease has to hold at least before a write that nobody can fence.
const leaseMargin = 5 * time.Second

// releaseTimeout is how long giving the leases back may take; they end by themselves otherwise.
const releaseTimeout = 3 * time.Second

// HeldError says who keeps this controller from working.
type HeldError struct {
	Host   string
	Holder string
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("%s is at work on this fleet (it holds the lease on %s), and only one evenkeel changes a fleet at a time: wait until it has ended, or stop it", e.Holder, e.Host)
}

// Holder is what an error of a Keeper's Acquire has, that knows who holds the lease.
type holder interface{ Holder() string }

// lease takes the lease of one host whose keeper answers.
func (c *Controller) lease(ctx context.Context, h *host) error {
	k := h.keeper()
	if k == nil {
		return fmt.Errorf("the keeper on %s: %w", h.name, fleet.ErrUnreachable)
	}
	h.mu.Lock()
	have := h.leased
	h.mu.Unlock()
	if have && k.LeaseLeft() > 0 {
		return nil
	}
	if err := k.Acquire(ctx, c.opts.Holder); err != nil {
		var held holder
		if errors.As(err, &held) {
			return &HeldError{Host: h.name, Holder: held.Holder()}
		}
		return fmt.Errorf("the lease of %s: %w", h.name, err)
	}
	h.relink.Store(true)
	h.takeOver(ctx)
	h.mu.Lock()
	h.leased, h.taken = true, true
	h.mu.Unlock()
	return nil
}

// unleased is a host in reach that could not be leased.
type unleased struct {
	host *host
	why  string
}

// still says why hosts could not be leased that haven't been since.
func still(list []unleased) (problems []string) {
	for _, u := range list {
		if _, err := u.host.writable(); err != nil {
			problems = append(problems, u.why)
		}
	}
	return problems
}

// own takes the leases of those of the hosts that are in reach: first that of the first by name, so that
// two controllers meet there, then the others at once. Refused by one, it gives all back. A host that
// doesn't answer is left out, with its reason.
func (c *Controller) own(ctx context.Context, hosts []*host) (without []unleased, err error) {
	errs := make([]error, len(hosts))
	rest := 0
	for i, h := range hosts {
		errs[i] = c.ownHost(ctx, h)
		rest = i + 1
		if errs[i] == nil || isHeld(errs[i]) {
			break
		}
	}
	var wg sync.WaitGroup
	for i := rest; i < len(hosts); i++ {
		wg.Go(func() { errs[i] = c.ownHost(ctx, hosts[i]) })
	}
	wg.Wait()
	for i, e := range errs {
		if isHeld(e) {
			c.giveBack(ctx)
			return nil, e
		}
		if e != nil && hosts[i].snapshot().Reachable {
			without = append(without, unleased{hosts[i], e.Error()})
		}
	}
	return without, nil
}

func isHeld(err error) bool {
	var held *HeldError
	return errors.As(err, &held)
}

func (c *Controller) ownHost(ctx context.Context, h *host) error {
	if err := c.ensureKeeper(ctx, h); err != nil {
		return err
	}
	return c.lease(ctx, h)
}

// giveBack releases all leases that are held.
func (c *Controller) giveBack(ctx context.Context) {
	var wg sync.WaitGroup
	for _, h := range c.allHosts() {
		k := h.keeper()
		h.mu.Lock()
		leased := h.leased
		h.leased = false
		h.mu.Unlock()
		if k == nil || !leased {
			continue
		}
		wg.Go(func() {
			if err := k.Release(ctx); err != nil {
				c.notice("warning", h.name, "giving the lease back: "+err.Error()+" (it ends by itself)")
			}
		})
	}
	wg.Wait()
}

// Leading says whether this controller acts on the fleet, and the leases of which hosts it holds.
func (c *Controller) Leading() (acts bool, hosts map[string]bool) {
	hosts = map[string]bool{}
	for _, h := range c.allHosts() {
		k := h.keeper()
		h.mu.Lock()
		hosts[h.name] = k != nil && h.leased && k.LeaseLeft() > 0
		h.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leading.Load() && c.yield.Load() == nil && c.waiting == "", hosts
}
