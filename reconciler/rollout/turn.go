package rollout

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// guardPoll is how often a node that waits for others to serve looks again.
const guardPoll = 250 * time.Millisecond

// turn hands out a layer's paced operations one after another. Several goroutines may take turns, as many
// as nodes may be unavailable.
type turn struct {
	worker *Worker

	weigh  Lock // held while a node is chosen, so that two are never weighed at once
	newest plan.Layer
	tried  map[int]string // nodes that ended in this rollout, by the hash that was wanted
	over   bool
}

// run takes turns until nothing is left, something failed, or the worker is stopped.
func (t *turn) run() {
	for {
		view, op, o := t.choose()
		if op == nil {
			return
		}
		l := view.Plan
		err := t.worker.carryOut(l, *op, o, t.again(view, *op))
		t.worker.release(op.Node)
		over := t.end(l, *op, err)
		// The delay is from a node that ended to the next one. One that was overtaken has not ended, and what
		// mends one that failed isn't held up.
		ended := err == nil || !over && !errors.Is(err, ErrOvertaken) && !errors.Is(err, ErrUnguarded)
		if ended {
			t.worker.delayFrom(policy(l, *op).Delay)
		}
		if over {
			return
		}
		if ended && !t.last() {
			t.worker.report(l, *op, Progress{Phase: PhaseDelay, Wait: plan.Duration(policy(l, *op).Delay)})
			if t.worker.wait(policy(l, *op).Delay, nil) != nil {
				return
			}
		}
	}
}

// choose takes the next node that the guard lets go, waiting for it if need be; nil: nothing is left.
func (t *turn) choose() (View, *plan.Operation, *overtaking) {
	var since time.Time
	for {
		view, op, o, reason := t.try()
		switch {
		case op != nil:
			return view, op, o
		case reason == "":
			return View{}, nil, nil
		case !t.waitForGuard(view, reason, &since):
			t.finish()
			return View{}, nil, nil
		}
	}
}

// finish has nothing more be taken.
func (t *turn) finish() {
	if t.weigh.Take(t.worker.ctx) == nil {
		defer t.weigh.Give()
		t.over = true
	}
}

// try weighs and takes the next node at once, so that two are never weighed side by side. Without a node
// it says why the next one may not go now; without a reason nothing is left.
func (t *turn) try() (View, *plan.Operation, *overtaking, string) {
	w := t.worker
	if t.weigh.Take(w.ctx) != nil {
		return View{}, nil, nil, ""
	}
	defer t.weigh.Give()
	if t.over || w.stopped() {
		return View{}, nil, nil, ""
	}
	view, err := w.world.Planner.Layer(w.ctx, w.layer)
	if err != nil {
		w.fail(t.newest, firstPaced(t.newest), PhaseGivenUp, err, "")
		t.over = true
		return View{}, nil, nil, ""
	}
	t.newest = view.Plan
	op, reason := t.pick(view)
	if op == nil {
		return view, nil, nil, reason
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return view, op, w.take(view.Plan, *op), ""
}

// pick returns the first operation that may go now, or why the first one may not; neither: none is left. One of which
// it isn't known yet whether its node serves holds up none that may go.
func (t *turn) pick(v View) (*plan.Operation, string) {
	w := t.worker
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.heldBack(v.Plan) || v.Plan.Paused != "" {
		return nil, ""
	}
	ops := slices.Clone(v.Plan.Operations)
	slices.SortStableFunc(ops, byTurn)
	undecided := ""
	for i := range ops {
		op := &ops[i]
		if unpaced(*op) || w.busy[op.Node] != nil || w.exhausted(*op) || t.tried[op.Node] == layerHash(v.Plan) {
			continue
		}
		reason := guard(v, *op, w.busyNodes())
		switch {
		case reason == "":
			return op, ""
		case !v.Unknown[op.Node]:
			return nil, cmp.Or(undecided, reason)
		}
		undecided = cmp.Or(undecided, reason)
	}
	return nil, undecided
}

// again weighs a node once more that was taken while a view was so, and that has left its names since. One that did
// not serve then may have served when it left them.
func (t *turn) again(v View, op plan.Operation) func(served bool) error {
	return func(served bool) error {
		if !guarded(v, op) && (!served || !guardable(v, op)) {
			return nil
		}
		w := t.worker
		if err := t.weigh.Take(w.ctx); err != nil {
			return err
		}
		defer t.weigh.Give()
		now, err := w.world.Planner.Layer(w.ctx, w.layer)
		if err != nil {
			return err
		}
		now.Plan = v.Plan
		w.mu.Lock()
		busy := w.busyNodes()
		w.mu.Unlock()
		if reason := weigh(now, op, busy); reason != "" {
			return fmt.Errorf("%w: %s", ErrUnguarded, reason)
		}
		return nil
	}
}

// last says whether nothing would be begun after this node, so that no delay is due.
func (t *turn) last() bool {
	if t.weigh.Take(t.worker.ctx) != nil {
		return true
	}
	defer t.weigh.Give()
	if t.over || t.worker.stopped() {
		return true
	}
	view, err := t.worker.world.Planner.Layer(t.worker.ctx, t.worker.layer)
	if err != nil {
		return false
	}
	op, reason := t.pick(view)
	return op == nil && reason == ""
}

// end notes how a node ended, and says whether the rollout ends with it.
func (t *turn) end(l plan.Layer, op plan.Operation, err error) bool {
	if t.weigh.Take(t.worker.ctx) != nil {
		return true
	}
	defer t.weigh.Give()
	if err == nil {
		return t.over
	}
	if !untouched(err) || errors.Is(err, ErrGuard) {
		t.tried[op.Node] = layerHash(l)
	}
	switch {
	case planned(err), errors.Is(err, ErrUnguarded):
		return t.over
	case errors.Is(err, ErrInterrupted):
		t.over = true
	case policy(l, op).FailureAction == spec.FailurePause:
		t.over = true
	}
	return t.over
}

// waitForGuard waits a little for other nodes; false: the wait has been longer than healthTimeout.
func (t *turn) waitForGuard(v View, reason string, since *time.Time) bool {
	w := t.worker
	op := firstPaced(v.Plan)
	if since.IsZero() {
		*since = time.Now()
		w.report(v.Plan, op, Progress{Phase: PhaseGuard, Message: reason})
	}
	if time.Since(*since) > policy(v.Plan, op).HealthTimeout {
		w.hold(v.Plan, policy(v.Plan, op).HealthTimeout)
		w.fail(v.Plan, op, PhaseGivenUp, ErrGuard, reason)
		return false
	}
	return w.wait(guardPoll, nil) == nil
}

// delayFrom notes that a node has just ended.
func (w *Worker) delayFrom(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = time.Now().Add(d)
}

func firstPaced(l plan.Layer) plan.Operation {
	ops := slices.Clone(l.Operations)
	slices.SortStableFunc(ops, byTurn)
	for _, op := range ops {
		if !unpaced(op) {
			return op
		}
	}
	return plan.Operation{}
}
