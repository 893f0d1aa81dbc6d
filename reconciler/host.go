package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
	"github.com/evenkeel/evenkeel/spec"
)

// host is one host as the controller holds it: its engine, the session with its keeper, what was last
// seen of it, and what its keeper was last told.
type host struct {
	name   string
	spec   spec.Host
	engine Engine

	mu       sync.Mutex
	state    fleet.HostState
	read     bool             // state was read at least once
	begun    time.Time        // when the reading began that state is from
	saidLost bool             // it was said that it is out of reach, and not yet that it is back
	lostAt   time.Time        // since when it, or its keeper, is out of reach; zero: both answer
	patches  map[string]patch // what writes told since the last reading began
	session  Keeper           // nil: none
	with     string           // the container of the session's keeper
	told     *fleet.Zone      // what the keeper acknowledged last; nil: not known
	toldAt   time.Time        // when told was acknowledged; zero: it was read
	askedAt  time.Time        // when the keeper was asked for what state.Keeper is from
	// acknowledged is what the keeper has acknowledged since the answer in state was asked for, by key.
	acknowledged map[string]acknowledged
	leased       bool
	inherited    *fleet.Zone // what the keeper had when its lease was granted; nil: that has been looked at
	taken        bool        // the lease was ours at least once
	muted        string      // why the keeper could not be brought to answer, as it was said; empty: it answers
	// regaining is closed when the last attempt to bring the host back has ended; nil: there was none.
	regaining chan struct{}

	dialing   rollout.Lock // one dial at a time
	telling   rollout.Lock // one zone at a time
	untold    error        // why the last one was not acknowledged; nil: it was; under telling
	untoldAt  time.Time    // when that was found out; under telling
	preparing rollout.Lock // one environment's network at a time

	joining    rollout.Lock // one attempt to join it at a time
	joinAgain  time.Time    // an attempt failed: when the next one is due; under joining
	linking    rollout.Lock // one change of the links at a time
	linked     *fleet.Links // what its links acknowledged last; nil: not known; under linking
	linkedWith string       // the container that did; under linking
	relink     atomic.Bool  // the lease was granted anew: others may have set them since
	unjoined   string       // why it isn't joined to the other hosts; empty: it is; under mu
	carries    atomic.Int64 // the MTU of the host's own link, in bytes; 0: not known

	reading errand             // reads the host
	looking errand             // looks at files in its nodes
	writing errand             // tells the keeper what it is to have
	records []plan.RecordWrite // that the keeper is to have without an operation; under mu
	copy    *fleet.Copy        // of who is where, that it is to have; nil: none yet; under mu

	asking     rollout.Lock // guards the keeper's last answer
	answer     *fleet.KeeperState
	answeredAt time.Time
}

// patch is what is known of an instance after a write, until it has been observed again.
type patch struct {
	in   fleet.Instance
	gone bool
	at   time.Time
}

func newHost(s spec.Host, e Engine) *host {
	return &host{name: s.Name, spec: s, engine: e, patches: map[string]patch{}, acknowledged: map[string]acknowledged{}, state: fleet.HostState{Name: s.Name, Problem: "not read yet"}}
}

func (h *host) close() error {
	h.mu.Lock()
	s := h.session
	h.session, h.leased = nil, false
	h.mu.Unlock()
	var err error
	if s != nil {
		err = s.Close()
	}
	return errors.Join(err, h.engine.Close())
}

// snapshot is what was last seen.
func (h *host) snapshot() fleet.HostState {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}

// keeper returns the open session, or nil.
func (h *host) keeper() Keeper {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.session == nil {
		return nil
	}
	select {
	case <-h.session.Done():
		h.session, h.leased, h.told = nil, false, nil
		return nil
	default:
		return h.session
	}
}

