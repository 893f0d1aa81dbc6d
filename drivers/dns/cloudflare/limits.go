package cloudflare

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"
)

// gap is how long a token's calls are apart: Cloudflare takes 1,200 of them in 5 minutes.
const gap = 250 * time.Millisecond

// Limits keep the calls of all zones within what Cloudflare takes of a token, and hold all of them back when it wants
// to be left alone. They are safe for concurrent use.
type Limits struct {
	mu    sync.Mutex
	gates map[[sha256.Size]byte]*gate // by what tokens and APIs hash to
}

// NewLimits returns limits of tokens that nothing is known of.
func NewLimits() *Limits { return &Limits{gates: map[[sha256.Size]byte]*gate{}} }

// of is a token's gate.
func (l *Limits) of(at, token string) *gate {
	key := sha256.Sum256([]byte(at + " " + token))
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.gates[key]
	if g == nil {
		g = &gate{}
		l.gates[key] = g
	}
	return g
}

// gate lets a token's calls through one after the other.
type gate struct {
	mu    sync.Mutex
	next  time.Time // when the next call may be made
	until time.Time // no calls before
}

// open waits until calls are wanted again, and for its turn; where calls are wanted later than this one may last, it
// doesn't wait.
func (g *gate) open(ctx context.Context) error {
	for {
		now := time.Now()
		g.mu.Lock()
		until, at := g.until, g.next
		if !until.After(now) {
			if at.Before(now) {
				at = now
			}
			g.next = at.Add(gap)
		}
		g.mu.Unlock()
		if until.After(now) {
			if ends, ok := ctx.Deadline(); ok && ends.Before(until) {
				return &throttledError{until}
			}
			if err := sleep(ctx, until.Sub(now)); err != nil {
				return err
			}
			continue
		}
		if err := sleep(ctx, at.Sub(now)); err != nil {
			return err
		}
		if !g.isShut() {
			return ctx.Err()
		}
	}
}

func (g *gate) isShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.until.After(time.Now())
}

// shut has all calls wait, and returns until when.
func (g *gate) shut(wait time.Duration) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := time.Now().Add(wait); until.After(g.until) {
		g.until = until
	}
	return g.until
}
