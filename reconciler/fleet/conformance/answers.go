package conformance

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// NamesSite is a keeper with nothing on its volume, on a host where nodes can be probed.
type NamesSite struct {
	Dial func(ctx context.Context, process string) (Keeper, error)
	// Zone has one environment, on whose network the keeper is, and no node.
	Zone fleet.Zone
	// Node is the nth of nine of the environment's layer web; Port is where it listens, once it does.
	Node func(n int) fleet.ZoneNode
	Port uint16
	// Listen has a node listen, or not.
	Listen func(n int, yes bool)
	// Answers are the addresses that the layer's name is answered with, sorted.
	Answers func(t *testing.T) []netip.Addr
	// Restart ends the keeper and starts it again on its volume.
	Restart func() NamesSite
}

// Names is what a controller relies on where a keeper probes nodes and answers with them. Each test is handed over
// to be run on a site of its own, in whatever time and place.
func Names(t *testing.T, on func(t *testing.T, test func(t *testing.T, s NamesSite))) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s *namesSite)
	}{
		{"a zone is in effect when it is acknowledged", inEffect},
		{"who is to be found and healthy is answered with", truthTable},
		{"what has no probe is healthy at once", unprobed},
		{"probes say who is healthy, and for how long", probed},
		{"where the keeper isn't attached it says nothing", unattached},
		{"a watch tells of changes until its context ends", watched},
		{"a watch ends with its session", watchEnds},
		{"names outlive the keeper", namesKept},
	} {
		t.Run(test.name, func(t *testing.T) {
			on(t, func(t *testing.T, s NamesSite) { test.run(t, &namesSite{s}) })
		})
	}
}

type namesSite struct{ NamesSite }

func (s *namesSite) holder(t *testing.T) Keeper {
	t.Helper()
	k, err := s.Dial(t.Context(), "first")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	require.NoError(t, k.Acquire(t.Context(), "first"))
	return k
}

// probed is a node that is asked often.
func (s *namesSite) probed(n int) fleet.ZoneNode {
	node := s.Node(n)
	node.Probes = []fleet.Probe{{Port: s.Port, Interval: 50 * time.Millisecond, Timeout: time.Second, Retries: 2}}
	return node
}

// set has the keeper told of these nodes.
func (s *namesSite) set(t *testing.T, k Keeper, nodes ...fleet.ZoneNode) {
	t.Helper()
	z := s.Zone
	z.Nodes = nodes
	require.NoError(t, k.SetZone(t.Context(), z))
	require.Equal(t, z, keeperState(t, k).Zone)
}

// answers requires that the name is answered with these nodes.
func (s *namesSite) answers(t *testing.T, nodes ...int) {
	t.Helper()
	var want []netip.Addr
	for _, n := range nodes {
		want = append(want, s.Node(n).Address)
	}
	require.Equal(t, want, s.Answers(t))
}

// becomes waits until the probes say so of a node.
func (s *namesSite) becomes(t *testing.T, k Keeper, n int, healthy bool) fleet.ProbeResult {
	t.Helper()
	return s.heard(t, k, n, func(r fleet.ProbeResult) bool { return r.Healthy == healthy })
}

// remains waits until a node has been as it is for a while longer.
func (s *namesSite) remains(t *testing.T, k Keeper, n int, was fleet.ProbeResult) fleet.ProbeResult {
	t.Helper()
	r := s.heard(t, k, n, func(r fleet.ProbeResult) bool { return r.For >= was.For+20*time.Millisecond })
	require.Equal(t, was.Healthy, r.Healthy)
	return r
}

func (s *namesSite) heard(t *testing.T, k Keeper, n int, holds func(r fleet.ProbeResult) bool) fleet.ProbeResult {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < time.Minute; time.Sleep(5 * time.Millisecond) {
		if r, known := keeperState(t, k).ProbeResult(s.Node(n).Instance); known && holds(r) {
			return r
		}
	}
	require.FailNow(t, "nothing like that heard of it", "node %d", n)
	return fleet.ProbeResult{}
}

func out(n fleet.ZoneNode) fleet.ZoneNode { n.Out = "withdrawn"; return n }

