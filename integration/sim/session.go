package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	realkeeper "github.com/evenkeel/evenkeel/keeper"
	"github.com/evenkeel/evenkeel/keeper/lease"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// keeperConn leads to a keeper.
type keeperConn struct {
	net.Conn
	keeper *keeper
	p      *Process
}

// session is a process's connection to a keeper. The world's lock guards it.
type session struct {
	k       *keeper
	p       *Process
	id      uint64
	token   uint64
	over    bool
	ctx     context.Context // ends with it
	end     context.CancelFunc
	hints   []chan struct{}
	silence *time.Timer // after which the keeper closes it
	// answered is when the last call that was answered had been sent.
	answered time.Time
}

var _ reconciler.Keeper = (*session)(nil)

// dialKeeper opens a session.
func (p *Process) dialKeeper(ctx context.Context, dial func(context.Context) (net.Conn, error)) (reconciler.Keeper, error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting to the keeper: %w: %w", fleet.ErrUnreachable, err)
	}
	k := conn.(*keeperConn).keeper
	s := &session{k: k, p: p, answered: time.Now()}
	s.ctx, s.end = context.WithCancel(context.Background())
	w := k.w
	w.mu.Lock()
	if k.stopped || p.dead {
		w.mu.Unlock()
		return nil, fmt.Errorf("speaking to the keeper: %w: it ended", fleet.ErrUnreachable)
	}
	k.last++
	s.id = k.last
	k.sessions[s] = true
	if !w.instant {
		s.silence = time.AfterFunc(realkeeper.SessionSilence, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			s.close()
		})
	}
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, realkeeper.HelloTimeout)
	defer cancel()
	if _, err := talk(ctx, s, call{verb: "greeting"}, func() (none, error) { return none{}, nil }); err != nil {
		s.Close()
		return nil, err
	}
	w.task(s.keepAlive)
	return s, nil
}

// talk is one call over a session; work is done under the lock.
func talk[T any](ctx context.Context, s *session, c call, work func() (T, error)) (T, error) {
	w, h := s.k.w, s.k.c.host
	ctx, cancel := context.WithTimeout(ctx, realkeeper.CallTimeout)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)() // a call over a session that ends, ends with it
	c.object += " keeper"
	c.timeout = realkeeper.CallTimeout
	sent := time.Now()
	e := &engine{host: h, p: s.p}
	v, err := do(ctx, e, c, locked(h, func() (T, error) {
		var zero T
		if s.over || s.k.stopped || time.Since(s.k.began) < s.k.c.behaviour.startup && !w.instant {
			return zero, fleet.ErrUnreachable
		}
		if s.silence != nil {
			s.silence.Reset(realkeeper.SessionSilence)
		}
		return work()
	}))
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = fmt.Errorf("%w: %w", fleet.ErrUnreachable, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !errors.Is(err, fleet.ErrUnreachable) && sent.After(s.answered) {
		s.answered = sent
	}
	return v, err
}

// change is a call under the lease.
func (s *session) change(ctx context.Context, c call, work func() error) error {
	s.k.w.mu.Lock()
	token := s.token
	s.k.w.mu.Unlock()
	if token == 0 {
		return fmt.Errorf("%s: %w: it isn't held over this session", c.verb, fleet.ErrFenced)
	}
	c.write = true
	err := only(talk(ctx, s, c, func() (none, error) {
		if err := s.k.check(token, s.id); err != nil {
			return none{}, err
		}
		return none{}, work()
	}))
	if errors.Is(err, fleet.ErrFenced) {
		s.k.w.mu.Lock()
		defer s.k.w.mu.Unlock()
		if s.token == token {
			s.token = 0
		}
	}
	return err
}

// keepAlive asks for something often enough for the session to stay open.
func (s *session) keepAlive() {
	tick := time.NewTicker(realkeeper.PingInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		case <-s.k.w.ended:
			return
		}
		token := s.leased()
		now, err := talk(context.Background(), s, call{verb: "pinging"}, func() (uint64, error) {
			if l := s.k.held(); l != nil {
				return l.Token, nil
			}
			return 0, nil
		})
		w := s.k.w
		w.mu.Lock()
		if err == nil && token != 0 && now != token && s.token == token {
			s.token = 0
		}
		if err != nil && time.Since(s.answered) >= realkeeper.SessionSilence {
			s.close()
		}
		w.mu.Unlock()
	}
}

func (s *session) leased() uint64 {
	s.k.w.mu.Lock()
	defer s.k.w.mu.Unlock()
	return s.token
}

// close ends the session, and with it, a little later, its lease. The lock is held.
func (s *session) close() {
	if s.over {
		return
	}
	s.over = true
	s.end()
	delete(s.k.sessions, s)
	if s.k.lease != nil {
		s.k.lease.EndSession(s.id, time.Now())
	}
	if s.silence != nil {
		s.silence.Stop()
	}
	for _, c := range s.hints {
		close(c)
	}
	s.hints = nil
}

