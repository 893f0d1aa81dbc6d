package demo

import (
	"context"
	"net"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nameserver answers every question with what addresses says, on loopback.
type nameserver struct {
	mu        sync.Mutex
	addresses []string
	asked     int
	rcode     int
}

func (n *nameserver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	m := new(dns.Msg).SetRcode(q, n.rcode)
	for _, a := range n.addresses {
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.ParseIP(a)})
	}
	_ = w.WriteMsg(m)
}

func (n *nameserver) set(rcode int, addresses ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rcode, n.addresses = rcode, addresses
}

// lookups is how many it was asked for.
func (n *nameserver) lookups() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

func (n *nameserver) start(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	started := make(chan struct{})
	s := &dns.Server{PacketConn: conn, Handler: n, NotifyStartedFunc: func() { close(started) }}
	ended := make(chan error, 1)
	go func() { ended <- s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		require.NoError(t, s.Shutdown())
		require.NoError(t, <-ended)
	})
	return conn.LocalAddr().String()
}

// web starts a demo node on loopback and returns its port.
func web(t *testing.T, greeting string) uint16 {
	t.Helper()
	s := httptest.NewServer(nodeHandler(Answer{Node: "node1", Greeting: greeting}))
	t.Cleanup(s.Close)
	port, err := strconv.ParseUint(s.URL[strings.LastIndex(s.URL, ":")+1:], 10, 16)
	require.NoError(t, err)
	return uint16(port)
}

func reached(t *testing.T, tally *Tally, what func(Report) bool) Report {
	t.Helper()
	require.Eventually(t, func() bool { r, _ := tally.Report(); return what(r) }, 10*time.Second, time.Millisecond)
	r, _ := tally.Report()
	return r
}

func TestClientLooksUpAndConnectsForEachRequest(t *testing.T) {
	names := &nameserver{addresses: []string{"127.0.0.1"}}
	client := &Client{Name: "web.shop.internal", Port: web(t, "hello"), Nameserver: names.start(t), Tally: NewTally()}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); client.Run(ctx) }()
	reached(t, client.Tally, func(r Report) bool { return r.Requests >= 20 })
	cancel()
	<-ended

	r, _ := client.Tally.Report()
	require.Zero(t, r.Open, "none is under way after Run has returned")
	require.Zero(t, r.Failed, r.Error)
	require.Equal(t, r.Requests, r.Greetings["hello"])
	require.Equal(t, []string{"127.0.0.1"}, r.Addresses)
	require.Equal(t, r.Requests, names.lookups(), "a lookup for each request")
}

func TestClientCountsEveryKindOfFailureOnce(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := uint16(closed.Addr().(*net.TCPAddr).Port)
	require.NoError(t, closed.Close())
	tests := []struct {
		name      string
		rcode     int
		addresses []string
		says      string
	}{
		{"nobody listens", dns.RcodeSuccess, []string{"127.0.0.1"}, "connection refused"},
		{"no such name", dns.RcodeNameError, nil, "NXDOMAIN"},
		{"an empty answer", dns.RcodeSuccess, nil, "no address"},
		{"a nameserver in trouble", dns.RcodeServerFailure, nil, "SERVFAIL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			names := &nameserver{}
			names.set(tt.rcode, tt.addresses...)
			client := &Client{Name: "web.shop.internal", Port: port, Nameserver: names.start(t), Tally: NewTally()}
			_, err := client.request(t.Context())
			client.Tally.begin()
			client.Tally.end(Answer{}, err)
			r, _ := client.Tally.Report()
			require.Equal(t, 1, r.Failed)
			require.Contains(t, r.Error, tt.says)
			require.Equal(t, 1, names.lookups(), "nothing is tried twice")
		})
	}
}

func TestTallyTellsWhenTheAddressesChange(t *testing.T) {
	one, two := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	tally := NewTally()
	_, changed := tally.Report()
	tally.saw([]netip.Addr{one, two})
	<-changed
	_, changed = tally.Report()
	tally.saw([]netip.Addr{one, two})
	select {
	case <-changed:
		t.Fatal("told of a change where there was none")
	default:
	}
	tally.saw([]netip.Addr{two})
	<-changed
}

func TestReportsAreFollowed(t *testing.T) {
	tally := NewTally()
	s := httptest.NewServer(reports(tally))
	defer s.Close()
	ours, theirs := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	var followers sync.WaitGroup
	followers.Go(func() { _ = follow(ctx, s.URL+"/reports", theirs); theirs.Close() })
	c := &client{conn: ours, next: make(chan struct{})}
	followers.Go(func() { c.read(func(string) {}) })

	tally.saw([]netip.Addr{netip.MustParseAddr("10.0.0.1")})
	_, err := c.until(t.Context(), func(r Report) bool { return contains(r.Addresses, "10.0.0.1") })
	require.NoError(t, err)
	tally.saw(nil)
	at, err := c.until(t.Context(), func(r Report) bool { return len(r.Addresses) == 0 })
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), at, 5*time.Second)

	cancel()
	followers.Wait()
	_, err = c.until(t.Context(), func(Report) bool { return false })
	require.Error(t, err, "who waits is told that no report will come")
}
