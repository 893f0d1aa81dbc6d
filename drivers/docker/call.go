package docker

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// operation is one call as it is announced: what is being done, for messages, whose turn it takes and
// how long it may take.
type operation struct {
	doing   string
	turn    chan struct{} // nil: it waits for nobody
	timeout time.Duration // zero: Options.Timeout
	hold    time.Duration // after it the turn is given back, since from then on there is only waiting; zero: never
}

func (h *Host) read(doing string) operation { return operation{doing: doing, turn: h.reads} }

func (h *Host) write(doing string) operation {
	// Starting a container on a busy host takes seconds: such calls get three times as long as a read.
	return operation{doing: doing, turn: h.writes, timeout: 3 * h.opts.Timeout}
}

// call makes one call to the engine. It waits for its turn for as long as ctx allows; the deadline counts
// from then on.
func call[T any](ctx context.Context, h *Host, o operation, f func(context.Context, *session) (T, error)) (T, error) {
	var none T
	timeout := o.timeout
	if timeout == 0 {
		timeout = h.opts.Timeout
	}
	if o.turn != nil {
		select {
		case o.turn <- struct{}{}:
			defer release(o)()
		case <-ctx.Done():
			return none, h.fail(ctx, ctx.Err(), o, timeout)
		}
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// Where nobody answers it is known after the shorter time, however long the work itself may take.
	connecting, stop := context.WithTimeout(bounded, h.opts.Timeout)
	s, err := h.session(connecting)
	stop()
	if err != nil {
		return none, h.fail(ctx, err, o, min(timeout, h.opts.Timeout))
	}
	v, err := f(bounded, s)
	h.tidy(s)
	if err == nil {
		return v, nil
	}
	failed := h.fail(ctx, err, o, timeout)
	if errors.Is(failed, fleet.ErrUnreachable) || outdated(err) {
		h.forget(s)
	}
	return none, failed
}

// release returns what gives the turn back, once.
func release(o operation) func() {
	give := sync.OnceFunc(func() { <-o.turn })
	if o.hold > 0 {
		timer := time.AfterFunc(o.hold, give)
		return func() { timer.Stop(); give() }
	}
	return give
}

// do is call where only the error matters.
func (h *Host) do(ctx context.Context, o operation, f func(context.Context, *session) error) error {
	_, err := call(ctx, h, o, func(ctx context.Context, s *session) (struct{}, error) { return struct{}{}, f(ctx, s) })
	return err
}

// older compares two versions of the API; one that can't be read is older than any.
func older(version, than string) bool {
	major, minor := parseVersion(version)
	wantMajor, wantMinor := parseVersion(than)
	return major < wantMajor || major == wantMajor && minor < wantMinor
}

func parseVersion(v string) (major, minor int) {
	a, b, _ := strings.Cut(v, ".")
	major, err := strconv.Atoi(a)
	if err != nil {
		return 0, 0
	}
	minor, _ = strconv.Atoi(b)
	return major, minor
}

// upgrade watches over a connection that is being turned into a stream: the client itself heeds no
// deadline while it waits for the engine's answer there.
type upgrade struct{ stop func() bool }

type upgradeKey struct{}

func withUpgrade(ctx context.Context) (context.Context, *upgrade) {
	u := &upgrade{}
	return context.WithValue(ctx, upgradeKey{}, u), u
}

func (u *upgrade) watch(ctx context.Context, c *countedConn) {
	u.stop = context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
}

// done ends the watch; false: the deadline has cut the connection already.
func (u *upgrade) done() bool { return u.stop == nil || u.stop() }
