package integration

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// relay stands between evenkeel and a server, and can do to connections what networks and broken servers do.
type relay struct {
	t       *testing.T
	server  string // host:port
	address string // its own

	mu       sync.Mutex
	listener net.Listener      // nil: nobody listens
	conns    map[net.Conn]bool // both ends of those that are open
	hold     bool              // new connections are accepted and not carried
	cutAfter int64             // bytes from the server after which a connection is reset; 0: none
	done     sync.WaitGroup

	accepted, carried atomic.Int64 // connections, and bytes from the server
}

func startRelay(t *testing.T, server string) *relay {
	t.Helper()
	r := &relay{t: t, server: server, address: "127.0.0.1:0", conns: map[net.Conn]bool{}}
	r.up()
	t.Cleanup(func() {
		r.down()
		r.done.Wait()
	})
	return r
}

// up listens, on the same port as before, and carries what comes.
func (r *relay) up() {
	r.t.Helper()
	l, err := net.Listen("tcp", r.address)
	require.NoError(r.t, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listener, r.address = l, l.Addr().String()
	r.done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.accepted.Add(1)
			r.done.Go(func() { r.carry(c) })
		}
	})
}

// down refuses connections, and resets those that are open.
func (r *relay) down() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener != nil {
		_ = r.listener.Close() // it is gone either way
		r.listener = nil
	}
	r.reset()
}

// silent accepts connections and never says a word on them; those that are open are reset.
func (r *relay) silent() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hold = true
	r.reset()
}

// cut resets each connection from now on when the server has sent so much.
func (r *relay) cut(after int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cutAfter = after
	r.reset()
}

// cutNow resets the connections that are open.
func (r *relay) cutNow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reset()
}

// well ends what is wrong.
func (r *relay) well() {
	r.mu.Lock()
	r.hold, r.cutAfter = false, 0
	r.reset() // what is held is told so
	listening := r.listener != nil
	r.mu.Unlock()
	if !listening {
		r.up()
	}
}

// knownHost is a line of known_hosts for an SSH server behind it.
func (r *relay) knownHost(key string) string {
	host, port, _ := strings.Cut(r.address, ":")
	return fmt.Sprintf("[%s]:%s %s\n", host, port, key)
}

// reset ends all connections with a TCP reset. r.mu is held.
func (r *relay) reset() {
	for c := range r.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
	clear(r.conns)
}

// open is how many connections are open to the server.
func (r *relay) open() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.conns) / 2
}

func (r *relay) carry(c net.Conn) {
	r.mu.Lock()
	r.conns[c] = true
	hold, most := r.hold, r.cutAfter
	r.mu.Unlock()
	if hold {
		return
	}
	s, err := net.Dial("tcp", r.server)
	r.mu.Lock()
	if err != nil || !r.conns[c] {
		delete(r.conns, c)
		r.mu.Unlock()
		_ = c.Close()
		return
	}
	r.conns[s] = true
	r.mu.Unlock()
	var g errgroup.Group
	g.Go(func() error {
		_, err := io.Copy(s, c)
		_ = s.(*net.TCPConn).CloseWrite() // the other way may have more to say
		return err
	})
	g.Go(func() error {
		from := io.Reader(s)
		if most > 0 {
			from = io.LimitReader(s, most)
		}
		n, err := io.Copy(c, from)
		r.carried.Add(n)
		if most > 0 && n == most {
			_ = c.(*net.TCPConn).SetLinger(0)
		}
		_ = c.Close()
		_ = s.Close()
		return err
	})
	_ = g.Wait() // however it ended
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
	delete(r.conns, s)
}
