package names

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// upstream is a resolver on loopback that answers with what handle says; nil: silence.
type upstream struct {
	address string
	asked   atomic.Int32
	mu      sync.Mutex
	seen    []*dns.Msg
}

func newUpstream(t *testing.T, handle func(r *dns.Msg, tcp bool) *dns.Msg) *upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p, err := net.ListenPacket("udp", l.Addr().String())
	require.NoError(t, err)
	u := &upstream{address: l.Addr().String()}
	serve := func(tcp bool) dns.HandlerFunc {
		return func(w dns.ResponseWriter, r *dns.Msg) {
			u.asked.Add(1)
			u.mu.Lock()
			u.seen = append(u.seen, r.Copy())
			u.mu.Unlock()
			if m := handle(r, tcp); m != nil {
				_ = w.WriteMsg(m)
			}
		}
	}
	var done sync.WaitGroup
	servers := []*dns.Server{{Listener: l, Handler: serve(true)}, {PacketConn: p, Handler: serve(false)}}
	for _, s := range servers {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		done.Go(func() { _ = s.ActivateAndServe() })
		<-started
	}
	t.Cleanup(func() {
		for _, s := range servers {
			_ = s.Shutdown()
		}
		done.Wait()
	})
	return u
}

func query(name string) *dns.Msg {
	return new(dns.Msg).SetQuestion(name, dns.TypeA)
}

func address(name, ip string, ttl uint32) dns.RR {
	return &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}, A: net.ParseIP(ip)}
}

func answerWith(rrs ...dns.RR) func(*dns.Msg, bool) *dns.Msg {
	return func(r *dns.Msg, _ bool) *dns.Msg {
		m := new(dns.Msg).SetReply(r)
		m.Answer = rrs
		return m
	}
}

func TestForwardKeepsAnswersForTheirTTL(t *testing.T) {
	u := newUpstream(t, answerWith(address("example.com.", "192.0.2.1", 30)))
	f := NewForwarder([]string{u.address})
	r := query("example.com.")
	for range 3 {
		m := f.Exchange(t.Context(), r)
		require.Equal(t, r.Id, m.Id)
		require.Len(t, m.Answer, 1)
		require.True(t, m.RecursionAvailable)
	}
	require.EqualValues(t, 1, u.asked.Load())
	k, _ := cacheKey(r)
	m := f.cache.get(k, time.Now().Add(20*time.Second))
	require.LessOrEqual(t, m.Answer[0].Header().Ttl, uint32(10))
	require.Nil(t, f.cache.get(k, time.Now().Add(31*time.Second)))
}

