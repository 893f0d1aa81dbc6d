package keeper

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"
)

// process tells this process from all others of the same holder.
var process = sync.OnceValue(rand.Text)

// Acquire asks for the lease; refused, it says by whom with a *HeldError. A holder that has it over this
// session already keeps it.
func (c *Client) Acquire(ctx context.Context, holder string) error {
	var reply acquireReply
	body := acquireRequest{Holder: holder, Client: process() + "/" + holder}
	if err := c.call(ctx, request{what: "acquiring the lease", method: "POST", path: "/v1/lease", body: body}, &reply); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = reply.Token
	return nil
}

// Release gives the lease back, so that the next controller needn't wait for the session's end.
func (c *Client) Release(ctx context.Context) error {
	err := c.change(ctx, request{what: "releasing the lease", method: "DELETE", path: "/v1/lease"}, nil)
	c.dropLease()
	return err
}

// Token is the fencing number of the lease held; 0: none.
func (c *Client) Token() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token
}

// LeaseLeft is how long the lease is certain to last, should nothing more be heard of the keeper: counted
// from when the last call that was answered had been sent. Zero: it isn't held.
func (c *Client) LeaseLeft() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == 0 || c.ctx.Err() != nil {
		return 0
	}
	now := time.Now()
	// The monotonic clock stands still while a machine sleeps, and the other may be set back: believe the
	// one that says more time has passed.
	passed := max(now.Sub(c.answered), now.Round(0).Sub(c.answered.Round(0)))
	return max(0, SessionSilence-passed)
}

func (c *Client) dropLease() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = 0
}

// lost forgets a lease that the keeper says has ended, unless there is a newer one by now.
func (c *Client) lost(token uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == token {
		c.token = 0
	}
}

// keepAlive asks for something often enough for the session to stay open, and ends it when the keeper was
// silent for as long as it would take to close it.
func (c *Client) keepAlive() {
	ticker := time.NewTicker(PingInterval)
	defer ticker.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-ticker.C:
		}
		if err := c.ping(); err != nil && c.silentFor() >= SessionSilence {
			c.stop(fmt.Errorf("the keeper was silent for %s: %w", SessionSilence, err))
			_ = c.conn.Close()
			return
		}
	}
}

func (c *Client) ping() error {
	held := c.Token()
	hello, err := c.askHello(c.ctx)
	if err == nil && held != 0 && hello.Token != held {
		c.lost(held)
	}
	return err
}

func (c *Client) askHello(ctx context.Context) (Hello, error) {
	var h Hello
	err := c.call(ctx, request{what: "waiting for the keeper's hello", method: "GET", path: "/v1/hello"}, &h)
	if errors.Is(err, context.DeadlineExceeded) {
		return h, fmt.Errorf("%w; is it running? its log says more", err)
	}
	return h, err
}

func (c *Client) silentFor() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.answered)
}
