package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// gatePoll is how often a node that was started is looked at.
const gatePoll = 100 * time.Millisecond

// gateError is a node that did not become healthy in time.
type gateError struct{ reason string }

func (e *gateError) Error() string { return "not healthy: " + e.reason }

// gate returns once the instance has been healthy for minHealthy, within healthTimeout.
func (s *step) gate(in fleet.Instance) error {
	p := policy(s.l, s.op)
	s.say(Progress{Phase: PhaseGate, Wait: plan.Duration(p.MinHealthy)})
	if err := s.world.Names.Probe(s.ctx, in); err != nil {
		return fmt.Errorf("having %s probed: %w", s.op.ID, err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, p.HealthTimeout)
	defer cancel()
	g := gating{step: s, in: in, restarts: in.RestartCount}
	for {
		healthy, reason := g.look(ctx)
		if healthy && g.healthyFor() >= p.MinHealthy {
			s.world.Hosts.Saw(g.in)
			return nil
		}
		over := ctx.Err() != nil && s.ctx.Err() == nil
		if g.barred != nil && (over || s.stopped() && notOurs(g.barred)) {
			return fmt.Errorf("%s at its gate: %w", s.op.ID, g.barred)
		}
		g.startAgain(ctx)
		if g.hopeless() || over {
			return &gateError{g.why(reason)}
		}
		if g.hurried(healthy) {
			return ErrInterrupted
		}
		if err := s.gateWait(ctx, g.nap(healthy, p.MinHealthy)); err != nil {
			return err
		}
	}
}

// gateWait waits for the next look. A node at its gate may still get healthy when evenkeel is asked to stop; a newer
// revision of it doesn't wait.
func (s *step) gateWait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-s.o.c:
		return ErrOvertaken
	case <-ctx.Done():
		return context.Cause(s.ctx) // nil when only the gate's time is over
	}
}

// gating is what the gate has seen so far.
type gating struct {
	*step
	in       fleet.Instance
	restarts int
	since    time.Time // healthy since; zero: it isn't
	ended    string    // how it ended when it was last seen not to run
	last     string    // the last reason that was seen in time
	exited   time.Time // since when it has been seen to have ended; zero: it runs
	again    bool      // it was started once more
	barred   error     // why its host may not be asked now; nil: it may
	asked    time.Time // when evenkeel was seen to be asked to stop; zero: it wasn't
}

// StopPatience is how long a node that isn't healthy is waited for once evenkeel is asked to stop, and how much
// longer one that is healthy, and not yet for long enough. The next pass goes on with what is left.
const StopPatience = 30 * time.Second

// hurried says whether evenkeel was asked to stop and has waited for the node for long enough.
func (g *gating) hurried(healthy bool) bool {
	select {
	case <-g.stop:
	default:
		return false
	}
	if g.asked.IsZero() {
		g.asked = time.Now()
		g.say(Progress{Phase: PhaseGate, Message: fmt.Sprintf("evenkeel is asked to stop, and waits at most %s for it to be healthy", StopPatience)})
	}
	waited := time.Since(g.asked)
	return waited >= 2*StopPatience || waited >= StopPatience && !healthy
}

// notOurs says whether the fleet is another's: the host answers, and the lease isn't ours any more. What is
// to be done for its node is left to whoever has it.
func notOurs(err error) bool {
	return errors.Is(err, fleet.ErrFenced) && !errors.Is(err, fleet.ErrUnreachable)
}

// exitPatience is how long a container may be seen ended before nobody is thought to start it again: the
// engine doesn't, whatever its policy, where somebody stopped or killed it by hand.
const exitPatience = 2 * time.Second

// startAgain starts, once, a container that ended and that the engine leaves alone.
func (g *gating) startAgain(ctx context.Context) {
	if g.again || g.exited.IsZero() || time.Since(g.exited) < exitPatience {
		return
	}
	g.again, g.exited = true, time.Time{}
	e, err := g.engine(g.in.Host)
	if err == nil {
		g.say(Progress{Phase: PhaseGate, Message: g.ended + "; it is started once more"})
		err = e.Start(ctx, g.in.ID)
	}
	if err != nil {
		g.last = err.Error()
	}
}

// why is the reason that tells most: a process that ended before all others.
func (g *gating) why(reason string) string {
	switch {
	case g.ended != "" && g.restarts > 0:
		return fmt.Sprintf("%s (restarted %d times)", g.ended, g.restarts)
	case g.ended != "":
		return g.ended
	case g.last != "":
		return g.last
	}
	return reason
}

func (g *gating) healthyFor() time.Duration {
	if g.since.IsZero() {
		return 0
	}
	return time.Since(g.since)
}

// nap is the time to the next look: not past the moment at which minHealthy is reached.
func (g *gating) nap(healthy bool, minHealthy time.Duration) time.Duration {
	if healthy {
		return max(time.Millisecond, min(gatePoll, minHealthy-g.healthyFor()))
	}
	return gatePoll
}

// hopeless: it has ended, and was started once more already.
func (g *gating) hopeless() bool {
	return g.in.State == fleet.StateDead || g.again && !g.exited.IsZero() && time.Since(g.exited) >= exitPatience
}

// look looks once; what can't be seen isn't healthy.
func (g *gating) look(ctx context.Context) (bool, string) {
	reason := g.unhealthy(ctx)
	if reason != "" {
		g.since = time.Time{}
		if ctx.Err() == nil {
			g.last = reason
		}
		return false, reason
	}
	if g.since.IsZero() {
		g.since = time.Now()
	}
	return true, ""
}

func (g *gating) unhealthy(ctx context.Context) string {
	e, err := g.engine(g.in.Host)
	g.barred = err
	if err != nil {
		return err.Error()
	}
	in, err := e.Inspect(ctx, g.in.ID)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
			return "its state could not be read in time"
		}
		return err.Error()
	}
	restarted := in.RestartCount > g.restarts || !in.StartedAt.Equal(g.in.StartedAt) && !g.in.StartedAt.IsZero()
	g.in, g.restarts = in, in.RestartCount
	switch {
	case in.State != fleet.StateExited:
		g.exited = time.Time{}
	case g.exited.IsZero():
		g.exited = time.Now()
	}
	switch {
	case in.State != fleet.StateRunning:
		g.ended = exitText(in)
		return g.ended
	case restarted:
		return fmt.Sprintf("it was restarted %d times", in.RestartCount)
	case in.Health == fleet.HealthStarting:
		return "its health check has not succeeded yet"
	case in.Health == fleet.HealthUnhealthy:
		return "its health check fails"
	}
	return g.probes(ctx)
}

func (g *gating) probes(ctx context.Context) string {
	r, ok, err := g.world.Names.Health(ctx, g.in.Host, g.in.ID)
	switch {
	case err != nil:
		return "the keeper can't be asked: " + err.Error()
	case !ok:
		return "the keeper has not looked at it yet"
	case r.Healthy:
		return ""
	case r.Last != "":
		return r.Last
	}
	return "its probes have not succeeded yet"
}

func exitText(in fleet.Instance) string {
	text := fmt.Sprintf("it is %s with exit code %d", in.State, in.ExitCode)
	if in.OOMKilled {
		text += ", killed for want of memory"
	}
	if in.Error != "" {
		text += ": " + in.Error
	}
	return text
}
