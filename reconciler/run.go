package reconciler

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// How the loop waits.
const (
	// settle is how long events are gathered before hosts are looked at.
	settle = 10 * time.Millisecond
	// retryHeld is how often a controller that waits for another's lease asks again.
	retryHeld = 2 * time.Second
	// retryHost is how often a host that is lost, or whose keeper doesn't answer, is tried.
	retryHost = 3 * time.Second
	// retrySession is how often a keeper without a session is looked for, to follow what it says.
	retrySession = time.Second
)

// Run makes the fleet match its repository until stop is closed, which lets the nodes at hand be
// finished, or until ctx ends, which stops everything at once. A second controller waits for the lease.
func (c *Controller) Run(ctx context.Context, stop <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.lasting = true
	c.mu.Unlock()
	hints := c.opts.Source.Watch(ctx)
	if err := c.firstRevision(ctx, stop, hints); err != nil || closed(stop) {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	r := &running{Controller: c, stop: stop, watched: map[*host]context.CancelFunc{}, g: g}
	g.Go(func() error { return r.follow(ctx, hints) })
	g.Go(func() error {
		defer cancel()
		return r.loop(ctx)
	})
	err := g.Wait()
	if errors.Is(err, context.Canceled) && closed(stop) {
		return nil
	}
	return err
}

// firstRevision waits for a valid one: without any there is nothing to hold on to.
func (c *Controller) firstRevision(ctx context.Context, stop, hints <-chan struct{}) error {
	tick := time.NewTicker(c.opts.Interval)
	defer tick.Stop()
	for {
		if _, err := c.Fetch(ctx); err == nil {
			return nil
		}
		select {
		case _, ok := <-hints:
			if !ok {
				hints = nil // nobody hints any more; looking now and then goes on
			}
		case <-tick.C:
		case <-stop:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// running is the loop's own state.
type running struct {
	*Controller
	stop <-chan struct{}
	// sweeping clears images away, on all hosts.
	sweeping errand
	tagging  errand // looks tags up
	watched  map[*host]context.CancelFunc
	g        *errgroup.Group
}

// follow takes new revisions into force as they come.
func (r *running) follow(ctx context.Context, hints <-chan struct{}) error {
	tick := time.NewTicker(r.opts.Interval)
	defer tick.Stop()
	for {
		select {
		case _, ok := <-hints:
			if !ok {
				hints = nil
			}
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		// A revision that is refused has been said; the last good one stays in force.
		if changed, _ := r.Fetch(ctx); changed {
			r.kick()
		}
	}
}

// loop plans with what was last seen and hands out work. It waits for no host and no registry: those
// are asked aside, and what they answer kicks it.
func (r *running) loop(ctx context.Context) error {
	beside, end := r.aside(ctx)
	r.look(beside)
	if !r.holdLeases(ctx, beside) {
		end()
		return nil
	}
	r.leading.Store(true)
	defer r.letGo(ctx)
	defer end()
	r.followDrift()
	r.openGone(ctx)
	r.startWorkers(ctx, r.stop)
	r.regain(beside)
	whole := time.NewTicker(r.opts.Interval)
	defer whole.Stop()
	hosts := time.NewTicker(retryHost)
	defer hosts.Stop()
	files := time.NewTicker(min(r.opts.Interval, filesEvery))
	defer files.Stop()
	tags := time.NewTicker(min(tagPasses*r.opts.Interval, tagsEvery))
	defer tags.Stop()
	zones := time.NewTicker(min(r.opts.Interval, readZones))
	defer zones.Stop()
	for {
		if r.yield.Swap(nil) != nil && !r.holdLeases(ctx, beside) {
			return nil
		}
		r.watchHosts(beside)
		r.readNewZones(beside)
		begun := time.Now()
		p, number := r.computeNumbered(ctx)
		if r.opts.Passed != nil {
			r.opts.Passed(p, time.Since(begun))
		}
		r.carryOut(ctx, p, number)
		r.tellOutages()
		r.settled()
		select {
		case <-r.kicks:
		case <-whole.C:
			r.wholePass(beside)
		case <-zones.C:
			r.readOutside(beside)
		case <-hosts.C:
			r.lookAtSick(beside)
			r.regain(beside)
		case <-files.C:
			r.readFilesAside(beside)
		case <-tags.C:
			r.readTagsAside(beside)
		case <-r.stop:
			r.stopLookups()
			r.wait()
			r.leaveCopy(ctx)
			return nil
		case <-ctx.Done():
			r.wait()
			return nil
		}
	}
}

// followDrift has all drift noted from now on.
func (r *running) followDrift() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drifting = &drifting{}
}

// wholePass has everything read anew, and cleared away what nobody needs.
func (r *running) wholePass(ctx context.Context) {
	r.readAll(ctx)
	for _, h := range r.gone() {
		r.read(ctx, h, 0)
	}
	if r.allIdle() {
		r.forgetGone()
	}
	r.sweeping.start(&r.besides, func() {
		r.sweeping.begin()
		r.sweep(ctx)
	})
}

// readTagsAside has tags looked up, and tells where something has come of it.
func (r *running) readTagsAside(ctx context.Context) {
	r.tagging.start(&r.besides, func() {
		r.tagging.begin()
		if r.readTags(ctx, byHead, tagTime) {
			r.kick()
		}
	})
}

// holdLeases takes the leases of all hosts in reach, waiting for another controller if need be; false:
// asked to stop. A host that doesn't answer, or whose keeper doesn't, is brought back aside.
func (r *running) holdLeases(ctx, beside context.Context) bool {
	for {
		without, err := r.own(ctx, slices.DeleteFunc(r.allHosts(), r.mute))
		r.setWaiting(err)
		if err == nil {
			for _, u := range without {
				r.notice("error", "", u.why)
			}
			return true
		}
		select {
		case <-time.After(retryHeld):
		case <-r.stop:
			return false
		case <-ctx.Done():
			return false
		}
		r.look(beside)
	}
}

// mute says whether a host's keeper runs and doesn't answer.
func (r *running) mute(h *host) bool {
	k := current(h.snapshot().Keepers, r.fleetName())
	return k != nil && k.State == fleet.StateRunning && h.keeper() == nil
}

func (c *Controller) setWaiting(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	c.mu.Lock()
	known := c.waiting == text
	c.waiting = text
	c.mu.Unlock()
	if !known && text != "" {
		c.notice("warning", "", "waiting: "+text)
	}
}

// watchHosts listens to the engines' and keepers' events of every known host, once each.
func (r *running) watchHosts(ctx context.Context) {
	known := r.allHosts()
	for h, cancel := range r.watched {
		if !slices.Contains(known, h) { // closed, or opened anew in another way
			cancel()
			delete(r.watched, h)
		}
	}
	for _, h := range known {
		if r.watched[h] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		r.watched[h] = cancel
		events := h.engine.Events(ctx, r.fleetName())
		r.g.Go(func() error { r.listen(ctx, h, events); return nil })
		r.g.Go(func() error { r.listenKeeper(ctx, h); return nil })
	}
}

// listen turns events into looks: what they say is never taken for what is.
func (r *running) listen(ctx context.Context, h *host, events <-chan fleet.Event) {
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return
			}
			if e.Kind == "attachment" && !h.knows(e.ID) {
				continue // others' containers come and go on others' networks
			}
			if (e.Kind == "attachment" || e.Kind == "container" && e.Labels[fleet.LabelNode] != "") && r.lookAt(ctx, h, e) {
				r.kick()
				continue
			}
			r.mark(ctx, h)
		case <-ctx.Done():
			return
		}
	}
}

// knows says whether a container is one of ours, as far as it was seen.
func (h *host) knows(id string) bool {
	st := h.snapshot()
	return slices.ContainsFunc(st.Instances, func(in fleet.Instance) bool { return in.ID == id }) ||
		slices.ContainsFunc(st.Keepers, func(k fleet.KeeperContainer) bool { return k.ID == id })
}

// lookAt reads the one container that an event is about; false: the whole host is to be read.
func (r *running) lookAt(ctx context.Context, h *host, e fleet.Event) bool {
	in, err := h.engine.Inspect(ctx, e.ID)
	switch {
	case errors.Is(err, fleet.ErrNotFound):
		h.saw(e.ID, patch{gone: true})
		return true
	case err != nil:
		return false
	}
	h.saw(in.ID, patch{in: in})
	return true
}

// listenKeeper follows what the keeper's probes say.
func (r *running) listenKeeper(ctx context.Context, h *host) {
	for ctx.Err() == nil {
		k := h.keeper()
		if k == nil {
			select {
			case <-time.After(retrySession):
			case <-ctx.Done():
			}
			continue
		}
		r.listenSession(ctx, h, k)
	}
}

func (r *running) listenSession(ctx context.Context, h *host, k Keeper) {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := k.Watch(watching)
	for {
		select {
		case _, ok := <-changes:
			if !ok {
				return
			}
			if _, err := h.keeperState(ctx); err == nil {
				r.kick()
			}
		case <-k.Done():
			r.mark(ctx, h)
			return
		case <-ctx.Done():
			return
		}
	}
}

// mark has a host read, and brought back if it was lost.
func (r *running) mark(ctx context.Context, h *host) {
	r.read(ctx, h, settle)
	if _, err := h.writable(); err != nil {
		r.bringBack(ctx, h)
	}
}

// lookAtSick reads hosts with unhealthy nodes or paused layers anew: how long a node has been unhealthy, or
// healthy again, is told by no event.
func (r *running) lookAtSick(ctx context.Context) {
	for _, h := range r.allHosts() {
		if st := h.snapshot(); st.Reachable && (sick(&st) || paused(&st)) {
			r.read(ctx, h, 0)
		}
	}
}

func sick(st *fleet.HostState) bool {
	for i := range st.Instances {
		in := &st.Instances[i]
		result, probed := st.Keeper.ProbeResult(in.ID)
		if in.Running() && (in.Health == fleet.HealthUnhealthy || probed && !result.Healthy) {
			return true
		}
	}
	return false
}

func paused(st *fleet.HostState) bool {
	return st.Keeper != nil && slices.ContainsFunc(st.Keeper.Records, func(rec fleet.Record) bool {
		return strings.HasPrefix(rec.Key, fleet.PausePrefix)
	})
}

// settled notes that the first pass is over, once nothing is at hand.
func (r *running) settled() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.offered = true
}