// hint says that a probe's result changed. The lock is held.
func (s *session) hint() {
	for _, c := range s.hints {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Watch hints that a probe's result changed, and at first that there are some.
func (s *session) Watch(ctx context.Context) <-chan struct{} {
	c := make(chan struct{}, 1)
	w := s.k.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.over || ctx.Err() != nil {
		close(c)
		return c
	}
	s.hints = append(s.hints, c)
	if len(s.k.prober.Results()) > 0 {
		c <- struct{}{}
	}
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if i := slices.Index(s.hints, c); i >= 0 {
			s.hints = slices.Delete(s.hints, i, i+1)
			close(c)
		}
	})
	return c
}

// State is all that the keeper has to say.
func (s *session) State(ctx context.Context) (*fleet.KeeperState, error) {
	return talk(ctx, s, call{verb: "reading"}, func() (*fleet.KeeperState, error) { return s.k.state(), nil })
}

// heldError is a lease that somebody else holds.
type heldError struct{ by string }

func (e heldError) Error() string  { return "the lease is held by " + e.by }
func (e heldError) Holder() string { return e.by }

// Acquire asks for the lease.
func (s *session) Acquire(ctx context.Context, holder string) error {
	token, err := s.acquire(ctx, holder)
	for begun := time.Now(); errors.Is(err, modeError(fleet.KeeperStandby)) && time.Since(begun) < 20*realkeeper.StandbyPoll; {
		if s.k.w.sleep(ctx, realkeeper.StandbyPoll) != nil {
			break
		}
		token, err = s.acquire(ctx, holder)
	}
	var held *lease.HeldError
	if errors.As(err, &held) {
		return heldError{held.Holder}
	}
	if err != nil {
		return err
	}
	s.k.w.mu.Lock()
	defer s.k.w.mu.Unlock()
	s.token = token
	return nil
}

func (s *session) acquire(ctx context.Context, holder string) (token uint64, err error) {
	return talk(ctx, s, call{verb: "leasing", write: true, quiet: true}, func() (uint64, error) { return s.k.acquire(holder, s.p.name, s.id) })
}

// Release gives the lease back.
func (s *session) Release(ctx context.Context) error {
	err := s.change(ctx, call{verb: "releasing", quiet: true}, func() error { s.k.release(); return nil })
	s.k.w.mu.Lock()
	defer s.k.w.mu.Unlock()
	s.token = 0
	return err
}

// LeaseLeft is how long the lease is certain to last.
func (s *session) LeaseLeft() time.Duration {
	s.k.w.mu.Lock()
	defer s.k.w.mu.Unlock()
	if s.token == 0 || s.over {
		return 0
	}
	return max(0, realkeeper.SessionSilence-time.Since(s.answered))
}

// SetZone has the keeper serve a zone.
func (s *session) SetZone(ctx context.Context, z fleet.Zone) error {
	z, err := sent(z)
	if err != nil {
		return err
	}
	return s.change(ctx, call{verb: "telling the zone to"}, func() error { return s.k.setZone(z) })
}

// PutRecord keeps a record.
func (s *session) PutRecord(ctx context.Context, key string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return s.change(ctx, call{verb: "noting", object: key}, func() error { return s.k.setRecord(fleet.Record{Key: key, Value: b}) })
}

// DeleteRecord forgets a record.
func (s *session) DeleteRecord(ctx context.Context, key string) error {
	return s.change(ctx, call{verb: "forgetting", object: key}, func() error {
		s.k.disk.records = fleet.WithRecord(s.k.disk.records, fleet.Record{Key: key})
		s.k.w.note("%s: %s forgotten", s.k.c.host.name, key)
		return nil
	})
}

// SetCopy keeps the copy of who is where.
func (s *session) SetCopy(ctx context.Context, c fleet.Copy) error {
	c, err := sent(c)
	if err != nil {
		return err
	}
	return s.change(ctx, call{verb: "copying to"}, func() error { return s.k.setCopy(c) })
}

// Retire has the keeper leave its volume to its successor.
func (s *session) Retire(ctx context.Context) error {
	err := s.change(ctx, call{verb: "retiring"}, func() error { s.k.retire(); return nil })
	if err == nil {
		s.k.w.mu.Lock()
		defer s.k.w.mu.Unlock()
		s.token = 0
	}
	return err
}

// sent is a value as whoever it is sent to reads it.
func sent[T any](v T) (read T, err error) {
	b, err := json.Marshal(v)
	if err != nil {
		return read, err
	}
	err = json.Unmarshal(b, &read)
	return read, err
}

// Done is closed when the session is over.
func (s *session) Done() <-chan struct{} { return s.ctx.Done() }

// Close ends the session.
func (s *session) Close() error {
	s.k.w.mu.Lock()
	defer s.k.w.mu.Unlock()
	if !s.p.dead { // what becomes of a dead process's sessions its death has decided
		s.close()
	}
	return nil
}
