package rollout

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// How long a container waits for what another one of ours holds, which is let go when that one has ended.
const (
	letGoPatience = 10 * time.Second
	letGoPoll     = 100 * time.Millisecond
)

// heldError: a container wasn't started, since another one has its address or a port of the host.
type heldError struct {
	by   fleet.Occupant
	ours bool // of this fleet: it will be let go, or the plan asks for it
	err  error
}

func (e *heldError) Error() string {
	if e.ours {
		return fmt.Sprintf("%s (container %s has not let go of it yet; it is tried again)", e.err, e.by.Name)
	}
	return fmt.Sprintf("%s (it is held by container %s, which isn't this fleet's: stop or remove that one)", e.err, e.by.Name)
}

func (e *heldError) Unwrap() error { return e.err }

// endOthers ends what else of the node runs: of no node two containers run.
func (s *step) endOthers() error {
	for _, in := range s.op.Others {
		if err := s.givenUp(s.o); err != nil {
			return err
		}
		if err := s.end(*in); err != nil {
			return err
		}
	}
	return nil
}

// portsFree says, before a node is touched, whether somebody else's container has a port of the host that
// the new one needs. What can't be looked at holds nothing up: the start tells.
func (s *step) portsFree() error {
	var ports []fleet.Published
	switch {
	case s.op.Kind != plan.Redeploy:
	case s.op.Container != nil: // also where it has been made meanwhile
		ports = s.op.Container.Ports
	case s.op.Candidate != nil:
		ports = s.op.Candidate.Published
	}
	if !slices.ContainsFunc(ports, func(p fleet.Published) bool { return p.HostPort != 0 }) {
		return nil
	}
	e, err := s.engine(s.op.Host)
	if err != nil {
		return err
	}
	occupants, err := e.Occupants(s.ctx)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	occupants = slices.DeleteFunc(occupants, func(o fleet.Occupant) bool { return o.Fleet == s.world.Fleet() })
	if by := holder(occupants, "", netip.Addr{}, ports); by != nil {
		return &heldError{by: *by, err: fmt.Errorf("%s is left as it is: a port that it publishes on %s is taken", s.op.ID, s.op.Host)}
	}
	return nil
}

// end stops one container of the node, with the signal that it was made with: a newer commit may have
// changed it along with the program.
func (s *step) end(in fleet.Instance) error {
	e, err := s.engine(in.Host)
	if err != nil {
		return err
	}
	s.changed = true
	_, grace := stopOf(s.l, in)
	if err := e.Stop(s.ctx, in.ID, "", grace); err != nil && !errors.Is(err, fleet.ErrNotFound) {
		return fmt.Errorf("stopping %s on %s: %w", s.op.ID, in.Host, err)
	}
	in.State = fleet.StateExited
	s.world.Hosts.Saw(in)
	return nil
}

// startClear starts a container. Where another one holds its address or a port, one of the node itself is
// ended, and another of this fleet's is waited for: it is about to go, or it would not be in the way.
func (s *step) startClear(host, id string) error {
	for begun := time.Now(); ; {
		e, err := s.engine(host)
		if err != nil {
			return err
		}
		s.changed = true
		err = e.Start(s.ctx, id)
		if err == nil {
			return nil
		}
		err = fmt.Errorf("starting %s on %s: %w", s.op.ID, host, err)
		switch {
		case errors.Is(err, fleet.ErrNotFound) && s.gone(e, host, id):
			return ErrGone
		case !errors.Is(err, fleet.ErrConflict):
			return err
		}
		by, again := s.makeWay(host, id)
		if by != nil {
			err = &heldError{by: *by, ours: by.Fleet == s.world.Fleet(), err: err}
		}
		if !again || time.Since(begun) >= letGoPatience {
			return err
		}
		if e := s.gateWait(s.ctx, letGoPoll); e != nil {
			return e
		}
	}
}

// gone says whether a container isn't there any more, rather than its network or what is mounted. What is
// known of it is forgotten then, so that it is planned anew.
func (s *step) gone(e Engine, host, id string) bool {
	if _, err := e.Inspect(s.ctx, id); !errors.Is(err, fleet.ErrNotFound) {
		return false
	}
	s.world.Hosts.Gone(host, id)
	return true
}

// makeWay looks who holds what a container needs, ends it where it is the same node, and says whether there
// is a point in trying again. Nobody holds it: it has been let go meanwhile.
func (s *step) makeWay(host, id string) (by *fleet.Occupant, again bool) {
	e, err := s.engine(host)
	if err != nil {
		return nil, false
	}
	in, err := e.Inspect(s.ctx, id)
	if err != nil {
		return nil, false
	}
	occupants, err := e.Occupants(s.ctx)
	if err != nil {
		return nil, false
	}
	by = holder(occupants, in.ID, in.Address, in.Published)
	switch {
	case by == nil:
		return nil, true
	case by.Fleet != s.world.Fleet():
		return by, false
	case by.NodeID == s.op.ID:
		twin, err := e.Inspect(s.ctx, by.ID)
		return by, err == nil && s.end(twin) == nil
	}
	return by, true
}

// holder is the first of the occupants, but for the container itself, that holds any of what it needs.
func holder(occupants []fleet.Occupant, id string, address netip.Addr, ports []fleet.Published) *fleet.Occupant {
	for i := range occupants {
		if o := &occupants[i]; o.ID != id && o.Holds(address, ports) {
			return o
		}
	}
	return nil
}
