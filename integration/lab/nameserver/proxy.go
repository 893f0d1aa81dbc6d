package nameserver

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// Fate is what becomes of a message that goes through a Proxy.
type Fate struct {
	Drop   bool // the server doesn't get it: the connection is cut
	Hang   bool // nobody gets it, and nothing happens
	Answer int  // the connection is cut after so many bytes of the answer, which may be none; with Whole: all
	Whole  bool
}

// The usual fates.
var (
	Passes = Fate{Whole: true}
	Lost   = Fate{} // the server has carried it out, and nobody hears of it
	Drops  = Fate{Drop: true}
	Hangs  = Fate{Hang: true}
)

// Proxy is between clients and a server, over TCP.
type Proxy struct {
	Address string

	backend string
	mu      sync.Mutex
	decide  func(m *dns.Msg) Fate
	seen    []*dns.Msg
}

// NewProxy starts one that lets everything pass; it ends with the test.
func NewProxy(t testing.TB, s *Server) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Address: l.Addr().String(), backend: s.Address}
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(client, done) })
		}
	})
	t.Cleanup(func() {
		close(done)
		l.Close()
		all.Wait()
	})
	return p
}

// Decide has a function say what becomes of each message; it may do something first.
func (p *Proxy) Decide(decide func(m *dns.Msg) Fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decide, p.seen = decide, nil
}

// Writes are the updates that asked for a change, since Decide.
func (p *Proxy) Writes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, m := range p.seen {
		if IsWrite(m) {
			n++
		}
	}
	return n
}

// IsWrite says whether a message asks for a change, and not just whether something is there.
func IsWrite(m *dns.Msg) bool { return m.Opcode == dns.OpcodeUpdate && len(m.Ns) > 0 }

func (p *Proxy) fate(packet []byte) Fate {
	m := new(dns.Msg)
	if m.Unpack(packet) != nil {
		return Passes // it is the server's to say
	}
	p.mu.Lock()
	p.seen = append(p.seen, m)
	decide := p.decide
	p.mu.Unlock()
	if decide == nil {
		return Passes
	}
	return decide(m)
}

func (p *Proxy) serve(client net.Conn, done <-chan struct{}) {
	server, err := net.Dial("tcp", p.backend)
	if err != nil {
		client.Close()
		return
	}
	ended := make(chan struct{})
	cut := sync.OnceFunc(func() {
		close(ended)
		client.Close()
		server.Close()
	})
	var left atomic.Int64 // bytes of answers that pass
	var both sync.WaitGroup
	both.Go(func() {
		defer cut()
		answers(client, server, &left)
	})
	both.Go(func() {
		select {
		case <-done:
			cut()
		case <-ended:
		}
	})
	p.requests(client, server, &left)
	cut()
	both.Wait()
}

// requests passes messages on to the server until one's fate is another.
func (p *Proxy) requests(client, server net.Conn, left *atomic.Int64) {
	for {
		var length [2]byte
		if _, err := io.ReadFull(client, length[:]); err != nil {
			return
		}
		packet := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(client, packet); err != nil {
			return
		}
		fate := p.fate(packet)
		switch {
		case fate.Drop:
			return
		case fate.Hang:
			_, _ = io.Copy(io.Discard, client) // until it gives up
			return
		case fate.Whole:
			left.Store(1 << 40)
		default:
			left.Store(int64(fate.Answer))
		}
		if _, err := server.Write(append(length[:], packet...)); err != nil {
			return
		}
	}
}

// answers passes answers back as long as they may.
func answers(client, server net.Conn, left *atomic.Int64) {
	buffer := make([]byte, 1<<16)
	for {
		n, err := server.Read(buffer)
		if err != nil {
			return
		}
		may := min(int64(n), left.Load())
		if _, err := client.Write(buffer[:may]); err != nil || may < int64(n) {
			return
		}
		left.Add(-may)
	}
}
