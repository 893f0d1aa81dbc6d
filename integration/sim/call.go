package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// How long an engine is waited for, as its driver does.
const (
	readTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
)

// call is one call to a host.
type call struct {
	verb   string
	object string
	write  bool
	// timeout after which nobody waits for it any more.
	timeout time.Duration
	// quiet: it changes nothing that is to stay.
	quiet bool
}

// fate is what becomes of a call.
type fate struct {
	there, back time.Duration
	lost        bool // it never arrives
	mute        bool // what it did isn't told
	// on: it is done also where whoever asked has gone meanwhile.
	on bool
}

func (h *Host) fate(p *Process, c call) fate {
	if h.w.instant {
		return fate{}
	}
	r := h.w.chance.of("call", h.name, p.name, c.verb, c.object, h.w.nth(h.name+p.name+c.verb+c.object))
	f := fate{
		there: between(r, 200*time.Microsecond, 3*time.Millisecond), back: between(r, 100*time.Microsecond, time.Millisecond),
		on: oneIn(r, 2),
	}
	if h.w.rough {
		f.roughen(r, c)
	}
	return f
}

func (f *fate) roughen(r *rand.Rand, c call) {
	rare := 60
	if c.write {
		rare = 25
	}
	switch r.IntN(rare) {
	case 0:
		f.lost = true
	case 1:
		f.mute = true
	case 2:
		f.there += between(r, 0, 4*time.Second)
	case 3:
		f.back += between(r, 0, 8*time.Second)
	}
}

// do makes a call: it takes its time to get there, is done if the host can, and its answer takes its time to get
// back. work is called without the lock.
func do[T any](ctx context.Context, e *engine, c call, work func() (T, error)) (T, error) {
	var none T
	h, w := e.host, e.host.w
	w.mu.Lock()
	if err := e.p.begin(h.name, c); err != nil {
		w.mu.Unlock()
		return none, err
	}
	f := h.fate(e.p, c)
	w.mu.Unlock()
	if w.instant {
		v, err := work()
		return v, h.wrap(c, err)
	}
	timeout := c.timeout
	if timeout == 0 {
		timeout = readTimeout
		if c.write {
			timeout = writeTimeout
		}
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	type answer struct {
		v   T
		err error
	}
	answers := make(chan answer, 1)
	serve := func() {
		if !h.arrive(bounded, c, f) {
			if h.refuses() {
				answers <- answer{err: h.unreachable(c, "connection refused")}
			}
			return
		}
		v, err := work()
		if f.mute || !h.leave(bounded, f) {
			return
		}
		answers <- answer{v, err}
	}
	if c.write {
		w.task(serve) // the engine does it whether somebody waits or not
	} else {
		serve()
	}
	var a answer
	select {
	case a = <-answers:
	case <-bounded.Done():
		if ctx.Err() != nil {
			return none, h.wrap(c, context.Cause(ctx))
		}
		return none, h.unreachable(c, fmt.Sprintf("%s did not answer within %s", h.name, timeout))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := e.p.after(c); err != nil {
		return none, err
	}
	return a.v, h.wrap(c, a.err)
}

func (h *Host) refuses() bool {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	return h.condition == off
}

// arrive waits for a call to be taken up; false: it never is.
func (h *Host) arrive(asked context.Context, c call, f fate) bool {
	on := f.on && c.write
	way := asked
	if on {
		way = context.WithoutCancel(asked)
	}
	if h.w.sleep(way, f.there) != nil || f.lost {
		return false
	}
	for {
		h.w.mu.Lock()
		was, resumed := h.condition, h.resumed
		h.w.mu.Unlock()
		switch was {
		case off, cut:
			return false
		case well:
			return asked.Err() == nil || on
		}
		if !on { // it gives the call up with whoever made it
			select {
			case <-resumed:
			case <-asked.Done():
				return false
			case <-h.w.ended:
				return false
			}
			continue
		}
		select {
		case <-resumed:
		case <-h.w.ended:
			return false
		}
	}
}

// leave waits for an answer to get back; false: it doesn't.
func (h *Host) leave(asked context.Context, f fate) bool {
	for {
		h.w.mu.Lock()
		was, resumed := h.condition, h.resumed
		h.w.mu.Unlock()
		switch was {
		case well:
			return h.w.sleep(asked, f.back) == nil
		case hung:
		default:
			return false
		}
		select {
		case <-resumed:
		case <-asked.Done():
			return false
		case <-h.w.ended:
			return false
		}
	}
}

func (h *Host) unreachable(c call, why string) error {
	return fmt.Errorf("%s on %s: %w: %s", c.verb, h.name, fleet.ErrUnreachable, why)
}

func (h *Host) wrap(c call, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s on %s: %w", c.verb, c.object, h.name, err)
}