// observe reads the host anew, the keeper's part side by side with the engine's.
func (h *host) observe(ctx context.Context, c *Controller, fleetName string) {
	begun := time.Now()
	k := h.keeper()
	type answer struct {
		state *fleet.KeeperState
		err   error
	}
	asked := make(chan answer, 1)
	if k != nil {
		go func() {
			s, err := k.State(ctx)
			asked <- answer{s, err}
		}()
	}
	var early *earlySession
	if k == nil && c.glances.Load() {
		early = h.dialEarly(ctx, c, fleetName)
		defer early.drop()
	}
	state := h.engine.Observe(ctx, fleetName)
	if k == nil && state.Reachable {
		if k = early.taken(state.Keepers); k == nil {
			k = h.dial(ctx, c, state.Keepers)
		}
		if k != nil {
			s, err := k.State(ctx)
			asked <- answer{s, err}
		}
	}
	if k != nil {
		a := <-asked
		state.Keeper = a.state
		if a.err != nil {
			state.KeeperProblem = a.err.Error()
		}
	} else if state.Reachable {
		state.KeeperProblem = h.problem()
	}
	if ctx.Err() != nil {
		return // what was given up says nothing of the host
	}
	h.keep(state, begun)
}

// problem is why there is no session with the keeper, as far as that was tried.
func (h *host) problem() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state.KeeperProblem
}

// mute notes why the keeper could not be brought to answer, and says whether that is news.
func (h *host) mute(err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	news := h.muted != err.Error()
	h.state.KeeperProblem, h.muted = err.Error(), err.Error()
	return news
}

// keep takes a reading in, with what writes have told since it began.
func (h *host) keep(state fleet.HostState, begun time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if begun.Before(h.begun) {
		return // one that began later has been kept already: this one waited for something
	}
	h.begun = begun
	h.answers(state.Reachable && state.Keeper != nil, begun)
	for id, p := range h.patches {
		if p.at.Before(begun) {
			delete(h.patches, id)
			continue
		}
		state.Instances = patched(state.Instances, id, p)
	}
	if state.Keeper != nil {
		state.Keeper = h.withAcknowledged(state.Keeper, begun)
	}
	state.Files = h.state.Files
	h.state, h.read = state, true
}

// answers notes whether a call that was begun at a time was answered. h.mu is held.
func (h *host) answers(yes bool, begun time.Time) {
	switch {
	case yes:
		h.lostAt = time.Time{}
	case h.lostAt.IsZero():
		h.lostAt = begun
	}
}

// lostFor is how long the host, or its keeper, has been out of reach; zero: both answer.
func (h *host) lostFor() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lostAt.IsZero() {
		return 0
	}
	return time.Since(h.lostAt)
}

// patched returns a new slice, since the old one may have been handed out.
func patched(instances []fleet.Instance, id string, p patch) []fleet.Instance {
	next := make([]fleet.Instance, 0, len(instances)+1)
	put := false
	for _, in := range instances {
		switch {
		case in.ID != id:
			next = append(next, in)
		case !p.gone:
			next, put = append(next, p.in), true
		}
	}
	if !put && !p.gone {
		next = append(next, p.in)
		fleet.SortInstances(next)
	}
	return next
}

// saw notes what a write told of an instance.
func (h *host) saw(id string, p patch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p.at = time.Now()
	h.patches[id] = p
	h.state.Instances = patched(h.state.Instances, id, p)
}

// sessionEnded is why a keeper that has just been spoken to can't be.
const sessionEnded = "the session with it ended, as it does when the engine or the keeper is restarted"

// writable returns the session if the host may be written to now.
func (h *host) writable() (Keeper, error) {
	k := h.keeper()
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.state.Reachable:
		return nil, fmt.Errorf("host %s: %w: %s", h.name, fleet.ErrUnreachable, h.state.Problem)
	case k == nil:
		return nil, fmt.Errorf("the keeper on %s: %w: %s", h.name, fleet.ErrUnreachable, cmp.Or(h.state.KeeperProblem, sessionEnded))
	case !h.leased:
		return nil, fmt.Errorf("host %s: %w", h.name, fleet.ErrFenced)
	}
	switch left := k.LeaseLeft(); {
	case left <= 0: // ended by the keeper, or by its silence, with which the session ends soon
		return nil, fmt.Errorf("the keeper on %s: %w: %w", h.name, fleet.ErrUnreachable, fleet.ErrFenced)
	case left < leaseMargin:
		h.answers(false, time.Now().Add(-staleAfter)) // which is how long it takes for a lease to get that short
		return nil, fmt.Errorf("the keeper on %s: %w: it has not answered for %s (%w)", h.name, fleet.ErrUnreachable, staleAfter, fleet.ErrFenced)
	}
	return k, nil
}
