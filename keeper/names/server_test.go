package names

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// loopback is an environment whose network is a part of loopback, with n nodes of a layer.
func loopback(n int) *fleet.Zone {
	z := &fleet.Zone{Fleet: "f", Domain: "internal", TTL: time.Second, Pool: netip.MustParsePrefix("127.0.0.0/16"),
		Networks: []fleet.ZoneNetwork{{Environment: "shop", Name: "n", Subnet: netip.MustParsePrefix("127.0.0.0/16"),
			Address: netip.MustParseAddr("127.0.3.1"), Layers: []string{"web"}}}}
	for i := range n {
		z.Nodes = append(z.Nodes, zoneNode("shop", "web", i+1, fmt.Sprintf("127.0.%d.%d", 8+i/250, 1+i%250)))
	}
	return z
}

func serve(t testing.TB, z *fleet.Zone, upstreams ...string) (*Server, string) {
	t.Helper()
	l, err := net.Listen("tcp", z.Networks[0].Address.String()+":0")
	require.NoError(t, err)
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	s := NewServer(ctx, NewForwarder(upstreams), port)
	t.Cleanup(func() { cancel(); s.Close() })
	s.Serve(Compile(z, 1, nil, health()), z.Networks)
	return s, netip.AddrPortFrom(z.Networks[0].Address, port).String()
}

func TestLongAnswersGoOverTCP(t *testing.T) {
	_, at := serve(t, loopback(200))
	c := &dns.Client{}
	m, _, err := c.Exchange(query("web.shop.internal."), at)
	require.NoError(t, err)
	require.True(t, m.Truncated)
	m.Compress = true
	require.LessOrEqual(t, m.Len(), dns.MinMsgSize)
	require.NotEmpty(t, m.Answer)

	r := query("web.shop.internal.")
	r.SetEdns0(4096, false)
	m, _, err = c.Exchange(r, at)
	require.NoError(t, err)
	require.True(t, m.Truncated)
	m.Compress = true
	require.LessOrEqual(t, m.Len(), udpSize)
	require.NotNil(t, m.IsEdns0())

	c.Net = "tcp"
	m, _, err = c.Exchange(query("web.shop.internal."), at)
	require.NoError(t, err)
	require.False(t, m.Truncated)
	require.Len(t, m.Answer, 200)
	require.True(t, m.Authoritative)
}

func TestWhatIsNotOursIsForwarded(t *testing.T) {
	u := newUpstream(t, answerWith(address("example.com.", "192.0.2.1", 60)))
	_, at := serve(t, loopback(1), u.address)
	m, _, err := (&dns.Client{}).Exchange(query("eXample.com."), at)
	require.NoError(t, err)
	require.Len(t, m.Answer, 1)
	require.Equal(t, "eXample.com.", m.Question[0].Name)
	for _, name := range []string{"secret.", "nope.shop.internal.", "9.9.0.127.in-addr.arpa."} {
		m, _, err := (&dns.Client{}).Exchange(query(name), at)
		require.NoError(t, err)
		require.Equal(t, dns.RcodeNameError, m.Rcode)
		require.IsType(t, &dns.SOA{}, m.Ns[0])
		require.EqualValues(t, 1, m.Ns[0].(*dns.SOA).Minttl)
	}
	require.EqualValues(t, 1, u.asked.Load())
}

func TestOnlyTheNetworkItselfIsAnswered(t *testing.T) {
	_, at := serve(t, loopback(1))
	c := &dns.Client{Dialer: &net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 1, 0, 1)}}}
	m, _, err := c.Exchange(query("web."), at)
	require.NoError(t, err)
	require.Equal(t, dns.RcodeRefused, m.Rcode)
}

func TestNetworksComeAndGo(t *testing.T) {
	z := loopback(1)
	s, at := serve(t, z)
	moved := loopback(1)
	moved.Networks[0].Address = netip.MustParseAddr("127.0.3.2")
	s.Serve(Compile(moved, 2, nil, health()), moved.Networks)
	_, _, err := (&dns.Client{Timeout: 200 * time.Millisecond}).Exchange(query("web."), at)
	require.Error(t, err)
	m, _, err := (&dns.Client{}).Exchange(query("web."), netip.AddrPortFrom(moved.Networks[0].Address, s.port).String())
	require.NoError(t, err)
	require.Len(t, m.Answer, 1)
}

func TestALookupUnderWayHoldsNoChangeUp(t *testing.T) {
	asked := make(chan struct{}, 10)
	u := newUpstream(t, func(*dns.Msg, bool) *dns.Msg { asked <- struct{}{}; return nil })
	z := loopback(1)
	s, at := serve(t, z, u.address)
	var waiting sync.WaitGroup
	waiting.Go(func() { _, _, _ = (&dns.Client{Timeout: 100 * time.Millisecond}).Exchange(query("example.com."), at) })
	<-asked
	begin := time.Now()
	s.Serve(Compile(&fleet.Zone{}, 2, nil, health()), nil)
	s.Serve(Compile(z, 3, nil, health()), z.Networks)
	require.Less(t, time.Since(begin), tryTimeout/2)
	m, _, err := (&dns.Client{}).Exchange(query("web."), at)
	require.NoError(t, err, "the address was free to be bound anew")
	require.Len(t, m.Answer, 1)
	waiting.Wait()
}

