// Package docker drives hosts with a Docker Engine: it reads what is there and makes one change at a time.
// It decides nothing, and it never changes what does not carry a label of ours. Each call has a deadline,
// each error says which host and what was being done.
//
// No other package imports Docker's client.
package docker

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/client"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// minAPI is the oldest API that has all that is asked for: Docker 20.10's.
const minAPI = "1.41"

// Options are the driver's settings. The zero value has sensible ones.
type Options struct {
	// Timeout is how long a call may take that has nothing to wait for; default 10 s.
	Timeout time.Duration
	// PullStall is how long a pull may go without progress; default 60 s.
	PullStall time.Duration
	// Heartbeat is the time between two pings beside a stream of events; default 3 s. One that stays
	// unanswered for HeartbeatTimeout, default 5 s, ends the stream.
	Heartbeat        time.Duration
	HeartbeatTimeout time.Duration
	// Writes is how many calls that create, start, stop or remove a container may be under way on a host
	// at once, default 4, which is where engines stop getting faster; Reads likewise, default 8.
	Writes, Reads int
	// CredentialsDir is where the files of `tls` and `ssh` are that aren't absolute.
	CredentialsDir string
	// Dial connects to the engine; default: as the endpoint says.
	Dial func(ctx context.Context) (net.Conn, error)
	// Warn is told what was done otherwise than asked for, such as a limit beyond what the host has.
	Warn func(message string)
}

func (o Options) withDefaults() Options {
	orElse(&o.Timeout, 10*time.Second)
	orElse(&o.PullStall, 60*time.Second)
	orElse(&o.Heartbeat, 3*time.Second)
	orElse(&o.HeartbeatTimeout, 5*time.Second)
	orElse(&o.Writes, 4)
	orElse(&o.Reads, 8)
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	return o
}

func orElse[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// Host is one host's Docker Engine. It is safe for concurrent use.
type Host struct {
	name     string
	endpoint string
	opts     Options
	way      *way
	noWay    atomic.Pointer[wayError] // why the last attempt to connect failed
	writes   chan struct{}
	reads    chan struct{}
	looks    chan struct{} // at files in containers
	// registries holds the turns of what is asked of each registry, by its name.
	registries sync.Map

	connecting chan struct{} // holds a token while somebody negotiates
	mu         sync.Mutex
	current    *session // nil: not connected, or to be negotiated anew
	closed     bool
}

// session is what was negotiated with an engine, for as long as there are connections to it.
type session struct {
	*client.Client
	transport *http.Transport

	mu    sync.Mutex
	facts *fleet.Engine // nil: not read yet
	open  int           // connections
}

// Open prepares a host. It does no I/O: the first call connects.
func Open(h spec.Host, opts Options) (*Host, error) {
	way := &way{dial: opts.Dial}
	if opts.Dial == nil {
		var err error
		if way, err = wayTo(h, opts.CredentialsDir); err != nil {
			return nil, fmt.Errorf("host %s: %w", h.Name, err)
		}
	}
	opts = opts.withDefaults()
	return &Host{
		name: h.Name, endpoint: h.Endpoint, opts: opts, way: way,
		writes: make(chan struct{}, opts.Writes), reads: make(chan struct{}, opts.Reads),
		looks:      make(chan struct{}, looksAtOnce),
		connecting: make(chan struct{}, 1),
	}, nil
}

// Name returns the host's name.
func (h *Host) Name() string { return h.name }

// Close lets go of the connections. Calls under way end with them.
func (h *Host) Close() error {
	h.mu.Lock()
	h.closed = true
	s := h.current
	h.current = nil
	h.mu.Unlock()
	if s != nil {
		s.transport.CloseIdleConnections()
	}
	return h.way.close()
}

// session returns what was negotiated, or negotiates; ctx bounds that.
func (h *Host) session(ctx context.Context) (*session, error) {
	if s, err := h.negotiated(); s != nil || err != nil {
		return s, err
	}
	select {
	case h.connecting <- struct{}{}:
		defer func() { <-h.connecting }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s, err := h.negotiated(); s != nil || err != nil {
		return s, err
	}
	s, err := h.negotiate(ctx)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.current = s
	return s, nil
}

func (h *Host) negotiated() (*session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, net.ErrClosed
	}
	return h.current, nil
}

// negotiate makes a client of its own for each session, since a client only ever lowers its version.
func (h *Host) negotiate(ctx context.Context) (*session, error) {
	s := &session{}
	s.transport = &http.Transport{
		MaxIdleConnsPerHost: h.opts.Reads + h.opts.Writes + looksAtOnce,
		IdleConnTimeout:     2 * time.Minute,
		DisableCompression:  true,
	}
	var err error
	s.Client, err = client.NewClientWithOpts(
		client.WithHTTPClient(&http.Client{Transport: s.transport, CheckRedirect: client.CheckRedirect}),
		client.WithHost(dummyHost(h.endpoint)),
		client.WithDialContext(func(ctx context.Context, _, _ string) (net.Conn, error) { return h.connect(ctx, s) }),
	)
	if err != nil {
		return nil, err
	}
	s.transport.Proxy = nil // an engine is reached directly, whatever the environment says of the web
	ping, err := s.Ping(ctx)
	if err != nil {
		s.transport.CloseIdleConnections()
		return nil, err
	}
	if older(ping.APIVersion, minAPI) {
		s.transport.CloseIdleConnections()
		return nil, fmt.Errorf("the engine offers API %s; needed is %s (Docker 20.10) or newer", ping.APIVersion, minAPI)
	}
	s.NegotiateAPIVersionPing(ping)
	return s, nil
}

// dummyHost gives the client an address that it can parse where a dialer of ours stands in for the endpoint.
func dummyHost(endpoint string) string {
	if strings.HasPrefix(endpoint, "unix://") || strings.HasPrefix(endpoint, "tcp://") {
		return endpoint
	}
	return "tcp://engine:2375"
}

// forget has the next call negotiate anew. Calls under way keep their session.
func (h *Host) forget(s *session) {
	if h.leave(s) {
		s.transport.CloseIdleConnections()
	}
}

// tidy closes the connections of a session that has ended: a call that was under way may have made another one since.
func (h *Host) tidy(s *session) {
	h.mu.Lock()
	ended := h.current != s
	h.mu.Unlock()
	if ended {
		s.transport.CloseIdleConnections()
	}
}

// leave ends the session for later calls and says whether it was the one in use.
func (h *Host) leave(s *session) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.current == s
	if was {
		h.current = nil
	}
	return was
}

// connect dials, for the client's calls and its streams alike. With the last connection the session goes:
// who answers the next time may be another engine than before.
func (h *Host) connect(ctx context.Context, s *session) (net.Conn, error) {
	c, err := h.way.dial(ctx)
	if err != nil {
		failed := &wayError{err}
		h.noWay.Store(failed)
		return nil, failed
	}
	s.mu.Lock()
	s.open++
	s.mu.Unlock()
	conn := &countedConn{Conn: c, closed: func() {
		s.mu.Lock()
		s.open--
		last := s.open == 0
		s.mu.Unlock()
		if last {
			// The transport closes an idle connection under its own lock, so it must not be called from
			// here; and with the last connection gone there is none left to close.
			h.leave(s)
		}
	}}
	if u, ok := ctx.Value(upgradeKey{}).(*upgrade); ok {
		u.watch(ctx, conn)
	}
	return conn, nil
}

type countedConn struct {
	net.Conn
	once   sync.Once
	closed func()
}

func (c *countedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.closed)
	return err
}
