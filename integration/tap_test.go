package integration

import (
	"bytes"
	"context"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
)

// tap is a way to an engine on which one call can be held: before the engine has it, or when it has done what was
// asked for and answers. What becomes of the host then, becomes of the call.
type tap struct {
	endpoint string
	engine   string
	listener net.Listener
	ctx      context.Context
	all      sync.WaitGroup

	mu       sync.Mutex
	calls    *regexp.Regexp // those to be held, by method and path; nil: none
	answered bool           // it is the answer that is held
	held     chan struct{}  // closed when one is held
	released chan struct{}
}

// tapInto leads to a host's engine.
func tapInto(t *testing.T, h *hosts.Host) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	p := &tap{endpoint: "tcp://" + l.Addr().String(), engine: strings.TrimPrefix(h.Endpoint(), "tcp://"), listener: l, ctx: ctx}
	p.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.all.Go(func() { p.carry(c) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		p.all.Wait()
	})
	return p
}

// hold holds the next call that fits, until it is released.
func (p *tap) hold(call string, answered bool) (held <-chan struct{}, release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls, p.answered = regexp.MustCompile(call), answered
	p.held, p.released = make(chan struct{}), make(chan struct{})
	return p.held, sync.OnceFunc(func() { close(p.released) })
}

// fits says whether a client's words begin the call that is to be held, which then is no other's.
func (p *tap) fits(words []byte) (answered, yes bool) {
	line, _, found := bytes.Cut(words, []byte(" HTTP/1.1\r\n"))
	if !found {
		return false, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls == nil || !p.calls.Match(line) {
		return false, false
	}
	p.calls = nil
	return p.answered, true
}

// wait holds the call at hand.
func (p *tap) wait() {
	p.mu.Lock()
	held, released := p.held, p.released
	p.mu.Unlock()
	close(held)
	select {
	case <-released:
	case <-p.ctx.Done():
	}
}

// carry passes on what either end says until one of them ends. Where nobody listens, the client hears as much.
func (p *tap) carry(client net.Conn) {
	defer client.Close()
	var d net.Dialer
	engine, err := d.DialContext(p.ctx, "tcp", p.engine)
	if err != nil {
		_ = client.(*net.TCPConn).SetLinger(0) // refused, as far as that can be said now
		return
	}
	defer engine.Close()
	stop := context.AfterFunc(p.ctx, func() {
		_ = client.SetDeadline(time.Unix(1, 0))
		_ = engine.SetDeadline(time.Unix(1, 0))
	})
	defer stop()
	answers := make(chan struct{}, 1) // there is one that is to be held
	ended := make(chan struct{}, 2)
	pass := func(to, from net.Conn, before func([]byte)) {
		defer func() { ended <- struct{}{} }()
		for b := make([]byte, 64<<10); ; {
			n, err := from.Read(b)
			if n > 0 {
				before(b[:n])
				if _, err := to.Write(b[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	go pass(engine, client, func(words []byte) {
		switch answered, yes := p.fits(words); {
		case yes && answered:
			answers <- struct{}{}
		case yes:
			p.wait()
		}
	})
	go pass(client, engine, func([]byte) {
		select {
		case <-answers:
			p.wait()
		default:
		}
	})
	<-ended
}
