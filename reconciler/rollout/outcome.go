package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// The same operation with the same causes is tried again after a while, longer each time, and not for ever.
const (
	firstRetry = 5 * time.Second
	lastRetry  = 5 * time.Minute
	mostTries  = plan.MostTries
	logLines   = 10
)

// failure is what is known of an operation that failed.
type failure struct {
	count int // of the node's own failures
	next  time.Time
}

func key(op plan.Operation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s %s", op.Node, op.Kind, op.Host)
	for _, c := range op.Causes {
		fmt.Fprintf(&b, "\n%s=%s", c.Field, c.To)
	}
	return b.String()
}

// exhausted says whether an operation failed and isn't to be tried now.
func (w *Worker) exhausted(op plan.Operation) bool {
	f := w.failures[key(op)]
	return f != nil && (f.count >= mostTries || time.Now().Before(f.next))
}

func (w *Worker) busyNodes() map[int]bool {
	m := make(map[int]bool, len(w.busy))
	for n := range w.busy {
		m[n] = true
	}
	return m
}

func (w *Worker) report(l plan.Layer, op plan.Operation, p Progress) {
	w.mu.Lock()
	p.Done, p.Total = w.count.of()
	w.mu.Unlock()
	w.send(l, op, p)
}

func (w *Worker) send(l plan.Layer, op plan.Operation, p Progress) {
	p.Time = time.Now()
	p.Revision = w.world.Revision()
	p.Environment, p.Layer, p.Node = l.Environment, l.Layer, op.Node
	p.Host, p.FromHost, p.Operation = op.Host, op.FromHost, op.Kind
	if p.Phase.Ended() {
		p.Causes = op.Causes
	}
	w.world.Report(p)
}

func (w *Worker) succeed(l plan.Layer, op plan.Operation, begun time.Time) {
	w.mu.Lock()
	w.count.finish(op.Node)
	delete(w.failures, key(op))
	w.failed = slices.DeleteFunc(w.failed, func(p Progress) bool { return p.Node == op.Node && p.Operation == op.Kind }) // made good
	p := Progress{Phase: PhaseDone, Took: plan.Duration(time.Since(begun))}
	p.Done, p.Total = w.count.of()
	w.mu.Unlock()
	w.send(l, op, p)
}

// fail notes and reports an operation that was not done.
func (w *Worker) fail(l plan.Layer, op plan.Operation, phase Phase, err error, message string) {
	w.mu.Lock()
	p := Progress{
		Time: time.Now(), Environment: l.Environment, Layer: l.Layer, Node: op.Node, Host: op.Host, Operation: op.Kind,
		Phase: phase, Error: err.Error(), Message: message,
	}
	p.Done, p.Total = w.count.of()
	w.keep(p)
	if phase == PhaseFailed || !untouched(err) {
		f := w.failures[key(op)]
		if f == nil {
			f = &failure{}
			w.failures[key(op)] = f
		}
		f.next = time.Now().Add(min(firstRetry<<f.count, lastRetry))
		if !elsewhere(err) {
			f.count++
		}
		var named *inNamesError
		if errors.As(err, &named) {
			f.count = min(f.count, mostTries-1) // what keeps it there, such as a token, is mended without a commit
		}
	}
	w.mu.Unlock()
	w.send(l, op, p)
}

// keep keeps what became of a node, once however often it is tried: the last failure, or, where it never failed,
// why it was given up. w.mu is held.
func (w *Worker) keep(p Progress) {
	before := slices.IndexFunc(w.failed, func(f Progress) bool { return f.Node == p.Node })
	switch {
	case p.Phase == PhaseOvertaken:
	case before < 0:
		w.failed = append(w.failed, p)
	case p.Phase == PhaseFailed || w.failed[before].Phase != PhaseFailed:
		w.failed[before] = p
	}
}

// elsewhere: the cause is a host out of reach, a lost lease, a newer revision or another node that has not
// let go yet, and no fault of the node's.
func elsewhere(err error) bool {
	var held *heldError
	return errors.As(err, &held) && held.ours || errors.Is(err, fleet.ErrUnreachable) || errors.Is(err, fleet.ErrFenced) || untouched(err)
}

// inNamesError is a node that could not be taken out of its names, and that was not touched.
type inNamesError struct {
	id  fleet.NodeID
	err error
}

func (e *inNamesError) Error() string {
	return fmt.Sprintf("taking %s out of its names: %s (it was not touched)", e.id, e.err)
}

func (e *inNamesError) Unwrap() error { return e.err }

// failed notes a node that was touched and did not end well, tells its last words, and pauses the layer
// where the policy says so. The pause is written before the failure is told, since a new plan follows that.
func (s *step) failed(err error) {
	if s.ctx.Err() != nil {
		s.fail(s.l, s.op, PhaseGivenUp, context.Cause(s.ctx), "cut short; the next pass mends it")
		return
	}
	var gate *gateError
	words := ""
	if errors.As(err, &gate) {
		words = s.lastWords()
	}
	if s.pauses(err) {
		s.pause(err)
	}
	s.fail(s.l, s.op, PhaseFailed, err, words)
}

// pauses says whether a failure holds the layer's other nodes back. What only set a node right doesn't.
func (s *step) pauses(err error) bool {
	return s.changed && !elsewhere(err) && s.l.Spec != nil && !s.op.Sick && s.op.Kind != plan.Start &&
		policy(s.l, s.op).FailureAction == spec.FailurePause
}

func (s *step) pause(err error) {
	e := s.world.Records.Pause(s.ctx, s.layer, fleet.PauseRecord{
		Hash: s.l.Spec.LayerHash, Node: s.op.Node, Time: time.Now(),
		Cause: fmt.Sprintf("%s of node %d failed: %s", s.op.Kind, s.op.Node, err),
	})
	if e != nil {
		s.hold(s.l, lastRetry) // this controller at least keeps to it
		s.say(Progress{Phase: PhaseGate, Error: fmt.Sprintf("pausing %s: %s", s.layer, e)})
	}
}

// lastWords are the last lines that the node wrote.
func (s *step) lastWords() string {
	id := ""
	switch {
	case s.op.Candidate != nil:
		id = s.op.Candidate.ID
	case s.made != "":
		id = s.made
	case s.op.Instance != nil:
		id = s.op.Instance.ID
	}
	e, err := s.engine(s.op.Host)
	if err != nil || id == "" {
		return ""
	}
	lines, err := e.Logs(s.ctx, id, logLines)
	if err != nil || len(lines) == 0 {
		return ""
	}
	return "its last lines:\n" + strings.Join(lines, "\n")
}
