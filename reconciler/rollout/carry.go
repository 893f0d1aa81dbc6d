package rollout

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// step is one operation of one node, being carried out.
type step struct {
	*Worker
	l     plan.Layer
	op    plan.Operation
	o     *overtaking
	begun time.Time
	made  string // the container that was created on the way
	// withdrawn: the node has left its layer's names and gets them back, whatever happens.
	withdrawn bool
	// changed: the operation has begun to change the node.
	changed bool
	// may says why the node may not be touched after all, once it has left its names, in which it served or not; nil:
	// nothing guards it.
	may    func(served bool) error
	served bool
}

// carryOut takes one node through its operation. Whatever becomes of it, a node that is left healthy has
// its names back. may is asked before the node is touched.
func (w *Worker) carryOut(l plan.Layer, op plan.Operation, o *overtaking, may func(served bool) error) error {
	s := &step{Worker: w, l: l, op: op, o: o, begun: time.Now(), may: may}
	err := s.run()
	switch {
	case err == nil:
		w.succeed(l, op, s.begun)
	case planned(err):
		w.fail(l, op, PhaseOvertaken, err, "")
	case untouched(err) && !s.changed:
		w.fail(l, op, PhaseGivenUp, err, "")
	case errors.Is(err, ErrInterrupted):
		w.fail(l, op, PhaseGivenUp, err, "it wasn't healthy yet; the next pass goes on with it")
	default:
		s.failed(err)
	}
	return err
}

func (s *step) run() error {
	switch s.op.Kind {
	case plan.Create:
		return s.create()
	case plan.Start:
		return s.start()
	case plan.Resize:
		return s.resize()
	}
	if err := s.portsFree(); err != nil {
		return err
	}
	if err := s.withdraw(); err != nil {
		return s.back(err)
	}
	if s.withdrawn && s.may != nil { // that took its time
		if err := s.may(s.served); err != nil {
			return s.back(err)
		}
	}
	err := s.operate()
	if err != nil && !s.changed {
		return s.back(err)
	}
	if err != nil || s.op.Kind == plan.Remove {
		return err
	}
	return s.restore()
}

// slot waits for the turn of a node that isn't touched yet. The wait is given up as every other is.
func (s *step) slot(host string) (release func(), err error) {
	c := s.world.Slots.of(host)
	select {
	case c <- struct{}{}:
		return sync.OnceFunc(func() { <-c }), nil
	case <-s.o.c:
		return nil, ErrOvertaken
	case <-s.stop:
		return nil, ErrInterrupted
	case <-s.ctx.Done():
		return nil, context.Cause(s.ctx)
	}
}

// overtaken says whether a newer revision changes the node at hand.
func (s *step) overtaken() bool {
	select {
	case <-s.o.c:
		return true
	default:
		return false
	}
}

// back gives an untouched node its names again.
func (s *step) back(err error) error {
	if !s.withdrawn || s.ctx.Err() != nil {
		return err
	}
	if e := s.world.Names.Restore(s.ctx, s.op.ID); e != nil {
		return fmt.Errorf("%w; giving it its names back: %w", err, e)
	}
	s.withdrawn = false
	return err
}

// withdraw takes the node out of the names and waits until nobody is sent to it any more.
func (s *step) withdraw() error {
	p := policy(s.l, s.op)
	if !p.RemoveFromDNS || !s.op.Intrusive {
		return s.givenUp(s.o)
	}
	s.say(Progress{Phase: PhaseWithdraw})
	s.withdrawn = true
	ctx, end := s.unlessGivenUp(s.o)
	done, err := s.world.Names.Withdraw(ctx, s.op.ID, string(s.op.Kind))
	end()
	if err != nil {
		return &inNamesError{s.op.ID, err}
	}
	s.served = done.Served
	if !done.External && !done.Internal && (s.op.DNS == nil || len(s.op.DNS.Withdraw) == 0) {
		return s.givenUp(s.o)
	}
	msg := ""
	if len(done.Stale) > 0 {
		msg = fmt.Sprintf("the keepers on %v are out of reach: names there may be stale", done.Stale)
	}
	for lasts := done.TTL; ; msg = "names led to it again for a while" {
		s.say(Progress{Phase: PhaseDrain, Wait: plan.Duration(lasts), Message: msg})
		if err := s.wait(lasts, s.o); err != nil {
			return err
		}
		if err := s.drain(p.DrainTimeout); err != nil {
			return err
		}
		if lasts = s.world.Names.Remembered(s.op.ID); lasts <= 0 {
			return nil
		}
	}
}

// unlessGivenUp is a context that ends when what o tells of, which is untouched, is given up.
func (w *Worker) unlessGivenUp(o *overtaking) (ctx context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(w.ctx)
	w.crew.Go(func() {
		select {
		case <-o.c:
			cancel(ErrOvertaken)
		case <-w.stop:
			cancel(ErrInterrupted)
		case <-ctx.Done():
		}
	})
	return ctx, func() { cancel(nil) }
}

// drain lets open connections end. What can't be looked at doesn't hold the rollout up.
func (s *step) drain(timeout time.Duration) error {
	if s.op.Instance == nil || !s.op.Instance.Running() || timeout <= 0 {
		return s.givenUp(s.o)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	type result struct {
		left int
		err  error
	}
	c := make(chan result, 1)
	s.crew.Go(func() {
		left, err := s.world.Names.Drain(ctx, *s.op.Instance, s.ports(), timeout)
		c <- result{left, err}
	})
	select {
	case r := <-c:
		if r.err != nil {
			s.say(Progress{Phase: PhaseDrain, Message: "open connections can't be seen: " + r.err.Error()})
			return s.wait(timeout, s.o)
		}
		if r.left > 0 {
			s.say(Progress{Phase: PhaseDrain, Message: fmt.Sprintf("%d connections still open after %s", r.left, timeout)})
		}
		return s.givenUp(s.o)
	case <-s.o.c:
		return ErrOvertaken
	case <-s.stop:
		return ErrInterrupted
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// ports are those that the instance was made with: a newer commit may have changed them.
func (s *step) ports() []uint16 {
	if ports, ok := s.op.Instance.TCPPorts(); ok {
		return ports
	}
	var ports []uint16
	if s.l.Spec != nil {
		for _, p := range s.l.Spec.Ports {
			if p.Protocol == spec.TCP {
				ports = append(ports, p.Port)
			}
		}
	}
	return ports
}

// restore gives the names back.
func (s *step) restore() error {
	s.say(Progress{Phase: PhaseRestore})
	if err := s.world.Names.Restore(s.ctx, s.op.ID); err != nil {
		return fmt.Errorf("giving %s its names back: %w (the next pass tries again)", s.op.ID, err)
	}
	s.withdrawn = false
	return nil
}

func (s *step) say(p Progress) { s.report(s.l, s.op, p) }

// engine is asked for before every write, since the lease has to be ours then.
func (s *step) engine(host string) (Engine, error) { return s.world.Hosts.Engine(host) }

// saw looks at an instance after a change.
func (s *step) saw(host, id string) (fleet.Instance, error) {
	e, err := s.engine(host)
	if err != nil {
		return fleet.Instance{}, err
	}
	in, err := e.Inspect(s.ctx, id)
	if err == nil {
		s.world.Hosts.Saw(in)
	}
	return in, err
}
