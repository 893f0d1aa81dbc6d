package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/evenkeel/evenkeel/internal/sshclient"
	"github.com/evenkeel/evenkeel/spec"
)

const (
	defaultSocket = "/var/run/docker.sock"
	// sshHandshake is how long connecting and proving who is who may take.
	sshHandshake = 10 * time.Second
	// A peer that answers no keepalive for sshSilence is gone.
	sshKeepalive = 5 * time.Second
	sshSilence   = 5 * time.Second
	// A server that refused us isn't asked again at once: servers lock out who knocks too often.
	refusedMin = time.Second
	refusedMax = 30 * time.Second
)

// tunnel is one SSH connection to a host, over which all connections to its engine go as streams.
type tunnel struct {
	target
	keys *sshclient.Keys

	connecting chan struct{} // holds a token while somebody connects

	mu      sync.Mutex
	client  *ssh.Client // nil: not connected
	closed  bool
	refused error // why the server was not let, or did not let us, in the last time
	until   time.Time
	wait    time.Duration
}

// target is who is asked for what.
type target struct{ user, addr, socket string }

// tunnelled is the way over SSH.
func tunnelled(u *url.URL, files spec.SSH, credentials string) (*way, error) {
	key, err := credential("ssh.key", files.Key, credentials)
	if err != nil {
		return nil, err
	}
	known, err := credential("ssh.knownHosts", files.KnownHosts, credentials)
	if err != nil {
		return nil, err
	}
	port, socket := u.Port(), u.Path
	if port == "" {
		port = "22"
	}
	if socket == "" {
		socket = defaultSocket
	}
	t := &tunnel{
		target:     target{user: u.User.Username(), addr: net.JoinHostPort(u.Hostname(), port), socket: socket},
		keys:       sshclient.Open(key, known, "ssh.key"),
		connecting: make(chan struct{}, 1),
	}
	return &way{dial: t.dial, shut: t.close}, nil
}

// dial opens a stream to the engine's socket. Where the connection turns out to be dead, it is made again once.
func (t *tunnel) dial(ctx context.Context) (net.Conn, error) {
	for again := false; ; again = true {
		client, fresh, err := t.connected(ctx)
		if err != nil {
			return nil, err
		}
		c, err := client.DialContext(ctx, "unix", t.socket)
		if err == nil {
			return &sshStream{Conn: c}, nil
		}
		var denied *ssh.OpenChannelError
		if errors.As(err, &denied) {
			return nil, t.advice(denied)
		}
		if ctx.Err() != nil {
			return nil, err
		}
		t.drop(client)
		if fresh || again {
			return nil, &net.OpError{Op: "dial", Net: "ssh", Err: err}
		}
	}
}

// advice says why a server that let us in gives no stream. OpenSSH has one answer for all reasons.
func (t *tunnel) advice(err *ssh.OpenChannelError) error {
	return fmt.Errorf("%s can't open %s at %s (%s): is Docker running there, is the user in the group docker, and does sshd_config allow AllowStreamLocalForwarding?",
		t.user, t.socket, t.addr, err.Message)
}

// connected returns the connection, made now if there is none; fresh: it was.
func (t *tunnel) connected(ctx context.Context) (_ *ssh.Client, fresh bool, _ error) {
	if c, err := t.current(); c != nil || err != nil {
		return c, false, err
	}
	select {
	case t.connecting <- struct{}{}:
		defer func() { <-t.connecting }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	if c, err := t.current(); c != nil || err != nil {
		return c, false, err
	}
	c, err := t.connect(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.remember(err)
		return nil, false, err
	}
	if t.closed {
		c.Close()
		return nil, false, net.ErrClosed
	}
	t.client, t.refused, t.wait = c, nil, 0
	go t.watch(c) // ends with the connection
	return c, true, nil
}

// current returns the open connection, or why there can't be one now.
func (t *tunnel) current() (*ssh.Client, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return nil, net.ErrClosed
	case t.client != nil:
		return t.client, nil
	case t.refused != nil && time.Now().Before(t.until):
		return nil, t.refused
	}
	return nil, nil
}

// remember keeps a refusal, which doesn't pass as quickly as a broken line. t.mu is held.
func (t *tunnel) remember(err error) {
	var refusal *sshclient.Refusal
	if !errors.As(err, &refusal) {
		return
	}
	t.wait = min(max(2*t.wait, refusedMin), refusedMax)
	t.refused, t.until = err, time.Now().Add(t.wait)
}

func (t *tunnel) connect(ctx context.Context) (*ssh.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, sshHandshake)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", t.addr)
	if err != nil {
		return nil, err
	}
	config, done, err := t.keys.Config(t.user, t.addr)
	if err != nil {
		conn.Close()
		return nil, err
	}
	defer done()
	// The handshake heeds no context: closing the connection ends it.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	c, channels, requests, err := ssh.NewClientConn(quickAck(conn), t.addr, config)
	inTime := stop()
	switch {
	case err == nil && inTime:
		return ssh.NewClient(c, channels, requests), nil
	case !inTime:
		conn.Close()
		return nil, fmt.Errorf("the SSH server at %s did not finish the handshake: %w", t.addr, context.Cause(ctx))
	}
	conn.Close()
	if refused := t.keys.Refused(err, t.user, t.addr); refused != nil {
		return nil, refused
	}
	return nil, &net.OpError{Op: "handshake", Net: "ssh", Err: err}
}

// watch ends a connection whose other end is silent, and makes room for a new one when it has ended.
func (t *tunnel) watch(c *ssh.Client) {
	ended := make(chan struct{})
	go func() {
		_ = c.Wait() // why it ended is told by the streams
		close(ended)
	}()
	defer t.drop(c)
	tick := time.NewTicker(sshKeepalive)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		silent := time.AfterFunc(sshSilence, func() { c.Close() })
		_, _, err := c.SendRequest("keepalive@openssh.com", true, nil)
		silent.Stop()
		if err != nil {
			return
		}
	}
}

// drop closes a connection and has the next stream make a new one.
func (t *tunnel) drop(c *ssh.Client) {
	t.mu.Lock()
	if t.client == c {
		t.client = nil
	}
	t.mu.Unlock()
	c.Close()
}

func (t *tunnel) close() error {
	t.mu.Lock()
	c := t.client
	t.client, t.closed = nil, true
	t.mu.Unlock()
	if c != nil {
		c.Close() // what it says about a line that broke before is no news
	}
	return nil
}

// sshStream is a stream with deadlines: SSH has none for a stream, so one that passes closes it.
type sshStream struct {
	net.Conn
	mu    sync.Mutex
	timer *time.Timer
}

func (s *sshStream) SetDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if t.IsZero() {
		return nil
	}
	if d := time.Until(t); d > 0 {
		s.timer = time.AfterFunc(d, func() { s.Conn.Close() })
		return nil
	}
	return s.Conn.Close()
}

func (s *sshStream) SetReadDeadline(t time.Time) error  { return s.SetDeadline(t) }
func (s *sshStream) SetWriteDeadline(t time.Time) error { return s.SetDeadline(t) }

// CloseWrite ends our half of the stream.
func (s *sshStream) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (s *sshStream) Close() error {
	s.mu.Lock()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	return s.Conn.Close()
}
