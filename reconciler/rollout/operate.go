package rollout

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// operate is the change itself, up to the gate.
func (s *step) operate() error {
	switch s.op.Kind {
	case plan.Restart:
		return s.restart()
	case plan.Redeploy:
		return s.redeploy()
	case plan.Remove:
		return s.remove()
	}
	return fmt.Errorf("%s: no such operation: %q", s.op.ID, s.op.Kind)
}

// create makes a node that isn't there.
func (s *step) create() error {
	if err := s.world.Hosts.Prepare(s.ctx, s.op.Host, s.op.ID.Environment); err != nil {
		return err
	}
	id, err := s.container()
	if err != nil {
		return err
	}
	if err := s.restartText(); err != nil {
		return err
	}
	return s.startAndGate(s.op.Host, id)
}

// restartText notes which restart text a new container begins with, so that it isn't restarted for it.
func (s *step) restartText() error {
	if s.l.Spec == nil {
		return nil
	}
	err := s.world.Records.PutRecord(s.ctx, s.op.Host, fleet.RestartKey(s.op.ID), fleet.RestartRecord{Text: s.l.Spec.Restart})
	if err != nil {
		return fmt.Errorf("recording the restart text of %s: %w", s.op.ID, err)
	}
	return nil
}

// start starts a node that was stopped.
func (s *step) start() error { return s.startAndGate(s.op.Host, s.op.Instance.ID) }

func (s *step) startAndGate(host, id string) error {
	s.say(Progress{Phase: PhaseOperate})
	release, err := s.slot(host)
	if err != nil {
		return err
	}
	s.world.Names.Hold(s.op.ID)
	err = s.alone(host, id)
	release() // another node's start need not wait for the look at this one
	if err != nil {
		return err
	}
	in, err := s.saw(host, id)
	if err != nil {
		return err
	}
	return s.serve(in)
}

// serve gates an instance that was started, makes it the current one, and gives it its names.
func (s *step) serve(in fleet.Instance) error {
	if err := s.gate(in); err != nil {
		return err
	}
	if err := s.world.Records.Promote(s.ctx, in); err != nil {
		return fmt.Errorf("recording that generation %d of %s serves: %w", in.Generation, s.op.ID, err)
	}
	return s.restore()
}

// restart keeps the container. What was wanted is on the keeper's disk before it is done, with the time of
// the last start, so that a restart is neither forgotten nor made twice.
func (s *step) restart() error {
	in := *s.op.Instance
	err := s.world.Records.PutRecord(s.ctx, in.Host, fleet.RestartKey(s.op.ID),
		fleet.RestartRecord{Text: s.l.Spec.Restart, StartedAt: in.StartedAt})
	if err != nil {
		return fmt.Errorf("recording the restart of %s: %w", s.op.ID, err)
	}
	release, err := s.slot(in.Host)
	if err != nil {
		return err
	}
	defer release()
	s.say(Progress{Phase: PhaseOperate})
	e, err := s.engine(in.Host)
	if err != nil {
		return err
	}
	s.changed = true
	if err := e.Restart(s.ctx, in.ID, s.l.Spec.Stop.Signal, s.l.Spec.Stop.Grace); err != nil {
		return fmt.Errorf("restarting %s on %s: %w", s.op.ID, in.Host, err)
	}
	release()
	if in, err = s.saw(in.Host, in.ID); err != nil {
		return err
	}
	return s.gate(in)
}

// redeploy puts a new container into the node's place. The old one is only stopped: it is removed when the
// layer's rollout has ended.
func (s *step) redeploy() error {
	if err := s.world.Hosts.Prepare(s.ctx, s.op.Host, s.op.ID.Environment); err != nil {
		return err
	}
	id, err := s.container()
	if err != nil {
		return err
	}
	// Where the keeper's records were lost, the text alone would make the running container look as if it
	// had never been healthy.
	if old := s.op.Instance; old != nil && old.Running() && old.ID != id {
		if err := s.world.Records.Promote(s.ctx, *old); err != nil {
			return fmt.Errorf("recording that generation %d of %s serves: %w", old.Generation, s.op.ID, err)
		}
	}
	if err := s.restartText(); err != nil {
		return err
	}
	if err := s.swap(id); err != nil {
		return err
	}
	in, err := s.saw(s.op.Host, id)
	if err != nil {
		return err
	}
	if err := s.gate(in); err != nil {
		return err
	}
	if err := s.world.Records.Promote(s.ctx, in); err != nil {
		return fmt.Errorf("recording that generation %d of %s serves: %w", in.Generation, s.op.ID, err)
	}
	return nil
}

