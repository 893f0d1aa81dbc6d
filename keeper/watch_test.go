package keeper

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func TestWatchBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := start(t, Options{})
		c := k.client(t)
		events, err := c.Watch(t.Context())
		require.NoError(t, err)
		require.Empty(t, (<-events).Health)
		begin := time.Now()
		for range 10 {
			<-events
		}
		require.Equal(t, 10*HeartbeatInterval, time.Since(begin))
		k.stop()
		_, more := <-events
		require.False(t, more)
		<-c.Done()
	})
}

// next waits for an event that tells of an instance's health.
func next(t *testing.T, events <-chan Event, instance string) fleet.ProbeResult {
	t.Helper()
	for {
		select {
		case e, more := <-events:
			require.True(t, more)
			for _, r := range e.Health {
				if r.Instance == instance {
					return r
				}
			}
		case <-time.After(10 * time.Second):
			require.Fail(t, "nothing heard", instance)
		}
	}
}

func TestAnUnhealthyNodeIsOutOfTheAnswersAndTold(t *testing.T) {
	port := freePort(t)
	k := start(t, Options{Port: port})
	c := k.holder(t)
	events, err := c.Watch(t.Context())
	require.NoError(t, err)
	<-events

	servers := map[int]net.Listener{}
	var at uint16
	for _, i := range []int{1, 2} {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 2, byte(i)), Port: int(at)})
		require.NoError(t, err)
		at = l.Addr().(*net.TCPAddr).AddrPort().Port()
		servers[i] = l
		defer l.Close()
	}
	probe := fleet.Probe{Port: at, Interval: 50 * time.Millisecond, Timeout: time.Second, Retries: 2}
	_, err = c.SetZone(t.Context(), zone(node(1, probe), node(2, probe)))
	require.NoError(t, err)
	// In whichever order: both have to be told.
	heard := map[string]bool{}
	for len(heard) < 2 {
		for _, r := range (<-events).Health {
			require.True(t, r.Healthy)
			heard[r.Instance] = true
		}
	}
	require.Len(t, lookup(t, port, "web.", dns.TypeA).Answer, 2)

	servers[2].Close()
	r := next(t, events, "c2")
	require.False(t, r.Healthy)
	require.Contains(t, r.Last, "connection refused")
	answer := lookup(t, port, "web.", dns.TypeA).Answer
	require.Len(t, answer, 1)
	require.Equal(t, "127.0.2.1", answer[0].(*dns.A).A.String())
	require.Len(t, lookup(t, port, "node2.web.", dns.TypeA).Answer, 1, "its own name stays")

	servers[1].Close()
	require.False(t, next(t, events, "c1").Healthy)
	require.Len(t, lookup(t, port, "web.", dns.TypeA).Answer, 2, "all unhealthy: all are answered")
	s, err := c.State(t.Context())
	require.NoError(t, err)
	require.Len(t, s.Health, 2)
	require.Empty(t, s.Unbound)
}
