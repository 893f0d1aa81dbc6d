package reconciler

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// retryLost is how often a pass that is at work looks after hosts that were lost to it.
const retryLost = 2 * time.Second

// Plan says what a pass would do, and changes nothing.
func (c *Controller) Plan(ctx context.Context) (plan.Plan, error) {
	if _, err := c.Fetch(ctx); err != nil {
		return plan.Plan{}, err
	}
	ctx, end := c.aside(ctx)
	defer end()
	c.lookAtAll(ctx)
	c.openGone(ctx)
	c.readFiles(ctx)
	c.readTags(ctx, byHead, tagPatience)
	return c.computeWhole(ctx), ctx.Err()
}

// Apply makes one pass: it carries out what is to be done and returns when nothing more can be. When stop
// is closed the nodes at hand are finished; when ctx ends, everything stops at once.
func (c *Controller) Apply(ctx context.Context, stop <-chan struct{}) (Result, error) {
	if _, err := c.Fetch(ctx); err != nil {
		return Result{}, err
	}
	beside, end := c.aside(ctx)
	defer end()
	c.lookBeside(ctx, beside, stop)
	without, err := c.own(ctx, c.allHosts())
	if err != nil {
		return Result{Revision: c.currentRevision()}, err
	}
	c.leading.Store(true)
	defer c.letGo(ctx)
	defer end() // before the leases are given back
	c.openGone(ctx)
	c.readFiles(ctx)
	r := Result{Revision: c.currentRevision(), Plan: c.computeWhole(ctx)}
	stop, halt := either(stop)
	defer halt()
	c.startWorkers(ctx, stop)
	pass := passing{beside: beside, stop: stop, halt: halt}
	r.Left = c.drive(ctx, pass, r.Plan, 0) // nothing has ended before the first
	if c.awaitHealth(ctx, pass) {
		p, number := c.computeNumbered(ctx)
		r.Left = c.drive(ctx, pass, p, number)
	}
	r.Problems = still(without)
	if held := c.yield.Load(); held != nil {
		r.Failed = c.failures()
		return r, held
	}
	c.sweep(ctx)
	r.Failed = c.failures()
	r.Problems = append(r.Problems, left(r.Left)...)
	r.Problems = append(r.Problems, c.external().problems()...)
	r.Problems = append(r.Problems, c.unjoined()...)
	r.Problems = append(r.Problems, c.lost(r.Problems)...)
	st := c.Current()
	r.Problems = append(r.Problems, c.unserved(&st, r)...)
	r.Converged = st.Converged && len(r.Failed) == 0 && len(r.Problems) == 0
	return r, ctx.Err()
}

// either returns a channel that is closed when stop is, or when halt is called.
func either(stop <-chan struct{}) (either <-chan struct{}, halt func()) {
	ended := make(chan struct{})
	once := sync.OnceFunc(func() { close(ended) })
	if stop == nil {
		return ended, once
	}
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		select {
		case <-stop:
			once()
		case <-ended:
		}
	}()
	return ended, func() {
		once()
		<-joined
	}
}

// letGo gives the leases back, also when ctx has ended.
func (c *Controller) letGo(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	c.leading.Store(false)
	c.giveBack(ctx)
}

// passing is what a pass is under way with.
type passing struct {
	beside context.Context // of what is done beside the workers
	stop   <-chan struct{}
	halt   func() // closes stop
}

// drive offers each new plan to the workers until they are idle and a fresh look leaves nothing to offer.
// It returns what is left. number is the plan's.
func (c *Controller) drive(ctx context.Context, pass passing, p plan.Plan, number int) plan.Plan {
	hosts := time.NewTicker(retryLost)
	defer hosts.Stop()
	stop := pass.stop
	for {
		busy := c.carryOut(ctx, p, number)
		if !busy {
			if !p.HasChanges || closed(pass.stop) || ctx.Err() != nil {
				return p
			}
			c.observeReachable(ctx)
			c.awaitBack(ctx, pass)
			p, number = c.computeNumbered(ctx)
			if !c.carryOut(ctx, p, number) && !c.endedSince(number) {
				return p
			}
		}
		select {
		case <-c.kicks:
		case <-hosts.C:
			c.regain(pass.beside)
		case <-c.idle():
			c.observeReachable(ctx)
		case <-stop:
			stop = nil
			c.stopLookups()
		case <-ctx.Done():
			c.wait()
			return p
		}
		if c.yield.Load() != nil {
			pass.halt()
		}
		p, number = c.computeNumbered(ctx)
	}
}

