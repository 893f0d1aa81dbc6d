package reconciler

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// observeAll reads every known host, side by side.
func (c *Controller) observeAll(ctx context.Context) {
	var wg sync.WaitGroup
	for _, h := range c.allHosts() {
		wg.Go(func() { c.observeHost(ctx, h) })
	}
	wg.Wait()
}

// observeReachable reads the hosts that answered the last time, side by side. The others are looked after
// beside the pass: they aren't waited for again.
func (c *Controller) observeReachable(ctx context.Context) {
	var wg sync.WaitGroup
	for _, h := range c.allHosts() {
		if h.snapshot().Reachable {
			wg.Go(func() { c.observeHost(ctx, h) })
		}
	}
	wg.Wait()
}

// lookPatience is how long a loop waits for hosts that it has not found to be out of reach.
const lookPatience = time.Second

// look has all hosts read aside and returns when those that are known to answer, or of which nothing is
// known yet, have been read. One that takes its time is taken in when it answers.
func (c *Controller) look(ctx context.Context) {
	var begun []<-chan struct{}
	for _, h := range c.allHosts() {
		waited := h.snapshot().Reachable || !h.wasRead()
		if done := c.read(ctx, h, 0); waited {
			begun = append(begun, done)
		}
	}
	patience := time.NewTimer(lookPatience)
	defer patience.Stop()
	for _, done := range begun {
		select {
		case <-done:
		case <-patience.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// observeHost reads one host and says so when it is lost or back.
func (c *Controller) observeHost(ctx context.Context, h *host) {
	h.observe(ctx, c, c.fleetName())
	if ctx.Err() != nil {
		return
	}
	st, news := h.news()
	switch {
	case !news:
	case st.Reachable:
		c.notice("info", h.name, "the host is back in reach")
	default:
		c.notice("error", h.name, "the host is out of reach: "+st.Problem+" (nothing on it is changed; the others go on)")
	}
}

// news is what was last seen, and whether it tells that the host was lost or is back: once, though several may read
// it at the same time.
func (h *host) news() (st fleet.HostState, news bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	news = h.saidLost == h.state.Reachable
	h.saidLost = !h.state.Reachable
	return h.state, news
}

// observed is what was last seen of all known hosts.
func (c *Controller) observed() fleet.Observed {
	hosts := c.allHosts()
	o := fleet.Observed{Hosts: make([]fleet.HostState, 0, len(hosts))}
	for _, h := range hosts {
		o.Hosts = append(o.Hosts, h.snapshot())
	}
	return fleet.PutAside(o)
}

// read has a host read aside, after a moment in which more may ask for it. One that is being read
// already is read once more: what it said by now may be older than what asked. What is returned is closed
// once nobody asks any more and it was read.
func (c *Controller) read(ctx context.Context, h *host, after time.Duration) (done <-chan struct{}) {
	done, _ = h.reading.start(&c.besides, func() {
		if after > 0 {
			t := time.NewTimer(after)
			defer t.Stop()
			select {
			case <-t.C:
			case <-ctx.Done():
			}
		}
		h.reading.begin()
		if ctx.Err() == nil {
			c.observeHost(ctx, h)
			c.kick()
		}
	})
	return done
}

// readAll has all hosts read aside.
func (c *Controller) readAll(ctx context.Context) {
	for _, h := range c.allHosts() {
		c.read(ctx, h, 0)
	}
}

// openGone opens hosts that are no longer in the spec and may still carry nodes, and reads them.
func (c *Controller) openGone(ctx context.Context) {
	var wg sync.WaitGroup
	for _, h := range c.gone() {
		wg.Go(func() { c.observeHost(ctx, h) })
	}
	wg.Wait()
}

// gone opens hosts that are no longer in the spec and may still carry nodes: the keepers' copy has their
// entries.
func (c *Controller) gone() (opened []*host) {
	newest := fleet.NewestCopy(c.observed())
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range newest.Hosts {
		if c.hosts[ch.Name] != nil || c.desired.Fleet.Host(ch.Name) != nil || !carries(newest, ch.Name) {
			continue
		}
		if err := c.openHost(hostOf(ch)); err == nil {
			opened = append(opened, c.hosts[ch.Name])
		}
	}
	return opened
}

// forgetGone closes hosts that left the spec and that nothing is known to be on. It is asked while no
// worker is at work: what one is about to make can't be seen yet.
func (c *Controller) forgetGone() {
	newest := fleet.NewestCopy(c.observed())
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, h := range c.hosts {
		if c.desired.Fleet.Host(name) != nil || carries(newest, name) || c.plan.Revision != c.revision {
			continue
		}
		st := h.snapshot()
		planned := slices.ContainsFunc(c.plan.Hosts, func(op plan.HostOperation) bool { return op.Host == name })
		if len(st.Instances) > 0 || planned || !st.Reachable && newest.Serial == 0 {
			continue
		}
		delete(c.hosts, name)
		c.leave(h)
	}
}

func carries(c fleet.Copy, host string) bool {
	for _, n := range c.Nodes {
		if n.Host == host {
			return true
		}
	}
	return false
}

// hostOf is the spec of a host that only the keepers' copy remembers.
func hostOf(h fleet.CopyHost) spec.Host {
	return spec.Host{Name: h.Name, Endpoint: h.Endpoint, Insecure: h.Insecure, TLS: h.TLS, SSH: h.SSH, Address: h.Address, State: spec.HostCordoned}
}
