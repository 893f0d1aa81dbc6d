package rollout

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// Worker carries one layer's operations out. Creates and starts are begun as soon as they are offered;
// the rest is paced. It is idle when everything that it was offered has been done, failed, or held back.
type Worker struct {
	world World
	layer fleet.LayerID
	ctx   context.Context // ends everything at once
	stop  <-chan struct{} // closed: finish the nodes at hand, begin no other

	mu       sync.Mutex
	crew     Crew
	busy     map[int]*overtaking // nodes at hand
	failures map[string]*failure // by operation and causes
	pacing   bool
	prepares []string    // the hosts for which containers are being made ready
	readying *overtaking // of those
	held     held        // until when nothing is paced
	next     time.Time   // when the delay after the last node is over
	count    count
	failed   []Progress
}

// overtaking tells a node at hand that a newer revision changes it.
type overtaking struct {
	hash string
	host string // where the node is, or is to be
	// address is that of the container that is to be created; invalid: none is.
	address netip.Addr
	once    sync.Once
	c       chan struct{}
}

// held is how long nothing is paced of what was wanted: a preparation failed, or the guard's time was over.
type held struct {
	hash  string
	until time.Time
	count int
}

// hold keeps paced operations back for a while, longer each time that it happens to the same spec.
func (w *Worker) hold(l plan.Layer, least time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if hash := layerHash(l); w.held.hash != hash {
		w.held = held{hash: hash}
	}
	w.held.until = time.Now().Add(max(least, min(firstRetry<<w.held.count, lastRetry)))
	w.held.count = min(w.held.count+1, mostTries)
}

// heldBack says whether nothing is to be paced now. w.mu is held.
func (w *Worker) heldBack(l plan.Layer) bool {
	return w.held.hash == layerHash(l) && time.Now().Before(w.held.until)
}

// NewWorker returns an idle worker. ctx ends it at once; stop, closed, after the nodes at hand.
func NewWorker(ctx context.Context, stop <-chan struct{}, layer fleet.LayerID, w World) *Worker {
	return &Worker{
		world: w, layer: layer, ctx: ctx, stop: stop,
		busy: map[int]*overtaking{}, failures: map[string]*failure{},
	}
}

// Offer hands the worker its layer's newest plan. Nodes at hand that the plan's revision changes are told;
// what isn't paced is begun; pacing is begun where there is something to pace. may is asked of each operation whose
// node isn't at hand, so that no operation ends between its answer and what is begun: false passes it over.
func (w *Worker) Offer(l plan.Layer, may func(plan.Operation) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.overtake(l)
	if w.stopped() {
		return
	}
	w.recount(layerHash(l))
	var paced []plan.Operation
	for _, op := range l.Operations {
		switch {
		case w.busy[op.Node] != nil || w.exhausted(op):
		case !may(op):
		case unpaced(op):
			w.begin(l, op)
		default:
			paced = append(paced, op)
		}
	}
	if len(paced) == 0 || w.heldBack(l) {
		return
	}
	for _, op := range paced {
		w.count.expect(op.Node)
	}
	if !w.pacing {
		w.pacing = true
		for _, op := range paced {
			w.prepares = append(w.prepares, op.Host)
		}
		o := &overtaking{hash: layerHash(l), c: make(chan struct{})}
		w.readying = o
		w.crew.Go(func() { w.pace(l, paced, o) })
	}
}

// recount begins to count anew where a plan begins another rollout. w.mu is held.
func (w *Worker) recount(hash string) {
	if !w.idle() && w.count.hash == hash {
		return
	}
	w.count = count{hash: hash}
	for node, o := range w.busy {
		if o.hash == hash { // it was taken from the newest plan before that was offered
			w.count.add(node)
		}
	}
}

// unpaced operations never interrupt a node that serves.
func unpaced(op plan.Operation) bool { return op.Kind == plan.Create || op.Kind == plan.Start }

func (w *Worker) begin(l plan.Layer, op plan.Operation) {
	o := w.take(l, op)
	w.crew.Go(func() {
		defer w.release(op.Node)
		_ = w.carryOut(l, op, o, nil) // its outcome is kept and reported
	})
}

// overtake tells the nodes at hand whose wanted state differs from the one that is being carried out.
func (w *Worker) overtake(l plan.Layer) {
	want := layerHash(l)
	for _, o := range w.busy {
		if o.hash != want {
			o.end()
		}
	}
	if w.readying != nil && w.readying.hash != want {
		w.readying.end()
	}
}

// end tells of it; more than once is as good.
func (o *overtaking) end() { o.once.Do(func() { close(o.c) }) }

func layerHash(l plan.Layer) string {
	if l.Spec == nil {
		return "removed"
	}
	return l.Spec.LayerHash
}

func (w *Worker) take(l plan.Layer, op plan.Operation) *overtaking {
	o := &overtaking{hash: layerHash(l), host: op.Host, c: make(chan struct{})}
	if op.Container != nil {
		o.address = op.Container.Address
	}
	w.busy[op.Node] = o
	w.count.add(op.Node)
	return o
}

// release lets a node go. A plan that was offered before may have passed it over, so another is asked for.
func (w *Worker) release(node int) {
	w.mu.Lock()
	delete(w.busy, node)
	w.mu.Unlock()
	w.world.Released()
}

// Wait returns when the worker is idle.
func (w *Worker) Wait() { <-w.crew.AtRest() }

// Idle says whether nothing is at hand.
func (w *Worker) Idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.idle()
}