func TestForwardDoesNotKeepWhatItMayNot(t *testing.T) {
	soa := &dns.SOA{Hdr: dns.RR_Header{Name: "com.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 900}, Ns: "a.", Mbox: "b.", Minttl: 5}
	reply := func(rcode int, answer, ns []dns.RR) *dns.Msg {
		m := &dns.Msg{Answer: answer, Ns: ns}
		m.Rcode = rcode
		return m
	}
	for name, c := range map[string]struct {
		m    *dns.Msg
		want time.Duration
	}{
		"zero ttl":             {reply(0, []dns.RR{address("a.", "192.0.2.1", 0)}, nil), 0},
		"least ttl":            {reply(0, []dns.RR{address("a.", "192.0.2.1", 9), address("a.", "192.0.2.2", 3)}, nil), 3 * time.Second},
		"failure":              {reply(dns.RcodeServerFailure, nil, []dns.RR{soa}), 0},
		"negative":             {reply(dns.RcodeNameError, nil, []dns.RR{soa}), 5 * time.Second},
		"negative without SOA": {reply(dns.RcodeNameError, nil, nil), 0},
	} {
		require.Equal(t, c.want, lifetime(c.m), name)
	}
}

func TestForwardGoesOnToTheNextResolver(t *testing.T) {
	broken := newUpstream(t, func(r *dns.Msg, _ bool) *dns.Msg { return new(dns.Msg).SetRcode(r, dns.RcodeServerFailure) })
	silent := newUpstream(t, func(*dns.Msg, bool) *dns.Msg { return nil })
	good := newUpstream(t, answerWith(address("example.com.", "192.0.2.1", 0)))
	f := NewForwarder([]string{broken.address, silent.address, good.address})
	m := f.Exchange(t.Context(), query("example.com."))
	require.Len(t, m.Answer, 1)

	require.Equal(t, dns.RcodeServerFailure, NewForwarder([]string{broken.address}).Exchange(t.Context(), query("a.b.")).Rcode)
	require.Equal(t, dns.RcodeServerFailure, NewForwarder(nil).Exchange(t.Context(), query("a.b.")).Rcode)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.Equal(t, dns.RcodeServerFailure, NewForwarder([]string{silent.address}).Exchange(ctx, query("a.b.")).Rcode)
}

func TestForwardTriesAgain(t *testing.T) {
	var lost atomic.Bool
	u := newUpstream(t, func(r *dns.Msg, tcp bool) *dns.Msg {
		if !lost.Swap(true) {
			return nil
		}
		return answerWith(address("example.com.", "192.0.2.1", 0))(r, tcp)
	})
	require.Len(t, NewForwarder([]string{u.address}).Exchange(t.Context(), query("example.com.")).Answer, 1)
}

func TestForwardTakesLongAnswersOverTCP(t *testing.T) {
	u := newUpstream(t, func(r *dns.Msg, tcp bool) *dns.Msg {
		m := new(dns.Msg).SetReply(r)
		if !tcp {
			m.Truncated = true
			return m
		}
		for i := range 100 {
			m.Answer = append(m.Answer, address("example.com.", net.IPv4(192, 0, 2, byte(i)).String(), 5))
		}
		return m
	})
	require.Len(t, NewForwarder([]string{u.address}).Exchange(t.Context(), query("example.com.")).Answer, 100)
}

func TestForwardPassesEDNSOn(t *testing.T) {
	u := newUpstream(t, answerWith(address("example.com.", "192.0.2.1", 60)))
	f := NewForwarder([]string{u.address})
	r := query("example.com.")
	r.SetEdns0(4096, true)
	opt := r.IsEdns0()
	opt.Option = append(opt.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"})
	for range 2 {
		f.Exchange(t.Context(), r)
	}
	require.EqualValues(t, 2, u.asked.Load(), "an answer to one asker's options is nobody else's")
	u.mu.Lock()
	defer u.mu.Unlock()
	got := u.seen[0].IsEdns0()
	require.True(t, got.Do())
	require.EqualValues(t, udpSize, got.UDPSize())
	require.Len(t, got.Option, 1)
}

func TestForwardAsksOnceForMany(t *testing.T) {
	release := make(chan struct{})
	u := newUpstream(t, func(r *dns.Msg, tcp bool) *dns.Msg {
		<-release
		return answerWith(address("example.com.", "192.0.2.1", 60))(r, tcp)
	})
	f := NewForwarder([]string{u.address})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			m := f.Exchange(context.Background(), query("example.com."))
			m.Answer[0].Header().Ttl = 7 // each has its own
		})
	}
	require.Eventually(t, func() bool { return u.asked.Load() > 0 }, 5*time.Second, time.Millisecond)
	close(release)
	all.Wait()
	require.EqualValues(t, 1, u.asked.Load())
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache(3)
	now := time.Now()
	for _, n := range []string{"a.x.", "b.x.", "c.x.", "d.x."} {
		k, _ := cacheKey(query(n))
		c.put(k, &dns.Msg{Answer: []dns.RR{address(n, "192.0.2.1", 60)}}, now)
		first, _ := cacheKey(query("a.x."))
		require.NotNil(t, c.get(first, now), "the one that is used stays")
	}
	require.Len(t, c.byKey, 3)
	require.Equal(t, 3, c.recents.Len())
}
