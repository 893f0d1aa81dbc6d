package keeper

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// pipes is a listener whose connections are pipes in memory, so that time can be made up around them.
type pipes struct {
	conns     chan net.Conn
	done      chan struct{}
	once      sync.Once
	accepting chan struct{}
	begin     sync.Once
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), done: make(chan struct{}), accepting: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	p.begin.Do(func() { close(p.accepting) })
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.done:
		return nil, errors.New("the keeper isn't there")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// running is a keeper under test.
type running struct {
	*pipes
	dir  string
	stop func()
}

// start runs a keeper over a folder until the test ends or stop is called.
func start(t *testing.T, o Options) *running {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Upstreams == nil {
		o.Upstreams = []string{}
	}
	if o.Port == 0 {
		o.Port = freePort(t)
	}
	p := newPipes()
	o.listener = p
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, o) }()
	stop := sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	t.Cleanup(stop)
	select {
	case <-p.accepting:
	case err := <-ended:
		require.NoError(t, err)
	}
	return &running{pipes: p, dir: o.Dir, stop: stop}
}

func (r *running) client(t *testing.T) *Client {
	t.Helper()
	c, err := Dial(t.Context(), r.dial)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// holder is a client with the lease.
func (r *running) holder(t *testing.T) *Client {
	t.Helper()
	c := r.client(t)
	require.NoError(t, c.Acquire(t.Context(), t.Name()))
	return c
}

// freePort finds a port that is free on loopback for both protocols.
func freePort(t *testing.T) uint16 {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenPacket("udp", l.Addr().String())
		l.Close()
		if err == nil {
			u.Close()
			return uint16(port)
		}
	}
	t.Fatal("no port is free")
	return 0
}

// zone is an environment `shop` on loopback, whose keeper is at 127.0.1.2.
func zone(nodes ...fleet.ZoneNode) *fleet.Zone {
	return &fleet.Zone{
		Fleet: "production", Host: "hn1", Domain: "internal", TTL: time.Second,
		Pool: netip.MustParsePrefix("127.0.0.0/12"),
		Networks: []fleet.ZoneNetwork{{
			Environment: "shop", Name: "evenkeel_production_shop", Layers: []string{"web", "db"},
			Subnet: netip.MustParsePrefix("127.0.0.0/22"), Address: netip.MustParseAddr("127.0.1.2"),
		}},
		Nodes: nodes,
	}
}

// node is a node of shop/web at 127.0.2.<ordinal>.
func node(ordinal int, probes ...fleet.Probe) fleet.ZoneNode {
	return fleet.ZoneNode{
		NodeID: fleet.NodeID{Environment: "shop", Layer: "web", Node: ordinal}, Generation: 1,
		Instance: "c" + string(rune('0'+ordinal)), Address: netip.AddrFrom4([4]byte{127, 0, 2, byte(ordinal)}), Probes: probes,
	}
}

// lookup asks the keeper of zone() as a node would.
func lookup(t *testing.T, port uint16, name string, qtype uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.1.2"), port)
	r, _, err := (&dns.Client{Timeout: 5 * time.Second}).ExchangeContext(t.Context(), m, at.String())
	require.NoError(t, err)
	return r
}