func TestATakenAddressIsRetried(t *testing.T) {
	z := loopback(1)
	taken, err := net.ListenPacket("udp", "127.0.3.1:0")
	require.NoError(t, err)
	port := taken.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	s := NewServer(t.Context(), NewForwarder(nil), port)
	defer s.Close()
	s.Serve(Compile(z, 1, nil, health()), z.Networks)
	require.Len(t, s.Unbound(), 1)
	require.Contains(t, s.Unbound()[0], "address already in use")
	taken.Close()
	require.Eventually(t, func() bool { return len(s.Unbound()) == 0 }, 5*time.Second, 10*time.Millisecond)
	m, _, err := (&dns.Client{}).Exchange(query("web."), taken.LocalAddr().String())
	require.NoError(t, err)
	require.Len(t, m.Answer, 1)
}

// inNamespace runs the test again, alone, in a network namespace of its own, and says whether this is there.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv("IN_NAMESPACE") == t.Name() {
		return true
	}
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v")
	c.Env = append(os.Environ(), "IN_NAMESPACE="+t.Name())
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
	return false
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput()
	require.NoError(t, err, "ip %v: %s", args, out)
}

func TestAnAddressIsBoundBeforeItIsThere(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ip(t, "link", "set", "lo", "up")
	z := twoEnvironments()
	s := NewServer(t.Context(), NewForwarder(nil), 53)
	defer s.Close()
	s.Serve(Compile(z, 1, nil, health()), z.Networks)
	require.Equal(t, []string{
		"10.112.0.2: the keeper isn't attached to the network yet",
		"10.112.4.2: the keeper isn't attached to the network yet",
	}, s.Unbound())
	ip(t, "address", "add", "10.112.0.2/32", "dev", "lo")
	require.Len(t, s.Unbound(), 1)
	for _, network := range []string{"udp", "tcp"} {
		m, _, err := (&dns.Client{Net: network}).Exchange(query("web."), "10.112.0.2:53")
		require.NoError(t, err)
		require.Len(t, m.Answer, 2)
	}
	ip(t, "address", "del", "10.112.0.2/32", "dev", "lo")
	require.Len(t, s.Unbound(), 2)
	ip(t, "address", "add", "10.112.0.2/32", "dev", "lo")
	m, _, err := (&dns.Client{}).Exchange(query("web."), "10.112.0.2:53")
	require.NoError(t, err, "the same sockets serve an address that comes back")
	require.Len(t, m.Answer, 2)
}

// What a listener would answer to any packet has to be packable, and for every question there is an answer.
func FuzzAnswer(f *testing.F) {
	for _, name := range []string{"web.", "node1.web.shop.internal.", "1.2.112.10.in-addr.arpa.", "go.dev.", "."} {
		m := query(name)
		m.SetEdns0(1232, true)
		b, err := m.Pack()
		require.NoError(f, err)
		f.Add(b, false)
	}
	z := twoEnvironments()
	s := NewServer(f.Context(), NewForwarder(nil), 53)
	s.table.Store(Compile(z, 7, nil, health()))
	l := &listener{server: s, address: z.Networks[0].Address, forwards: make(chan struct{}, 1)}
	f.Fuzz(func(t *testing.T, packet []byte, tcp bool) {
		r := new(dns.Msg)
		if r.Unpack(packet) != nil {
			return
		}
		m := s.answer(t.Context(), l, r, netip.MustParseAddr("10.112.2.1"), tcp)
		b, err := m.Pack()
		if err != nil {
			// The library can read names that it can't write; the asker made it up itself.
			_, again := r.Pack()
			require.Error(t, again, "%v", err)
			return
		}
		if !tcp {
			require.LessOrEqual(t, len(b), max(dns.MinMsgSize, udpSize))
		}
		require.Empty(t, l.forwards)
	})
}

func BenchmarkLookup(b *testing.B) {
	z := loopback(8)
	s, _ := serve(b, z)
	l := s.listeners[z.Networks[0].Address]
	r := query("web.shop.internal.")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m := s.answer(context.Background(), l, r, netip.MustParseAddr("127.0.0.1"), false)
			if _, err := m.Pack(); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkLookupOverUDP is with the sockets and the asker, who shares the machine.
func BenchmarkLookupOverUDP(b *testing.B) {
	_, at := serve(b, loopback(8))
	b.ReportAllocs()
	var failed atomic.Int32
	b.RunParallel(func(pb *testing.PB) {
		conn, err := dns.Dial("udp", at)
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		for pb.Next() {
			if conn.WriteMsg(query("web.shop.internal.")) != nil {
				failed.Add(1)
			}
			if m, err := conn.ReadMsg(); err != nil || len(m.Answer) != 8 {
				failed.Add(1)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lookups/s")
	require.Zero(b, failed.Load())
}