func candidate(n fleet.ZoneNode) fleet.ZoneNode { n.Candidate = true; return n }

func inEffect(t *testing.T, s *namesSite) {
	k := s.holder(t)
	for range 3 {
		s.set(t, k, s.Node(1), s.Node(2))
		s.answers(t, 1, 2)
		s.set(t, k, out(s.Node(1)), s.Node(2))
		s.answers(t, 2)
		s.set(t, k, s.Node(1), out(s.Node(2)))
		s.answers(t, 1)
		s.set(t, k, s.Node(3), candidate(s.Node(4)))
		s.answers(t, 3)
		s.set(t, k)
		s.answers(t)
	}
	require.EqualValues(t, 15, keeperState(t, k).Serial)
}

func truthTable(t *testing.T, s *namesSite) {
	k := s.holder(t)
	s.Listen(1, true)
	s.Listen(2, true)
	s.set(t, k, s.probed(1), s.probed(2), s.probed(3))
	s.becomes(t, k, 1, true)
	s.becomes(t, k, 2, true)
	s.becomes(t, k, 3, false)
	s.answers(t, 1, 2)
	s.set(t, k, out(s.probed(1)), s.probed(2), s.probed(3))
	s.answers(t, 2)
	s.set(t, k, out(s.probed(1)), out(s.probed(2)), s.probed(3))
	s.answers(t, 3) // unhealthy, and the only one to be found
	s.set(t, k, out(s.probed(1)), out(s.probed(2)), out(s.probed(3)))
	s.answers(t, 1, 2, 3)
	s.set(t, k, candidate(s.probed(1)), out(s.probed(2)), out(s.probed(3)))
	s.answers(t, 2, 3) // never with a candidate

	unasked := s.probed(4)
	unasked.Probes[0].Interval, unasked.Probes[0].StartPeriod = time.Hour, time.Hour
	s.set(t, k, s.probed(1), unasked)
	s.answers(t, 1) // who hasn't passed a probe isn't answered with beside one who has

	gated := s.probed(5)
	gated.Probes[0].Gate = true
	s.set(t, k, s.probed(1), gated)
	s.becomes(t, k, 5, false)
	s.answers(t, 1, 5) // a gate's probe takes nobody out
}

func unprobed(t *testing.T, s *namesSite) {
	k := s.holder(t)
	told := time.Now()
	s.set(t, k, s.Node(1))
	first, known := keeperState(t, k).ProbeResult(s.Node(1).Instance)
	require.True(t, known)
	require.True(t, first.Healthy)
	require.False(t, first.Pending)
	later := s.remains(t, k, 1, first)
	s.set(t, k, out(s.Node(1)), s.Node(2))
	last, known := keeperState(t, k).ProbeResult(s.Node(1).Instance)
	require.True(t, known)
	require.GreaterOrEqual(t, last.For, later.For, "told otherwise of it, and it is the same one")
	require.LessOrEqual(t, last.For, time.Since(told))

	again, since := s.Node(1), time.Now()
	again.Epoch = "2"
	s.set(t, k, again)
	r, known := keeperState(t, k).ProbeResult(again.Instance)
	require.True(t, known)
	require.LessOrEqual(t, r.For, time.Since(since), "another start of it")
	require.Len(t, keeperState(t, k).Health, 1, "of those that it was told of last")
}

func probed(t *testing.T, s *namesSite) {
	k := s.holder(t)
	s.Listen(1, true)
	s.Listen(2, true)
	begun := time.Now()
	s.set(t, k, s.probed(2), s.probed(1))
	s.becomes(t, k, 2, true)
	up := s.becomes(t, k, 1, true)
	require.LessOrEqual(t, up.For, time.Since(begun))
	s.answers(t, 1, 2)
	health := keeperState(t, k).Health
	require.Len(t, health, 2)
	require.Less(t, health[0].Instance, health[1].Instance, "sorted")

	more := s.remains(t, k, 1, up)

	stopped := time.Now()
	s.Listen(2, false)
	down := s.becomes(t, k, 2, false)
	require.LessOrEqual(t, down.For, time.Since(stopped), "since it was found out")
	require.Contains(t, down.Last, "refused")
	require.False(t, down.Pending)
	s.answers(t, 1)
	require.GreaterOrEqual(t, s.becomes(t, k, 1, true).For, more.For, "the other one goes on")
	s.set(t, k, s.probed(1), s.probed(2))
	require.GreaterOrEqual(t, s.becomes(t, k, 2, false).For, down.For, "told again, nothing begins anew")

	s.Listen(1, false)
	s.becomes(t, k, 1, false)
	s.answers(t, 1, 2) // nobody is healthy: all are answered with
	back := time.Now()
	s.Listen(2, true)
	require.LessOrEqual(t, s.becomes(t, k, 2, true).For, time.Since(back))
	s.answers(t, 2)
}