// alone starts a container once nothing else of its node runs.
func (s *step) alone(host, id string) error {
	if err := s.endOthers(); err != nil {
		return err
	}
	if s.overtaken() {
		return ErrOvertaken
	}
	return s.startClear(host, id)
}

// swap stops the old container and starts the new one, with nothing in between, but for a newer revision:
// what that doesn't want is not started any more.
func (s *step) swap(id string) error {
	release, err := s.slot(s.op.Host)
	if err != nil {
		return err
	}
	defer release()
	s.say(Progress{Phase: PhaseOperate})
	if err := s.endOthers(); err != nil {
		return err
	}
	if old := s.op.Instance; old != nil && old.Running() && old.ID != id {
		if err := s.stopOld(*old); err != nil {
			return err
		}
	}
	if s.overtaken() {
		return ErrOvertaken
	}
	return s.startClear(s.op.Host, id)
}

func (s *step) stopOld(old fleet.Instance) error {
	// Without a record the newest that was ever started counts as the current one; the new container is
	// not to count before it was healthy.
	if err := s.world.Records.Promote(s.ctx, old); err != nil {
		return fmt.Errorf("recording that generation %d of %s serves: %w", old.Generation, s.op.ID, err)
	}
	if err := s.givenUp(s.o); err != nil {
		return err
	}
	return s.end(old)
}

// container returns the ID of the new container: the one that was prepared, or one made now.
func (s *step) container() (string, error) {
	if c := s.op.Candidate; c != nil {
		return c.ID, nil
	}
	if s.op.Container == nil {
		return "", fmt.Errorf("%s: the plan holds no container for it", s.op.ID)
	}
	s.say(Progress{Phase: PhasePrepare})
	if err := s.pull(s.op, s.o); err != nil {
		return "", err
	}
	release, err := s.slot(s.op.Host)
	if err != nil {
		return "", err
	}
	defer release()
	s.made, err = s.make(s.ctx, s.op)
	return s.made, err
}

// make creates an operation's container and tells what is known of it.
func (w *Worker) make(ctx context.Context, op plan.Operation) (string, error) {
	e, err := w.world.Hosts.Engine(op.Host)
	if err != nil {
		return "", err
	}
	id, err := e.Create(ctx, *op.Container)
	if err != nil {
		return "", fmt.Errorf("creating %s on %s: %w", op.ID, op.Host, err)
	}
	in, err := e.Inspect(ctx, id)
	if err != nil {
		return "", fmt.Errorf("looking at the new container of %s on %s: %w", op.ID, op.Host, err)
	}
	w.world.Hosts.Saw(in)
	return id, nil
}

// pull sees to it that the image is on the operation's host. It may take long, so that it is given up as every wait is.
func (w *Worker) pull(op plan.Operation, o *overtaking) error {
	if op.Pull == "" {
		return nil
	}
	e, err := w.world.Hosts.Engine(op.Host)
	if err != nil {
		return err
	}
	if _, err := e.Image(w.ctx, op.Pull); err == nil {
		return nil
	} else if !errors.Is(err, fleet.ErrNoImage) {
		return fmt.Errorf("looking for image %s on %s: %w", op.Pull, op.Host, err)
	}
	ctx, end := w.unlessGivenUp(o)
	defer end()
	if err := e.Pull(ctx, op.Pull); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return fmt.Errorf("pulling %s on %s for %s: %w", op.Pull, op.Host, op.ID, err)
	}
	return w.notePulled(w.ctx, e, op)
}

// notePulled remembers that evenkeel brought the image, and therefore may remove it one day.
func (w *Worker) notePulled(ctx context.Context, e Engine, op plan.Operation) error {
	info, err := e.Image(ctx, op.Pull)
	if err != nil {
		return fmt.Errorf("looking at image %s on %s: %w", op.Pull, op.Host, err)
	}
	r := fleet.ImageRecord{
		ID: info.ID, Ref: op.Pull, Environment: op.ID.Environment, Layer: op.ID.Layer, Written: op.Image, Pulled: time.Now(),
	}
	if err := w.world.Records.PutRecord(ctx, op.Host, fleet.ImageKey(info.ID), r); err != nil {
		return fmt.Errorf("recording that %s was pulled on %s: %w", op.Pull, op.Host, err)
	}
	return nil
}

