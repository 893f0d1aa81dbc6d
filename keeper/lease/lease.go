// Package lease decides who may change a host: one controller at a time, told apart from all earlier
// ones by a fencing number that only grows. It does no I/O and has no clock of its own: the caller
// writes the number to disk before it answers with it, and passes the time in.
package lease

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Grace is how long a lease outlives the session that it came over, for calls to the engine that are
// still under way.
const Grace = 2 * time.Second

// Grant is a lease as it is kept on disk.
type Grant struct {
	Token    uint64 `json:"token"`
	Holder   string `json:"holder"`   // for people
	Client   string `json:"client"`   // tells one process of the same holder from another
	Released bool   `json:"released"` // given back, so that the next needn't wait
}

// Lease is the state of one host's lease. It isn't safe for concurrent use.
type Lease struct {
	last    Grant
	session uint64    // that the lease is held over; 0: none
	since   time.Time // when it was granted
	ended   time.Time // when its session ended; zero: it hasn't
}

// New goes on from what is on disk. A lease that wasn't given back counts as one whose session ended now.
func New(last Grant, now time.Time) *Lease {
	l := &Lease{last: last}
	if last.Token > 0 && !last.Released {
		l.since, l.ended = now, now
	}
	return l
}

// HeldError says who holds the lease that somebody else asked for.
type HeldError struct {
	Holder string
	Token  uint64
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("the lease is held by %s; stop it there, or wait until it ends", e.Holder)
}

// FencedError refuses a call under a lease that is no longer in force.
type FencedError struct {
	Token   uint64 // the call's
	Holder  string // who holds it now; empty: nobody
	Current uint64 // the last token granted
}

func (e *FencedError) Error() string {
	if e.Holder == "" {
		return fmt.Sprintf("lease %d has ended (the last was %d); acquire it anew", e.Token, e.Current)
	}
	return fmt.Sprintf("lease %d has ended: %s holds lease %d now", e.Token, e.Holder, e.Current)
}

// Is makes a FencedError recognisable as fleet.ErrFenced.
func (e *FencedError) Is(target error) bool { return target == fleet.ErrFenced }

// Prepare says what is to be written to disk for a client that asks over a session, and whether that is a
// new grant; a renewal by the session that holds the lease changes nothing. The caller writes a new grant
// and then calls Commit. A process that comes back over another session takes its own lease over at
// once, under a new token: its calls over the old session are fenced.
func (l *Lease) Prepare(holder, client string, session uint64, now time.Time) (g Grant, fresh bool, err error) {
	if l.active(now) {
		if l.session == session {
			return l.last, false, nil
		}
		if client == "" || client != l.last.Client {
			return Grant{}, false, &HeldError{Holder: l.last.Holder, Token: l.last.Token}
		}
	}
	return Grant{Token: l.last.Token + 1, Holder: holder, Client: client}, true, nil
}

// Commit puts a prepared grant, by now on disk, in force.
func (l *Lease) Commit(g Grant, session uint64, now time.Time) {
	*l = Lease{last: g, session: session, since: now}
}

// Check refuses a call under a token that isn't the one in force, or over another session than its own.
func (l *Lease) Check(token, session uint64, now time.Time) error {
	if l.active(now) && token == l.last.Token && session == l.session {
		return nil
	}
	e := &FencedError{Token: token, Current: l.last.Token}
	if l.active(now) {
		e.Holder = l.last.Holder
	}
	return e
}

// Release gives the lease back; what it returns is to be written to disk.
func (l *Lease) Release() Grant {
	l.last.Released = true
	l.session, l.since, l.ended = 0, time.Time{}, time.Time{}
	return l.last
}

// EndSession starts the grace of the lease that was held over the session, if there is one.
func (l *Lease) EndSession(session uint64, now time.Time) {
	if session != 0 && session == l.session && l.ended.IsZero() {
		l.ended = now
	}
}

// State is what others are told; nil: nobody holds it.
func (l *Lease) State(now time.Time) *fleet.Lease {
	if !l.active(now) {
		return nil
	}
	return &fleet.Lease{Holder: l.last.Holder, Token: l.last.Token, Held: now.Sub(l.since)}
}

// Last is the newest grant, in force or not.
func (l *Lease) Last() Grant { return l.last }

func (l *Lease) active(now time.Time) bool {
	if l.since.IsZero() {
		return false
	}
	return l.ended.IsZero() || now.Before(l.ended.Add(Grace))
}