// carryOut begins what a plan asks for and says whether anything is at hand now.
func (c *Controller) carryOut(ctx context.Context, p plan.Plan, number int) bool {
	c.writeKeepers(ctx, p)
	if c.yield.Load() == nil {
		c.beginChores(ctx, p, number)
		c.settleOutside(ctx, p, number)
	}
	healthy := sync.OnceValue(c.healthy)
	for i := range p.Layers {
		l := p.Layers[i]
		if c.outdated(l.ID(), number) {
			continue
		}
		w := c.worker(l.ID())
		if w == nil {
			break
		}
		w.Offer(l, func(op plan.Operation) bool { // an operation may have ended just now
			return !c.outdated(l.ID(), number) && (op.Kind != plan.Create || c.ready(op.After, healthy))
		})
	}
	for i := range p.Settled {
		if w := c.workerAtHand(p.Settled[i].ID()); w != nil {
			w.Offer(p.Settled[i], func(plan.Operation) bool { return false }) // nothing is begun: it tells what is at hand
		}
	}
	return c.busy()
}

// healthy are the nodes that are there and were healthy.
func (c *Controller) healthy() map[fleet.NodeID]bool {
	nodes := map[fleet.NodeID]bool{}
	for _, n := range fleet.Nodes(c.observed()) {
		in := n.CurrentInstance()
		nodes[n.NodeID] = in != nil && in.Running() && n.Recorded > 0
	}
	return nodes
}

// ready says whether all nodes of the layers that an operation comes after are healthy.
func (c *Controller) ready(after []fleet.LayerID, healthy func() map[fleet.NodeID]bool) bool {
	if len(after) == 0 {
		return true
	}
	nodes := healthy()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range after {
		want := c.layer(l)
		if want == nil {
			continue
		}
		for i := 1; i <= want.Replicas; i++ {
			if !nodes[fleet.NodeID{Environment: l.Environment, Layer: l.Layer, Node: i}] {
				return false
			}
		}
	}
	return true
}

// startWorkers makes workers possible, under a context and a stop of their own.
func (c *Controller) startWorkers(ctx context.Context, stop <-chan struct{}) {
	defer func() {
		for _, h := range c.allHosts() {
			c.inherit(ctx, h)
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop = stop
	c.workers, c.ending = map[fleet.LayerID]*rollout.Worker{}, false
	c.ended, c.done = map[fleet.LayerID]int{}, map[string]int{}
	c.yield.Store(nil)
	c.newWorker = func(l fleet.LayerID) *rollout.Worker { return rollout.NewWorker(ctx, stop, l, c.world()) }
}

func (c *Controller) worker(l fleet.LayerID) *rollout.Worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.workers[l]
	if w == nil && c.newWorker != nil {
		w = c.newWorker(l)
		c.workers[l] = w
	}
	return w
}

// workerAtHand returns a layer's worker if it has anything at hand, or nil.
func (c *Controller) workerAtHand(l fleet.LayerID) *rollout.Worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.workers[l]; w != nil && !w.Idle() {
		return w
	}
	return nil
}

func (c *Controller) allWorkers() []*rollout.Worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := slices.SortedFunc(maps.Keys(c.workers), fleet.LayerID.Compare)
	workers := make([]*rollout.Worker, 0, len(ids))
	for _, id := range ids {
		workers = append(workers, c.workers[id])
	}
	return workers
}

func (c *Controller) allIdle() bool {
	for _, w := range c.allWorkers() {
		if !w.Idle() {
			return false
		}
	}
	return true
}

// endedSince says whether anything has ended since a plan's input was gathered: what it began, too, where that took no
// time. The end has asked for a newer plan.
func (c *Controller) endedSince(number int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := func(ended int) bool { return number <= ended }
	return slices.ContainsFunc(slices.Collect(maps.Values(c.ended)), since) || slices.ContainsFunc(slices.Collect(maps.Values(c.done)), since)
}

// outdated says whether an operation of a layer has ended since a plan's input was gathered: the plan may
// ask for the same once more. The end has asked for a newer plan.
func (c *Controller) outdated(l fleet.LayerID, number int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ended, ok := c.ended[l]
	return ok && number <= ended
}