// unattached: a node is known to be neither healthy nor unhealthy before its network is the keeper's, too.
func unattached(t *testing.T, s *namesSite) {
	k := s.holder(t)
	z := s.Zone
	z.Networks = append(z.Networks[:1:1], fleet.ZoneNetwork{
		Environment: "far", Name: fleet.NetworkName(z.Fleet, "far"), Layers: []string{"web"},
		Subnet: netip.MustParsePrefix("198.51.100.0/24"), Address: netip.MustParseAddr("198.51.100.2"),
	})
	far := s.probed(9)
	far.Environment = "far"
	z.Nodes = []fleet.ZoneNode{far, s.probed(1)}
	require.NoError(t, k.SetZone(t.Context(), z))
	for _, healthy := range []bool{false, true, false, true} {
		s.Listen(1, healthy)
		s.becomes(t, k, 1, healthy)
		_, known := keeperState(t, k).ProbeResult(far.Instance)
		require.False(t, known)
	}
}

// hintOf waits for a hint after which the condition holds.
func hintOf(t *testing.T, hints <-chan struct{}, holds func() bool) {
	t.Helper()
	patience := time.After(time.Minute)
	for {
		select {
		case _, more := <-hints:
			require.True(t, more, "the watch is over")
			if holds() {
				return
			}
		case <-patience:
			require.FailNow(t, "no hint")
		}
	}
}

// over waits for the end of the hints.
func over(t *testing.T, hints <-chan struct{}) {
	t.Helper()
	patience := time.After(time.Minute)
	for {
		select {
		case _, more := <-hints:
			if !more {
				return
			}
		case <-patience:
			require.FailNow(t, "the watch isn't over")
		}
	}
}

func watched(t *testing.T, s *namesSite) {
	k := s.holder(t)
	s.Listen(1, true)
	ctx, cancel := context.WithCancel(t.Context())
	hints, other := k.Watch(ctx), k.Watch(t.Context())
	is := func(healthy bool) func() bool {
		return func() bool {
			r, known := keeperState(t, k).ProbeResult(s.Node(1).Instance)
			return known && r.Healthy == healthy
		}
	}
	s.set(t, k, s.probed(1))
	hintOf(t, hints, is(true))
	hintOf(t, other, is(true))
	for range 3 {
		s.Listen(1, false)
		hintOf(t, hints, is(false))
		s.Listen(1, true)
		hintOf(t, hints, is(true))
	}
	hintOf(t, k.Watch(ctx), is(true)) // of what is known already
	cancel()
	over(t, hints)
	over(t, k.Watch(ctx))
	s.Listen(1, false)
	hintOf(t, other, is(false))
	lasts(t, k)
}

func watchEnds(t *testing.T, s *namesSite) {
	k := s.holder(t)
	s.set(t, k, s.Node(1))
	hints := k.Watch(t.Context())
	require.NoError(t, k.Close())
	over(t, hints)
	over(t, k.Watch(t.Context()))
}

func namesKept(t *testing.T, s *namesSite) {
	k := s.holder(t)
	s.Listen(2, true)
	s.set(t, k, out(s.Node(1)), s.probed(2), s.Node(3))
	s.becomes(t, k, 2, true)
	begun := time.Now()
	again := &namesSite{s.Restart()}
	k = again.holder(t)
	r := again.becomes(t, k, 2, true)
	require.LessOrEqual(t, r.For, time.Since(begun), "what it had found out went with it")
	again.answers(t, 2, 3)
}
