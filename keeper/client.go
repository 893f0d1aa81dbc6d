package keeper

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// maxReply is the largest answer that a client reads.
const maxReply = 64 << 20

// Client is the controller's side of a session. It is safe for concurrent use. Every error of a call that
// got no answer is a fleet.ErrUnreachable; a change without the lease, or under one that ended, is a
// fleet.ErrFenced.
type Client struct {
	conn  *clientConn
	http  *http.ClientConn
	hello Hello
	ctx   context.Context
	stop  context.CancelCauseFunc
	tasks sync.WaitGroup

	mu       sync.Mutex
	token    uint64    // of the lease held; 0: none
	answered time.Time // when the last call that was answered had been sent
}

// Dial opens a session over what dial returns, and waits for the keeper's hello, HelloTimeout at most.
func Dial(ctx context.Context, dial func(context.Context) (net.Conn, error)) (*Client, error) {
	raw, err := dial(ctx)
	if err != nil {
		return nil, unreachable("connecting to the keeper", err)
	}
	c := &Client{}
	c.ctx, c.stop = context.WithCancelCause(context.Background())
	c.conn = &clientConn{Conn: raw, ended: c.stop}
	if err := c.greet(ctx); err != nil {
		c.Close()
		return nil, err
	}
	c.tasks.Go(c.keepAlive)
	return c, nil
}

// greet speaks HTTP/2 over the connection and asks the keeper who it is.
func (c *Client) greet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, HelloTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.conn.Close() }) // a write to a pipe nobody reads has no deadline
	defer stop()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Protocols:   &protocols,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return c.conn, nil },
	}
	var err error
	if c.http, err = transport.NewClientConn(ctx, "http", "keeper:80"); err != nil {
		return c.unreachable("speaking to the keeper", err)
	}
	if c.hello, err = c.askHello(ctx); err != nil {
		return err
	}
	if c.hello.Product != product {
		return unreachable("speaking to the keeper", errors.New("what answered isn't a keeper"))
	}
	return nil
}

// Hello is what the keeper said of itself when the session began.
func (c *Client) Hello() Hello { return c.hello }

// Done is closed when the session is over.
func (c *Client) Done() <-chan struct{} { return c.ctx.Done() }

// Err is why the session is over; nil: it isn't.
func (c *Client) Err() error { return context.Cause(c.ctx) }

// ErrClosed: the client closed the session itself.
var ErrClosed = errors.New("session closed")

// Close ends the session, and with it, a little later, the lease held over it.
func (c *Client) Close() {
	c.stop(ErrClosed)
	if c.http != nil {
		_ = c.http.Close()
	}
	_ = c.conn.Close()
	c.tasks.Wait()
}

// State returns all that the keeper has to say.
func (c *Client) State(ctx context.Context) (*fleet.KeeperState, error) {
	s := new(fleet.KeeperState)
	if err := c.call(ctx, request{what: "reading the keeper", method: "GET", path: "/v1/state"}, s); err != nil {
		return nil, err
	}
	return s, nil
}

// SetZone sends a zone and returns its serial once the zone is on the keeper's disk and in effect.
func (c *Client) SetZone(ctx context.Context, z *fleet.Zone) (uint64, error) {
	var reply zoneReply
	err := c.change(ctx, request{what: "setting the zone", method: "PUT", path: "/v1/zone", body: z}, &reply)
	return reply.Serial, err
}

// PutRecord keeps a record.
func (c *Client) PutRecord(ctx context.Context, key string, value json.RawMessage) error {
	return c.ChangeRecords(ctx, []fleet.Record{{Key: key, Value: value}}, nil)
}

// DeleteRecord forgets a record; one that isn't there is no error.
func (c *Client) DeleteRecord(ctx context.Context, key string) error {
	return c.ChangeRecords(ctx, nil, []string{key})
}

// ChangeRecords keeps and forgets records, all of them or none.
func (c *Client) ChangeRecords(ctx context.Context, put []fleet.Record, remove []string) error {
	body := recordsRequest{Put: put, Delete: remove}
	return c.change(ctx, request{what: "keeping records", method: "POST", path: "/v1/records", body: body}, nil)
}

// SetCopy sends the copy of who is where. One that is older than what the keeper has is a fleet.ErrConflict.
func (c *Client) SetCopy(ctx context.Context, copied *fleet.Copy) error {
	return c.change(ctx, request{what: "keeping the copy", method: "PUT", path: "/v1/copy", body: copied}, nil)
}

// Retire makes the keeper leave the volume, and the granting of leases, to its successor. The lease held
// over this session is over with that.
func (c *Client) Retire(ctx context.Context) error {
	err := c.change(ctx, request{what: "retiring the keeper", method: "POST", path: "/v1/retire"}, nil)
	if err == nil {
		c.dropLease()
	}
	return err
}

// request is one call.
type request struct {
	what   string // for errors
	method string
	path   string
	body   any
	token  uint64
}

// change makes a call under the lease.
func (c *Client) change(ctx context.Context, r request, reply any) error {
	c.mu.Lock()
	r.token = c.token
	c.mu.Unlock()
	if r.token == 0 {
		return fmt.Errorf("%s: %w: it isn't held over this session", r.what, fleet.ErrFenced)
	}
	err := c.call(ctx, r, reply)
	if errors.Is(err, fleet.ErrFenced) {
		c.lost(r.token)
	}
	return err
}

// call makes a call and reads its answer into reply.
func (c *Client) call(ctx context.Context, r request, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	response, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxReply))
	if err != nil {
		return c.unreachable(r.what, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %w", r.what, decodeRefusal(body).err())
	}
	if reply == nil {
		return nil
	}
	if err := json.Unmarshal(body, reply); err != nil {
		return fmt.Errorf("%s: reading the keeper's answer: %w", r.what, err)
	}
	return nil
}

// send sends a request and notes that it was answered.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	var body io.Reader
	if r.body != nil {
		b, err := marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.what, err)
		}
		body = bytes.NewReader(b)
	}
	q, err := http.NewRequestWithContext(ctx, r.method, "http://keeper"+r.path, body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.what, err)
	}
	if r.token != 0 {
		q.Header.Set(tokenHeader, strconv.FormatUint(r.token, 10))
	}
	sent := time.Now()
	response, err := c.http.RoundTrip(q)
	if err != nil {
		return nil, c.unreachable(r.what, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if sent.After(c.answered) {
		c.answered = sent
	}
	return response, nil
}

// unreachable prefers why the session ended to how the call noticed.
func (c *Client) unreachable(what string, err error) error {
	if cause := context.Cause(c.ctx); cause != nil {
		err = cause
	}
	return unreachable(what, err)
}

func unreachable(what string, err error) error {
	return fmt.Errorf("%s: %w: %w", what, fleet.ErrUnreachable, err)
}

// err is a refusal as the error that callers tell apart.
func (r refusal) err() error {
	switch r.Kind {
	case kindHeld:
		return &HeldError{Holder: r.Holder, Token: r.Token}
	case kindFenced, kindMode:
		return fmt.Errorf("%w: %s", fleet.ErrFenced, r.Message)
	case kindStale:
		return fmt.Errorf("%w: %s", fleet.ErrConflict, r.Message)
	}
	return errors.New(r.Message)
}

// clientConn says when the connection ends.
type clientConn struct {
	net.Conn
	ended context.CancelCauseFunc
}

func (c *clientConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && !isTimeout(err) {
		c.ended(fmt.Errorf("the session ended: %w", err))
	}
	return n, err
}