// AtHand are the nodes that are being worked on.
func (w *Worker) AtHand() []fleet.NodeID {
	w.mu.Lock()
	defer w.mu.Unlock()
	nodes := make([]fleet.NodeID, 0, len(w.busy))
	for n := range w.busy {
		nodes = append(nodes, fleet.NodeID{Environment: w.layer.Environment, Layer: w.layer.Layer, Node: n})
	}
	return nodes
}

// Addresses are those of containers that the nodes at hand are about to get.
func (w *Worker) Addresses() []netip.Addr {
	w.mu.Lock()
	defer w.mu.Unlock()
	var taken []netip.Addr
	for _, o := range w.busy {
		if o.address.IsValid() {
			taken = append(taken, o.address)
		}
	}
	return taken
}

func (w *Worker) idle() bool { return len(w.busy) == 0 && !w.pacing }

// Busy says whether a node is at hand.
func (w *Worker) Busy(node int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.busy[node] != nil
}

// BusyOn says whether a node on a host is at hand, or one that is to be there.
func (w *Worker) BusyOn(host string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.busy {
		if o.host == host {
			return true
		}
	}
	return slices.Contains(w.prepares, host)
}

// Failed returns the operations that failed or were given up since the worker was made, and that have not
// been done since.
func (w *Worker) Failed() []Progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.failed)
}

func (w *Worker) stopped() bool {
	select {
	case <-w.stop:
		return true
	case <-w.ctx.Done():
		return true
	default:
		return false
	}
}

// pace carries the paced operations out, sequentially or simultaneously, and always ends. o tells while they are being
// made ready.
func (w *Worker) pace(l plan.Layer, ops []plan.Operation, o *overtaking) {
	var err error
	defer func() {
		w.mu.Lock()
		w.pacing = false
		w.mu.Unlock()
		if planned(err) {
			w.world.Released() // what overtook it was offered before, and passed over
		}
	}()
	err = w.prepare(l, ops, o)
	w.mu.Lock()
	w.prepares, w.readying = nil, nil
	w.mu.Unlock()
	if err != nil {
		return
	}
	if pace(l, ops) == spec.Simultaneous {
		w.simultaneously(l, ops)
		return
	}
	w.sequentially(l, ops)
}

func pace(l plan.Layer, ops []plan.Operation) spec.Strategy {
	if l.Spec == nil {
		return spec.Simultaneous
	}
	for _, op := range ops {
		if l.Spec.Update.For(string(op.Kind)).Strategy == spec.Sequential {
			return spec.Sequential
		}
	}
	return spec.Simultaneous
}

func (w *Worker) simultaneously(l plan.Layer, ops []plan.Operation) {
	var wg sync.WaitGroup
	w.mu.Lock()
	for _, op := range ops {
		if w.busy[op.Node] != nil {
			continue
		}
		o := w.take(l, op)
		wg.Go(func() {
			defer w.release(op.Node)
			_ = w.carryOut(l, op, o, nil) // its outcome is kept and reported
		})
	}
	w.mu.Unlock()
	wg.Wait()
}

// sequentially takes as many nodes at a time as the policy allows, each followed by the delay. The plan is
// asked for anew before each node, so that a newer revision is taken up at once.
func (w *Worker) sequentially(l plan.Layer, ops []plan.Operation) {
	w.mu.Lock()
	due := time.Until(w.next)
	w.mu.Unlock()
	// The delay after the last node holds for this rollout's first one too.
	if due > 0 && w.wait(due, nil) != nil {
		return
	}
	turn := &turn{worker: w, newest: l, tried: map[int]string{}}
	var wg sync.WaitGroup
	for range min(atOnce(l, ops), len(ops)) {
		wg.Go(turn.run)
	}
	wg.Wait()
}

func atOnce(l plan.Layer, ops []plan.Operation) int {
	n := 1
	for _, op := range ops {
		n = max(n, policy(l, op).MaxUnavailable)
	}
	return n
}

// policy is the update policy for an operation. A layer that is no longer wanted has none of its own.
func policy(l plan.Layer, op plan.Operation) spec.UpdatePolicy {
	if l.Spec == nil {
		return plan.RemovedPolicy()
	}
	return l.Spec.Update.For(string(op.Kind))
}

// byTurn sorts to the front what is to be done first: what doesn't serve, then the highest ordinal.
func byTurn(a, b plan.Operation) int {
	if a.Serving != b.Serving {
		if b.Serving {
			return -1
		}
		return 1
	}
	return cmp.Compare(b.Node, a.Node)
}

// wait returns after d, or earlier with the reason for which the wait was given up.
func (w *Worker) wait(d time.Duration, o *overtaking) error {
	if d <= 0 {
		return w.givenUp(o)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	var overtaken <-chan struct{}
	if o != nil {
		overtaken = o.c
	}
	select {
	case <-t.C:
		return nil
	case <-overtaken:
		return ErrOvertaken
	case <-w.stop:
		return ErrInterrupted
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
}

func (w *Worker) givenUp(o *overtaking) error {
	if err := context.Cause(w.ctx); err != nil {
		return err
	}
	if o == nil {
		return nil
	}
	select {
	case <-o.c:
		return ErrOvertaken
	case <-w.stop:
		return ErrInterrupted
	default:
		return nil
	}
}

// untouched says whether an operation ended before it changed anything.
func untouched(err error) bool {
	return planned(err) || errors.Is(err, ErrInterrupted) || errors.Is(err, ErrGuard) || errors.Is(err, ErrUnguarded)
}

// planned says whether an operation ended since another one is planned in its place.
func planned(err error) bool { return errors.Is(err, ErrOvertaken) || errors.Is(err, ErrGone) }