// prepare has all images on their hosts and all new containers created before the first node is touched, unless o tells
// that a newer revision wants others.
func (w *Worker) prepare(l plan.Layer, ops []plan.Operation, o *overtaking) error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var first error
	for i := range ops {
		op := &ops[i]
		if op.Kind != plan.Redeploy || op.Candidate != nil || op.Container == nil {
			continue
		}
		wg.Go(func() {
			err := w.prepareOne(l, op, o)
			if err == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			phase := PhaseGivenUp
			switch {
			case planned(err):
				phase = PhaseOvertaken
			case !untouched(err):
				w.hold(l, firstRetry)
			}
			w.fail(l, *op, phase, err, "")
			if first == nil {
				first = err
			}
		})
	}
	wg.Wait()
	return first
}

func (w *Worker) prepareOne(l plan.Layer, op *plan.Operation, o *overtaking) error {
	w.report(l, *op, Progress{Phase: PhasePrepare})
	if err := w.world.Hosts.Prepare(w.ctx, op.Host, op.ID.Environment); err != nil {
		return err
	}
	if err := w.pull(*op, o); err != nil {
		return err
	}
	release, err := w.world.Slots.Take(w.ctx, op.Host)
	if err != nil {
		return err
	}
	defer release()
	id, err := w.make(w.ctx, *op)
	if err != nil {
		return err
	}
	w.report(l, *op, Progress{Phase: PhaseQueued})
	op.Candidate = &fleet.Instance{NodeID: op.ID, Host: op.Host, ID: id, Generation: op.Container.Generation}
	return nil
}

// resize changes the limits of a running node in place.
func (s *step) resize() error {
	s.say(Progress{Phase: PhaseOperate})
	in := *s.op.Instance
	e, err := s.engine(in.Host)
	if err != nil {
		return err
	}
	if err := e.Update(s.ctx, in.ID, s.op.Limits); err != nil {
		return fmt.Errorf("resizing %s on %s: %w", s.op.ID, in.Host, err)
	}
	_, err = s.saw(in.Host, in.ID)
	return err
}

// remove ends a node for good.
func (s *step) remove() error {
	s.say(Progress{Phase: PhaseOperate})
	in := *s.op.Instance
	release, err := s.slot(in.Host)
	if err != nil {
		return err
	}
	defer release()
	e, err := s.engine(in.Host)
	if err != nil {
		return err
	}
	s.changed = true
	signal, grace := stopOf(s.l, in)
	if in.Running() {
		if err := e.Stop(s.ctx, in.ID, signal, grace); err != nil && !errors.Is(err, fleet.ErrNotFound) {
			return fmt.Errorf("stopping %s on %s: %w", s.op.ID, in.Host, err)
		}
	}
	if err := e.Remove(s.ctx, in.ID); err != nil {
		return fmt.Errorf("removing %s on %s: %w", s.op.ID, in.Host, err)
	}
	s.world.Hosts.Gone(in.Host, in.ID)
	for _, key := range []string{fleet.CurrentKey(s.op.ID), fleet.RestartKey(s.op.ID)} {
		if err := s.world.Records.DeleteRecord(s.ctx, in.Host, key); err != nil {
			return fmt.Errorf("forgetting %s on %s: %w", s.op.ID, in.Host, err)
		}
	}
	return s.world.Names.Restore(s.ctx, s.op.ID)
}

// defaultGrace is what a node is given whose layer and container say nothing.
const defaultGrace = 10 * time.Second

// stopOf says how a node is stopped: as its layer wants it now, else as its container was made.
func stopOf(l plan.Layer, in fleet.Instance) (signal string, grace time.Duration) {
	switch {
	case l.Spec != nil:
		return l.Spec.Stop.Signal, l.Spec.Stop.Grace
	case in.StopGrace > 0:
		return "", in.StopGrace
	}
	return "", defaultGrace
}