// busy says whether anything is under way that a pass has to wait for.
func (c *Controller) busy() bool {
	if !c.allIdle() || c.inFlight(anyLookup) != nil || c.external().settling.underway() || c.awaitsZones() {
		return true
	}
	for _, h := range c.allHosts() {
		if h.writing.underway() {
			return true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, until := range c.chores {
		if until.Equal(atHand) {
			return true
		}
	}
	return false
}

// wait returns when all workers and chores are at rest.
func (c *Controller) wait() {
	for _, w := range c.allWorkers() {
		w.Wait()
	}
	<-c.choring.AtRest()
}

// idle is closed when all workers and chores are at rest. Until then it is the same channel, however often
// it is asked for: one goroutine waits.
func (c *Controller) idle() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resting == nil || closed(c.resting) {
		done := make(chan struct{})
		c.resting = done
		go func() {
			defer close(done)
			c.wait()
		}()
	}
	return c.resting
}

func (c *Controller) failures() []rollout.Progress {
	var failed []rollout.Progress
	for _, w := range c.allWorkers() {
		failed = append(failed, w.Failed()...)
	}
	return failed
}

// left says why a plan leaves things undone that no operation failed for.
func left(p plan.Plan) []string {
	problems := slices.Clone(p.Refused)
	for i := range p.Layers {
		l := &p.Layers[i]
		if l.Paused != "" {
			problems = append(problems, fmt.Sprintf("%s is paused: %s; commit a change of the layer (a new text in its redeploy tries the same again), or mend the node", l.ID(), l.Paused))
			continue // what waits, waits for that
		}
		for _, w := range l.WaitingAlike() {
			verb := "waits"
			if len(w.Nodes) > 1 {
				verb = "wait"
			}
			problems = append(problems, fmt.Sprintf("%s/%s %s: %s", l.ID(), w.Ordinals(), verb, w.Reason))
		}
	}
	for _, op := range p.Hosts {
		if op.Waits != "" {
			problems = append(problems, fmt.Sprintf("host %s: %s", op.Host, op.Waits))
		}
	}
	return problems
}

// lost says which wanted hosts are out of reach or have no keeper that answers, but for what is known.
func (c *Controller) lost(known []string) []string {
	told := func(problem string) bool {
		return slices.ContainsFunc(known, func(k string) bool { return strings.Contains(k, problem) })
	}
	var lost []string
	for _, h := range c.allHosts() {
		st := h.snapshot()
		c.mu.Lock()
		wanted := c.desired != nil && c.desired.Fleet.Host(h.name) != nil
		c.mu.Unlock()
		switch {
		case !wanted:
		case !st.Reachable && told(st.Problem), st.KeeperProblem != "" && told(st.KeeperProblem):
		case !st.Reachable:
			lost = append(lost, fmt.Sprintf("host %s is out of reach: %s", h.name, st.Problem))
		case st.KeeperProblem != "":
			lost = append(lost, st.KeeperProblem)
		}
	}
	return lost
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// compute plans with what was last seen and what is known of images. It waits for nobody.
func (c *Controller) compute(ctx context.Context) plan.Plan {
	p, _ := c.computeNumbered(ctx)
	return p
}

// computeNumbered is compute, with the number of the input that the plan is from.
func (c *Controller) computeNumbered(ctx context.Context) (plan.Plan, int) {
	unread := c.unread() // before anything is gathered: what has been read since may not be in it
	busy := c.nodesAtHand()
	c.noteHealth(c.observed())
	number, in := c.input()
	c.noteDrift(number, in, busy)
	read := plan.Read(in)
	in.Images = c.resolve(ctx, read.Unresolved())
	p := read.Compute(in.Images)
	for unread == "" && !c.keepWeighed(&in, p.Weighed) {
		p = plan.Compute(in)
	}
	if e := c.opts.Only; e != "" {
		p = plan.Only(p, c.fleetName(), e)
	}
	p = c.unready(p, unread)
	c.mu.Lock()
	defer c.mu.Unlock()
	p = c.repeats.Hold(p, c.writtenFor, time.Now())
	if number > c.planned { // workers compute side by side with the loop: the newest look counts
		c.plan, c.planned = p, number
		c.said.take(number, p)
	}
	return p, number
}

// keepWeighed keeps what the removals of the revision in force were weighed with, which decides until the
// next one. Where a plan that was computed beside this one was first, in takes that, and it returns false.
func (c *Controller) keepWeighed(in *plan.Input, w *plan.Weighed) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.revision != in.Revision:
	case c.weighed != in.Weighed:
		in.Weighed = c.weighed
		return false
	default:
		c.weighed = w
	}
	return true
}

// input numbers what it gathers: a higher number saw the same or more.
func (c *Controller) input() (number int, in plan.Input) {
	c.gathering.Lock()
	defer c.gathering.Unlock()
	c.mu.Lock()
	c.inputs++ // before anything is read: what ends from now on may not be in it
	number = c.inputs
	c.mu.Unlock()
	var taken []netip.Addr // before what was seen: what is created meanwhile is in one of the two
	for _, w := range c.allWorkers() {
		taken = append(taken, w.Addresses()...)
	}
	observed := c.observed()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said.learn(observed)
	return number, plan.Input{
		Revision: c.revision, Desired: c.desired, Observed: observed, KeeperVersion: c.opts.KeeperVersion,
		Weighed: c.weighed, Taken: taken, Tags: c.tags, Zones: c.zonesSeen(), Out: c.outNow(), Said: maps.Clone(c.said.digests),
	}
}
