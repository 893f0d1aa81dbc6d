package reconciler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/zone"
)

const (
	// copyPause is how long the copy may lag behind while operations are at hand: each of them changes it.
	copyPause = time.Second
	// writePatience is how long a pass waits for keepers to have what it tells them before it begins
	// operations. A keeper that takes longer gets it meanwhile, and holds up nothing on other hosts.
	writePatience = 500 * time.Millisecond
)

// writeKeepers has each keeper in reach told what a plan wants it to have: records that come with no
// operation, the names, the copy of who is where. Each is written to by one goroutine at a time.
func (c *Controller) writeKeepers(ctx context.Context, p plan.Plan) {
	c.keepRecords(p)
	next := c.nextCopy()
	patience := time.NewTimer(writePatience)
	defer patience.Stop()
	var begun []<-chan struct{}
	for _, h := range c.allHosts() {
		if _, err := h.writable(); err != nil {
			continue
		}
		h.offerCopy(next)
		done, underway := h.writing.start(&c.choring, func() {
			h.writing.begin()
			c.writeKeeper(ctx, h)
		})
		if !underway && h.lostFor() == 0 { // one that is late already isn't waited for again
			begun = append(begun, done)
		}
	}
	for _, done := range begun {
		select {
		case <-done:
			continue
		case <-patience.C:
		case <-ctx.Done():
		}
		c.besides.Go(func() { // there may be more to do once it has ended
			for _, done := range begun {
				<-done
			}
			c.kick()
		})
		return
	}
}

// keepRecords notes for each host which records the newest plan has for it.
func (c *Controller) keepRecords(p plan.Plan) {
	byHost := map[string][]plan.RecordWrite{}
	for _, r := range p.Records {
		byHost[r.Host] = append(byHost[r.Host], r)
	}
	for _, h := range c.allHosts() {
		h.mu.Lock()
		h.records = byHost[h.name]
		h.mu.Unlock()
	}
}

func (h *host) offerCopy(next *fleet.Copy) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if next != nil {
		h.copy = next
	}
}

func (c *Controller) writeKeeper(ctx context.Context, h *host) {
	h.mu.Lock()
	records, next := h.records, h.copy
	h.records = nil
	h.mu.Unlock()
	for _, r := range records {
		if err := c.record(ctx, h.name, r.Key, r.Value); err != nil && !errors.Is(err, fleet.ErrUnreachable) && ctx.Err() == nil {
			c.notice("warning", h.name, fmt.Sprintf("noting %s: %s", r.Key, err))
		}
	}
	if _, err := h.writable(); err != nil || ctx.Err() != nil {
		return
	}
	if err := c.tell(ctx, h); err != nil && ctx.Err() == nil {
		c.notice("error", h.name, err.Error()+" (its names stay as they were; the next pass tries again)")
	}
	c.join(ctx, h)
	c.giveCopy(ctx, h, next)
}

// giveCopy gives a keeper the placement of the whole fleet, if it has an older one.
func (c *Controller) giveCopy(ctx context.Context, h *host, next *fleet.Copy) {
	k, err := h.writable()
	if st := h.snapshot(); err != nil || next == nil || st.Keeper == nil || st.Keeper.Copy.Serial >= next.Serial {
		return
	}
	if err := k.SetCopy(ctx, *next); err != nil {
		if ctx.Err() == nil {
			c.notice("warning", h.name, "handing out the copy of who is where: "+err.Error())
		}
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state.Keeper != nil {
		s := *h.state.Keeper
		s.Copy = *next
		h.state.Keeper = &s
	}
}

// leaveCopy hands the copy out as it is in the end: what was made last is in none yet, and whoever comes next has to
// know of it, also where its host is lost by then.
func (c *Controller) leaveCopy(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	next := c.copyNow()
	var wg sync.WaitGroup
	for _, h := range c.allHosts() {
		wg.Go(func() { c.giveCopy(ctx, h, next) })
	}
	wg.Wait()
}

// nextCopy is the copy to hand out now; nil: none. No two that differ have the same serial, also while
// no keeper has acknowledged the last one.
func (c *Controller) nextCopy() *fleet.Copy {
	idle := c.allIdle()
	c.mu.Lock()
	early := !idle && time.Since(c.shared) < copyPause
	c.mu.Unlock()
	if early {
		return nil
	}
	return c.copyNow()
}

// copyNow is the copy as of now; nil: it isn't known.
func (c *Controller) copyNow() *fleet.Copy {
	observed := c.observed()
	c.mu.Lock()
	defer c.mu.Unlock()
	next, ok := zone.Copy(c.desired, observed, c.plan.Networks, zone.Outside{Said: c.said.digests, Zones: c.zonesSeen()})
	if !ok {
		return nil
	}
	c.shared = time.Now()
	if next.Serial <= c.handed.Serial {
		next.Serial = c.handed.Serial
		if !next.Same(&c.handed) {
			next.Serial++
		}
	}
	c.handed = next
	return &next
}
