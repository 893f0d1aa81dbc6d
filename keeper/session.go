package keeper

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// session is one client's connection.
type session struct {
	id   uint64
	over bool // guarded by the host's lock
}

type sessionKey struct{}

// sessionOf returns the session that a request came over.
func sessionOf(ctx context.Context) *session {
	s, _ := ctx.Value(sessionKey{}).(*session)
	return s
}

// sessions is a listener whose connections are sessions: they end when the client is silent, and the host
// is told of each end.
type sessions struct {
	net.Listener
	host *host
	last atomic.Uint64
}

func (l *sessions) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	s := &sessionConn{Conn: c, host: l.host, session: &session{id: l.last.Add(1)}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silence = time.AfterFunc(SessionSilence, func() {
		l.host.log.Warn("session closed: the client was silent", "for", SessionSilence)
		s.Close()
	})
	return s, nil
}

// withSession lets handlers know their session; it is an http.Server's ConnContext.
func withSession(ctx context.Context, c net.Conn) context.Context {
	if s, ok := c.(*sessionConn); ok {
		return context.WithValue(ctx, sessionKey{}, s.session)
	}
	return ctx
}

type sessionConn struct {
	net.Conn
	host    *host
	session *session

	mu      sync.Mutex
	silence *time.Timer
	once    sync.Once
}

func (c *sessionConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.mu.Lock()
		if c.silence.Stop() { // else it is closing
			c.silence.Reset(SessionSilence)
		}
		c.mu.Unlock()
	}
	if err != nil && !isTimeout(err) {
		c.end()
	}
	return n, err
}

func (c *sessionConn) Close() error {
	err := c.Conn.Close()
	c.end()
	return err
}

func (c *sessionConn) end() {
	c.once.Do(func() {
		c.mu.Lock()
		c.silence.Stop()
		c.mu.Unlock()
		c.host.endSession(c.session)
	})
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
