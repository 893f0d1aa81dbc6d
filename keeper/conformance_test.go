package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/wire"
	"github.com/evenkeel/evenkeel/keeper"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/fleet/conformance"
)

const fleetName = "production"

func TestSessionConformance(t *testing.T) {
	conformance.Sessions(t, func(t *testing.T, test func(t *testing.T, s conformance.KeeperSite)) {
		synctest.Test(t, func(t *testing.T) {
			test(t, site(t, keeper.Options{Fleet: fleetName, Dir: t.TempDir(), Upstreams: []string{}, Port: 53}))
		})
	})
}

// site is a keeper that runs, as a controller reaches it.
func site(t *testing.T, o keeper.Options) conformance.KeeperSite {
	l := newLine()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- keeper.Serve(ctx, o.Listening(l)) }()
	kill := sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	t.Cleanup(kill)
	<-l.accepting
	return conformance.KeeperSite{
		Fleet: fleetName,
		// A process is told from another by whom it asks for the lease for.
		Dial: func(ctx context.Context, _ string) (conformance.Keeper, error) { return wire.DialKeeper(ctx, l.dial) },
		Cut:  l.cut, Kill: kill,
		Start: func() conformance.KeeperSite { return site(t, o) },
	}
}

// line is how a keeper is reached: a listener whose connections are in memory, and can be cut.
type line struct {
	conns     chan net.Conn
	closed    chan struct{}
	close     func()
	accepting chan struct{}
	accepts   func()

	mu   sync.Mutex
	open chan struct{} // closed while the line isn't cut
}

func newLine() *line {
	l := &line{conns: make(chan net.Conn), closed: make(chan struct{}), accepting: make(chan struct{}), open: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	l.accepts = sync.OnceFunc(func() { close(l.accepting) })
	close(l.open)
	return l
}

func (l *line) Accept() (net.Conn, error) {
	l.accepts()
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *line) Close() error   { l.close(); return nil }
func (l *line) Addr() net.Addr { return &net.UnixAddr{Name: "line", Net: "unix"} }

// cut has nothing pass until what it returns is called.
func (l *line) cut() (mend func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	open := make(chan struct{})
	l.open = open
	return func() { close(open) }
}

// passable returns once the line isn't cut.
func (l *line) passable() {
	l.mu.Lock()
	open := l.open
	l.mu.Unlock()
	<-open
}

func (l *line) dial(context.Context) (net.Conn, error) {
	client, near := net.Pipe()
	far, server := net.Pipe()
	select {
	case l.conns <- server:
	case <-l.closed:
		return nil, errors.New("the keeper isn't there")
	}
	go l.pass(near, far)
	go l.pass(far, near)
	return client, nil
}

// pass carries over what is read, and that there is no more. What is on its way holds nobody up who writes.
func (l *line) pass(from, to net.Conn) {
	defer to.Close()
	under := make(chan []byte, 1000)
	go func() {
		defer close(under)
		for {
			b := make([]byte, 32<<10)
			n, err := from.Read(b)
			under <- b[:n]
			if err != nil {
				return
			}
		}
	}()
	for b := range under {
		l.passable()
		if _, err := to.Write(b); err != nil {
			from.Close()
		}
	}
	l.passable()
}

func TestNamesConformance(t *testing.T) {
	conformance.Names(t, func(t *testing.T, test func(t *testing.T, s conformance.NamesSite)) {
		h := &nodes{port: keeper.FreePort(t), listening: map[int]net.Listener{}}
		t.Cleanup(func() {
			for n := range h.listening {
				h.listen(n, false)
			}
		})
		test(t, h.site(t, keeper.Options{Fleet: fleetName, Dir: t.TempDir(), Upstreams: []string{}, Port: keeper.FreePort(t)}))
	})
}

// nodes are at 127.0.2.<n>, and their keeper is at 127.0.1.2.
type nodes struct {
	port      uint16
	listening map[int]net.Listener
}

func (h *nodes) address(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 2, byte(n)}), h.port)
}

func (h *nodes) listen(n int, yes bool) {
	l := h.listening[n]
	switch {
	case yes && l == nil:
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(h.address(n)))
		if err != nil {
			panic(err)
		}
		h.listening[n] = l
	case !yes && l != nil:
		l.Close()
		delete(h.listening, n)
	}
}

func (h *nodes) site(t *testing.T, o keeper.Options) conformance.NamesSite {
	s := site(t, o)
	network := fleet.ZoneNetwork{
		Environment: "shop", Name: fleet.NetworkName(fleetName, "shop"), Layers: []string{"web"},
		Subnet: netip.MustParsePrefix("127.0.0.0/22"), Address: netip.MustParseAddr("127.0.1.2"),
	}
	return conformance.NamesSite{
		Dial: s.Dial, Port: h.port, Listen: h.listen,
		Zone: fleet.Zone{
			Fleet: fleetName, Host: "h1", Domain: "internal", TTL: time.Second, Pool: netip.MustParsePrefix("127.0.0.0/12"),
			Networks: []fleet.ZoneNetwork{network},
		},
		Node: func(n int) fleet.ZoneNode {
			return fleet.ZoneNode{
				NodeID: fleet.NodeID{Environment: "shop", Layer: "web", Node: n}, Generation: 1, Instance: fmt.Sprint("c", n), Address: h.address(n).Addr(),
			}
		},
		Answers: func(t *testing.T) []netip.Addr { return answers(t, netip.AddrPortFrom(network.Address, o.Port)) },
		Restart: func() conformance.NamesSite {
			s.Kill()
			return h.site(t, o)
		},
	}
}

// answers asks a keeper as a node does.
func answers(t *testing.T, at netip.AddrPort) (addresses []netip.Addr) {
	t.Helper()
	m := new(dns.Msg).SetQuestion("web.shop.internal.", dns.TypeA)
	r, _, err := (&dns.Client{Timeout: 5 * time.Second}).ExchangeContext(t.Context(), m, at.String())
	require.NoError(t, err)
	for _, rr := range r.Answer {
		a, ok := netip.AddrFromSlice(rr.(*dns.A).A.To4())
		require.True(t, ok)
		addresses = append(addresses, a)
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	return addresses
}
