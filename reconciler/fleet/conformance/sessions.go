package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// Sessions is what a controller relies on where it speaks to a keeper: the lease, and what is kept under it. Each
// test is handed over to be run on a site of its own, where time is made up.
func Sessions(t *testing.T, on func(t *testing.T, test func(t *testing.T, s KeeperSite))) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s *keeperSite)
	}{
		{"a keeper says what it is", hello},
		{"nothing is changed without the lease", unleased},
		{"one process has the lease", oneHolder},
		{"of many who ask at once one gets it", manyAtOnce},
		{"a lease that is asked for again stays", renewed},
		{"a session that lives keeps its lease", living},
		{"given back, the next needn't wait", givenBack},
		{"a process that comes back takes its lease along", comesBack},
		{"a session's end leaves its lease a grace", closed},
		{"a short silence ends nothing", shortSilence},
		{"a long silence ends the session, and its holder knows first", longSilence},
		{"a call ends with its context, and the session doesn't", cancelled},
		{"what is acknowledged is told from then on", told},
		{"what is kept isn't what was handed over", apart},
		{"a zone that can't be served is refused whole", badZones},
		{"records are put, replaced and deleted", records},
		{"a record that can't be kept is refused", badRecords},
		{"of two copies the newer is kept", copies},
		{"what is kept outlives the keeper", killed},
		{"a lease that was given back before a restart is nobody's", killedUnleased},
		{"a successor waits until its predecessor retires", succession},
		{"the successor of a killed keeper takes over", killedSuccession},
		{"a retired keeper without a successor comes back", unsucceeded},
	} {
		t.Run(test.name, func(t *testing.T) {
			on(t, func(t *testing.T, s KeeperSite) { test.run(t, &keeperSite{s}) })
		})
	}
}

type keeperSite struct{ KeeperSite }

func (s *keeperSite) dial(t *testing.T, process string) Keeper {
	t.Helper()
	k, err := s.Dial(t.Context(), process)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	return k
}

// holder is a process's session with the lease.
func (s *keeperSite) holder(t *testing.T, process string) Keeper {
	t.Helper()
	k := s.dial(t, process)
	require.NoError(t, k.Acquire(t.Context(), process))
	return k
}

func (s *keeperSite) start() *keeperSite { return &keeperSite{s.Start()} }

// zone has no network: whoever makes time up can't wait for one.
func (s *keeperSite) zone(ttl time.Duration) fleet.Zone {
	return fleet.Zone{Fleet: s.Fleet, Host: "h1", Domain: "internal", TTL: ttl, Pool: netip.MustParsePrefix("10.112.0.0/12")}
}

func keeperState(t *testing.T, k Keeper) *fleet.KeeperState {
	t.Helper()
	s, err := k.State(t.Context())
	require.NoError(t, err)
	return s
}

// heldBy requires that the lease is refused for another's sake.
func heldBy(t *testing.T, process string, err error) {
	t.Helper()
	var held interface{ Holder() string }
	require.ErrorAs(t, err, &held)
	require.Equal(t, process, held.Holder())
	require.ErrorContains(t, err, process)
	require.NotErrorIs(t, err, fleet.ErrUnreachable)
	require.NotErrorIs(t, err, fleet.ErrFenced)
}

// changes are all calls that need the lease.
func (s *keeperSite) changes(ctx context.Context, k Keeper) map[string]error {
	return map[string]error{
		"zone": k.SetZone(ctx, s.zone(77*time.Second)), "put": k.PutRecord(ctx, "stray", 1), "delete": k.DeleteRecord(ctx, "kept"),
		"copy": k.SetCopy(ctx, fleet.Copy{Serial: 77}), "retire": k.Retire(ctx), "release": k.Release(ctx),
	}
}

// fenced requires that no change gets through.
func (s *keeperSite) fenced(t *testing.T, k Keeper) {
	t.Helper()
	before := keeperState(t, k)
	for what, err := range s.changes(t.Context(), k) {
		require.ErrorIs(t, err, fleet.ErrFenced, what)
	}
	require.Zero(t, k.LeaseLeft())
	unchanged(t, before, keeperState(t, k))
}

// silentNow requires that nothing is heard over a session any more.
func (s *keeperSite) silentNow(t *testing.T, k Keeper) {
	t.Helper()
	for what, err := range s.changes(t.Context(), k) {
		require.True(t, errors.Is(err, fleet.ErrUnreachable) || errors.Is(err, fleet.ErrFenced), "%s: %v", what, err)
	}
	_, err := k.State(t.Context())
	require.ErrorIs(t, err, fleet.ErrUnreachable)
	require.ErrorIs(t, k.Acquire(t.Context(), "anybody"), fleet.ErrUnreachable)
	require.Zero(t, k.LeaseLeft())
}

// unchanged compares what is kept, and whose the lease is.
func unchanged(t *testing.T, before, after *fleet.KeeperState) {
	t.Helper()
	b, a := *before, *after
	require.Equal(t, b.Lease == nil, a.Lease == nil)
	if b.Lease != nil {
		require.Equal(t, b.Lease.Token, a.Lease.Token)
		require.Equal(t, b.Lease.Holder, a.Lease.Holder)
	}
	b.Lease, a.Lease, b.Health, a.Health = nil, nil, nil, nil
	require.Equal(t, b, a)
}

func endsWithin(t *testing.T, k Keeper, d time.Duration) {
	t.Helper()
	select {
	case <-k.Done():
	case <-time.After(d):
		require.Fail(t, "the session isn't over", "after %s", d)
	}
	require.Zero(t, k.LeaseLeft())
}

func lasts(t *testing.T, k Keeper) {
	t.Helper()
	select {
	case <-k.Done():
		require.Fail(t, "the session is over")
	default:
	}
}

func hello(t *testing.T, s *keeperSite) {
	k := s.dial(t, "first")
	st := keeperState(t, k)
	require.Positive(t, st.Version)
	require.Equal(t, s.Fleet, st.Fleet)
	require.Equal(t, fleet.KeeperActive, st.Mode)
	require.Zero(t, st.Serial)
	require.Zero(t, st.Copy)
	require.Empty(t, st.Records)
	require.Empty(t, st.Health)
	require.Empty(t, st.Problems)
	require.Nil(t, st.Lease)
	require.Zero(t, k.LeaseLeft())
	lasts(t, k)
}

func unleased(t *testing.T, s *keeperSite) {
	s.fenced(t, s.dial(t, "first"))
	k := s.holder(t, "second")
	require.NoError(t, k.PutRecord(t.Context(), "kept", 1))
	s.fenced(t, s.dial(t, "first"))
	s.fenced(t, s.dial(t, "second")) // over another session than the one that it came over
	require.NoError(t, k.DeleteRecord(t.Context(), "kept"))
}

func oneHolder(t *testing.T, s *keeperSite) {
	first, second := s.holder(t, "first"), s.dial(t, "second")
	for range 3 {
		heldBy(t, "first", second.Acquire(t.Context(), "second"))
		s.fenced(t, second)
		time.Sleep(20 * time.Second)
	}
	l := keeperState(t, second).Lease
	require.Equal(t, "first", l.Holder)
	require.EqualValues(t, 1, l.Token)
	require.GreaterOrEqual(t, l.Held, time.Minute)
	require.Greater(t, first.LeaseLeft(), freshLease)
	require.NoError(t, first.PutRecord(t.Context(), "a", 1))
}

func manyAtOnce(t *testing.T, s *keeperSite) {
	var sessions []Keeper
	for i := range 8 {
		sessions = append(sessions, s.dial(t, fmt.Sprint("process ", i)))
	}
	errs := make([]error, len(sessions))
	var wg sync.WaitGroup
	for i, k := range sessions {
		wg.Go(func() { errs[i] = k.Acquire(t.Context(), fmt.Sprint("process ", i)) })
	}
	wg.Wait()
	winner := keeperState(t, sessions[0]).Lease.Holder
	through := 0
	for i, k := range sessions {
		if fmt.Sprint("process ", i) == winner {
			require.NoError(t, errs[i])
			require.NoError(t, k.PutRecord(t.Context(), "a", i))
			through++
			continue
		}
		heldBy(t, winner, errs[i])
	}
	require.Equal(t, 1, through)
}

func renewed(t *testing.T, s *keeperSite) {
	k := s.holder(t, "first")
	time.Sleep(time.Minute)
	require.NoError(t, k.Acquire(t.Context(), "first"))
	l := keeperState(t, k).Lease
	require.EqualValues(t, 1, l.Token)
	require.GreaterOrEqual(t, l.Held, time.Minute)
}

func living(t *testing.T, s *keeperSite) {
	k := s.holder(t, "first")
	for range 200 {
		time.Sleep(700 * time.Millisecond)
		require.Greater(t, k.LeaseLeft(), freshLease)
		require.LessOrEqual(t, k.LeaseLeft(), silence)
	}
	lasts(t, k)
	require.NoError(t, k.PutRecord(t.Context(), "a", 1))
}

func givenBack(t *testing.T, s *keeperSite) {
	first, second := s.holder(t, "first"), s.dial(t, "second")
	require.NoError(t, first.Release(t.Context()))
	require.Zero(t, first.LeaseLeft())
	require.Nil(t, keeperState(t, first).Lease)
	s.fenced(t, first)
	require.NoError(t, second.Acquire(t.Context(), "second"))
	require.EqualValues(t, 2, keeperState(t, first).Lease.Token)
	heldBy(t, "second", first.Acquire(t.Context(), "first"))
	s.fenced(t, first)
	require.NoError(t, second.PutRecord(t.Context(), "a", 1))
	require.NoError(t, second.Release(t.Context()))
	require.NoError(t, first.Acquire(t.Context(), "first"), "over the same session as before")
	require.EqualValues(t, 3, keeperState(t, first).Lease.Token)
}

func comesBack(t *testing.T, s *keeperSite) {
	before, after := s.holder(t, "first"), s.dial(t, "first")
	require.NoError(t, after.Acquire(t.Context(), "first"))
	require.EqualValues(t, 2, keeperState(t, before).Lease.Token)
	require.ErrorIs(t, before.PutRecord(t.Context(), "a", 1), fleet.ErrFenced)
	require.Zero(t, before.LeaseLeft(), "told so")
	s.fenced(t, before)
	require.NoError(t, after.PutRecord(t.Context(), "a", 1))

	again := s.dial(t, "first")
	require.NoError(t, again.Acquire(t.Context(), "first"))
	time.Sleep(noticed)
	require.Zero(t, after.LeaseLeft(), "noticed without a change")
	lasts(t, after)
	require.Greater(t, again.LeaseLeft(), freshLease)
}

func closed(t *testing.T, s *keeperSite) {
	first, second := s.holder(t, "first"), s.dial(t, "second")
	require.NoError(t, first.Close())
	require.NoError(t, first.Close())
	endsWithin(t, first, time.Second)
	s.silentNow(t, first)
	ended := time.Now()
	for time.Since(ended) < grace-200*time.Millisecond {
		heldBy(t, "first", second.Acquire(t.Context(), "second"))
		time.Sleep(50 * time.Millisecond)
	}
	time.Sleep(grace - time.Since(ended))
	require.NoError(t, second.Acquire(t.Context(), "second"))
	require.EqualValues(t, 2, keeperState(t, second).Lease.Token)
}

// counted requires that the lease left runs down by itself while nothing is heard.
func counted(t *testing.T, k Keeper, d time.Duration) {
	t.Helper()
	begun, before := time.Now(), k.LeaseLeft()
	for time.Since(begun) < d {
		time.Sleep(100 * time.Millisecond)
		left := k.LeaseLeft()
		require.LessOrEqual(t, left, before)
		require.LessOrEqual(t, left, max(0, silence-time.Since(begun)))
		before = left
	}
}

func shortSilence(t *testing.T, s *keeperSite) {
	k, other := s.holder(t, "first"), s.dial(t, "second")
	time.Sleep(10 * time.Second)
	mend := s.Cut()
	counted(t, k, 6*time.Second)
	mend()
	time.Sleep(noticed)
	lasts(t, k)
	require.Greater(t, k.LeaseLeft(), freshLease)
	heldBy(t, "first", other.Acquire(t.Context(), "second"))
	require.NoError(t, k.PutRecord(t.Context(), "a", 1))
	require.EqualValues(t, 1, keeperState(t, k).Lease.Token)
}

func longSilence(t *testing.T, s *keeperSite) {
	first := s.holder(t, "first")
	time.Sleep(10 * time.Second)
	mend := s.Cut()
	begun := time.Now()
	_, err := first.State(t.Context())
	require.ErrorIs(t, err, fleet.ErrUnreachable)
	require.LessOrEqual(t, time.Since(begun), callBound)
	_, err = s.Dial(t.Context(), "second")
	require.ErrorIs(t, err, fleet.ErrUnreachable)
	counted(t, first, silence-time.Since(begun))
	require.Zero(t, first.LeaseLeft(), "before anybody else can have it")
	time.Sleep(grace)
	mend()
	second := s.dial(t, "second")
	require.NoError(t, second.Acquire(t.Context(), "second"))
	endsWithin(t, first, silence)
	s.silentNow(t, first)
	require.EqualValues(t, 2, keeperState(t, second).Lease.Token)
	require.NoError(t, second.PutRecord(t.Context(), "a", 1))
}

func cancelled(t *testing.T, s *keeperSite) {
	k := s.holder(t, "first")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := k.State(gone)
	require.ErrorIs(t, err, fleet.ErrUnreachable)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, k.PutRecord(gone, "a", 1), fleet.ErrUnreachable)
	_, err = s.Dial(gone, "second")
	require.ErrorIs(t, err, fleet.ErrUnreachable)
	require.NoError(t, k.PutRecord(t.Context(), "b", 1))
	lasts(t, k)
}

func told(t *testing.T, s *keeperSite) {
	k, other := s.holder(t, "first"), s.dial(t, "second")
	for i := 1; i <= 20; i++ {
		z := s.zone(time.Duration(i) * time.Second)
		for range 2 { // the same again changes nothing
			require.NoError(t, k.SetZone(t.Context(), z))
			require.NoError(t, k.PutRecord(t.Context(), "a", i))
			for _, from := range []Keeper{k, other} {
				st := keeperState(t, from)
				require.Equal(t, z, st.Zone)
				require.EqualValues(t, i, st.Serial)
				require.Equal(t, []fleet.Record{{Key: "a", Value: json.RawMessage(fmt.Sprint(i))}}, st.Records)
			}
		}
	}
	require.Equal(t, "h1", keeperState(t, k).Host)
}

// apart: who hands something over may go on to change it, and reads it back as if it had been written and read.
func apart(t *testing.T, s *keeperSite) {
	k := s.holder(t, "first")
	z := s.zone(time.Second)
	z.Networks, z.Nodes = []fleet.ZoneNetwork{}, []fleet.ZoneNode{}
	require.NoError(t, k.SetZone(t.Context(), z))
	require.Equal(t, s.zone(time.Second), keeperState(t, k).Zone)

	c := fleet.Copy{Serial: 1, Hosts: []fleet.CopyHost{{Name: "h1"}}, Environments: []fleet.CopyEnvironment{}, Said: map[string]string{"a": "1"}}
	require.NoError(t, k.SetCopy(t.Context(), c))
	c.Hosts[0].Name, c.Said["a"] = "h2", "2"
	require.Equal(t, fleet.Copy{Serial: 1, Hosts: []fleet.CopyHost{{Name: "h1"}}, Said: map[string]string{"a": "1"}}, keeperState(t, k).Copy)

	before := keeperState(t, k)
	require.NoError(t, k.PutRecord(t.Context(), "a", 1))
	require.Empty(t, before.Records, "what was told stays")
}

func badZones(t *testing.T, s *keeperSite) {
	k := s.holder(t, "first")
	good := s.zone(time.Second)
	require.NoError(t, k.SetZone(t.Context(), good))
	network := fleet.ZoneNetwork{
		Environment: "shop", Name: fleet.NetworkName(s.Fleet, "shop"), Layers: []string{"web"},
		Subnet: netip.MustParsePrefix("10.112.0.0/22"), Address: netip.MustParseAddr("10.112.1.2"),
	}
	node := fleet.ZoneNode{
		NodeID: fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}, Generation: 1, Instance: "c1", Address: netip.MustParseAddr("10.112.2.1"),
	}
	for name, change := range map[string]func(z *fleet.Zone){
		"another fleet's":             func(z *fleet.Zone) { z.Fleet += "2" },
		"no domain":                   func(z *fleet.Zone) { z.Domain = "" },
		"a negative TTL":              func(z *fleet.Zone) { z.TTL = -1 },
		"a network twice":             func(z *fleet.Zone) { z.Networks = append(z.Networks, network) },
		"an address outside":          func(z *fleet.Zone) { z.Networks[0].Address = netip.MustParseAddr("10.113.0.1") },
		"a layer that is no label":    func(z *fleet.Zone) { z.Networks[0].Layers = []string{"Web"} },
		"a node without a network":    func(z *fleet.Zone) { z.Networks = nil },
		"a node of no ordinal":        func(z *fleet.Zone) { z.Nodes[0].Node = 0 },
		"a node without an instance":  func(z *fleet.Zone) { z.Nodes[0].Instance = "" },
		"an instance twice":           func(z *fleet.Zone) { z.Nodes = append(z.Nodes, z.Nodes[0]); z.Nodes[1].Node = 2 },
		"two current ones":            func(z *fleet.Zone) { z.Nodes = append(z.Nodes, z.Nodes[0]); z.Nodes[1].Instance = "c2" },
		"an address that isn't IPv4":  func(z *fleet.Zone) { z.Nodes[0].Address = netip.IPv6Loopback() },
		"a probe of no port":          func(z *fleet.Zone) { z.Nodes[0].Probes = []fleet.Probe{{Interval: time.Second}} },
		"a probe that asks backwards": func(z *fleet.Zone) { z.Nodes[0].Probes = []fleet.Probe{{Port: 1, Interval: -1}} },
	} {
		z := s.zone(time.Minute)
		z.Networks, z.Nodes = []fleet.ZoneNetwork{network}, []fleet.ZoneNode{node}
		change(&z)
		refusedBy(t, k, name, k.SetZone(t.Context(), z))
		st := keeperState(t, k)
		require.Equal(t, good, st.Zone, name)
		require.EqualValues(t, 1, st.Serial, name)
	}
}

// refusedBy requires an error that says that what was asked for can't be, and nothing of the lease or the keeper.
func refusedBy(t *testing.T, k Keeper, what string, err error) {
	t.Helper()
	require.Error(t, err, what)
	for _, other := range []error{fleet.ErrFenced, fleet.ErrUnreachable, fleet.ErrConflict} {
		require.NotErrorIs(t, err, other, what)
	}
	require.Positive(t, k.LeaseLeft())
	lasts(t, k)
}

func records(t *testing.T, s *keeperSite) {
	k := s.holder(t, "first")
	node := fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}
	pause := fleet.PauseRecord{Hash: "x", Node: 1, Cause: `<b> & "c"`, Time: time.Unix(1e9, 0).UTC()}
	require.NoError(t, k.PutRecord(t.Context(), fleet.PauseKey(node.LayerID()), pause))
	require.NoError(t, k.PutRecord(t.Context(), "é", nil))
	require.NoError(t, k.PutRecord(t.Context(), fleet.CurrentKey(node), fleet.CurrentRecord{Generation: 1}))
	require.NoError(t, k.PutRecord(t.Context(), fleet.CurrentKey(node), fleet.CurrentRecord{Generation: 2}))
	require.NoError(t, k.PutRecord(t.Context(), "b", json.RawMessage(` { "a" : 1 } `)))

	st := keeperState(t, k)
	var keys []string
	for _, r := range st.Records {
		keys = append(keys, r.Key)
	}
	require.Equal(t, []string{"b", "current/shop/web/1", "pause/shop/web", "é"}, keys)
	require.Equal(t, `{"a":1}`, string(st.Records[0].Value))
	require.Equal(t, `null`, string(st.Records[3].Value))
	var current fleet.CurrentRecord
	require.True(t, st.Record(fleet.CurrentKey(node), &current))
	require.Equal(t, 2, current.Generation)
	var again fleet.PauseRecord
	require.True(t, st.Record(fleet.PauseKey(node.LayerID()), &again))
	require.Equal(t, pause, again)

	require.NoError(t, k.DeleteRecord(t.Context(), "b"))
	require.NoError(t, k.DeleteRecord(t.Context(), "b"), "it is gone already")
	require.NoError(t, k.DeleteRecord(t.Context(), "é"))
	require.Len(t, keeperState(t, k).Records, 2)
	require.Len(t, st.Records, 4, "what was told stays")
}

func badRecords(t *testing.T, s *keeperSite) {
	k := s.holder(t, "first")
	require.NoError(t, k.PutRecord(t.Context(), "a", 1))
	before := keeperState(t, k)
	refusedBy(t, k, "no key", k.PutRecord(t.Context(), "", 1))
	refusedBy(t, k, "a long key", k.PutRecord(t.Context(), strings.Repeat("k", 513), 1))
	refusedBy(t, k, "much", k.PutRecord(t.Context(), "b", strings.Repeat("x", 64<<10)))
	refusedBy(t, k, "no JSON", k.PutRecord(t.Context(), "b", func() {}))
	unchanged(t, before, keeperState(t, k))
	require.NoError(t, k.PutRecord(t.Context(), "b", strings.Repeat("x", 64<<10-2)))
}

func someCopy(serial uint64) fleet.Copy {
	node := fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}
	return fleet.Copy{
		Serial:       serial,
		Hosts:        []fleet.CopyHost{{Name: "h1", Endpoint: "ssh://h1", SSH: spec.SSH{Key: "k"}, Address: "10.0.0.1", PublicAddresses: []netip.Addr{netip.MustParseAddr("203.0.113.1")}}},
		Environments: []fleet.CopyEnvironment{{Name: "shop", Subnet: netip.MustParsePrefix("10.112.0.0/22"), Hosts: []string{"h1"}}},
		Nodes: []fleet.CopyNode{{
			NodeID: node, Host: "h1", Generation: int(serial), Unproven: true, Address: netip.MustParseAddr("10.112.2.1"), Volumes: []string{"data"},
			Reserved: spec.Resources{Memory: 1 << 20, CPU: 100}, Published: []fleet.Published{{Port: 80, Protocol: "tcp", HostPort: 8080}},
		}},
		Said: map[string]string{"public shop.example.com": "x"},
	}
}

func copies(t *testing.T, s *keeperSite) {
	k := s.holder(t, "first")
	for _, serial := range []uint64{1, 5, 5, 6} {
		require.NoError(t, k.SetCopy(t.Context(), someCopy(serial)))
		require.Equal(t, someCopy(serial), keeperState(t, k).Copy)
	}
	require.ErrorIs(t, k.SetCopy(t.Context(), someCopy(5)), fleet.ErrConflict)
	require.Equal(t, someCopy(6), keeperState(t, k).Copy)
	require.Positive(t, k.LeaseLeft())
	again := someCopy(6)
	again.Said = nil
	require.NoError(t, k.SetCopy(t.Context(), again))
	require.Equal(t, again, keeperState(t, k).Copy)
}

// fill has the keeper keep one of each.
func (s *keeperSite) fill(t *testing.T, k Keeper) {
	t.Helper()
	require.NoError(t, k.SetZone(t.Context(), s.zone(time.Minute)))
	require.NoError(t, k.SetZone(t.Context(), s.zone(time.Second)))
	require.NoError(t, k.SetCopy(t.Context(), someCopy(7)))
	require.NoError(t, k.PutRecord(t.Context(), "kept", 1))
	require.NoError(t, k.PutRecord(t.Context(), "gone", 1))
	require.NoError(t, k.DeleteRecord(t.Context(), "gone"))
}

// full requires that it still does.
func (s *keeperSite) full(t *testing.T, st *fleet.KeeperState) {
	t.Helper()
	require.Equal(t, s.zone(time.Second), st.Zone)
	require.EqualValues(t, 2, st.Serial)
	require.Equal(t, someCopy(7), st.Copy)
	require.Equal(t, []fleet.Record{{Key: "kept", Value: json.RawMessage(`1`)}}, st.Records)
	require.Equal(t, fleet.KeeperActive, st.Mode)
	require.Empty(t, st.Problems)
}

func killed(t *testing.T, s *keeperSite) {
	first := s.holder(t, "first")
	s.fill(t, first)
	s.full(t, keeperState(t, first))
	s.Kill()
	endsWithin(t, first, time.Second)
	s.silentNow(t, first)

	next := s.start()
	back, second := next.dial(t, "first"), next.dial(t, "second")
	st := keeperState(t, second)
	s.full(t, st)
	require.Equal(t, "first", st.Lease.Holder, "for a while")
	heldBy(t, "first", second.Acquire(t.Context(), "second"))
	s.silentNow(t, first)
	next.fenced(t, back)
	require.NoError(t, back.Acquire(t.Context(), "first"), "its own is taken back at once")
	require.EqualValues(t, 2, keeperState(t, back).Lease.Token)
	require.NoError(t, back.SetZone(t.Context(), s.zone(time.Hour)))
	require.EqualValues(t, 3, keeperState(t, back).Serial)

	next.Kill()
	next = next.start()
	second = next.dial(t, "second")
	time.Sleep(grace)
	require.Nil(t, keeperState(t, second).Lease)
	require.NoError(t, second.Acquire(t.Context(), "second"))
	require.EqualValues(t, 3, keeperState(t, second).Lease.Token)
}

func killedUnleased(t *testing.T, s *keeperSite) {
	first := s.holder(t, "first")
	s.fill(t, first)
	require.NoError(t, first.Release(t.Context()))
	s.Kill()
	next := s.start()
	second := next.dial(t, "second")
	s.full(t, keeperState(t, second))
	require.Nil(t, keeperState(t, second).Lease)
	require.NoError(t, second.Acquire(t.Context(), "second"))
	require.EqualValues(t, 2, keeperState(t, second).Lease.Token)
}

func succession(t *testing.T, s *keeperSite) {
	old := s.holder(t, "first")
	require.NoError(t, old.SetZone(t.Context(), s.zone(time.Minute)))
	next := s.start()
	k, other := next.dial(t, "first"), next.dial(t, "second")
	st := keeperState(t, k)
	require.Equal(t, fleet.KeeperStandby, st.Mode)
	require.Equal(t, s.zone(time.Minute), st.Zone, "as on the disk")
	require.Nil(t, st.Lease, "it knows of none")
	require.ErrorIs(t, k.Acquire(t.Context(), "first"), fleet.ErrFenced)
	require.ErrorIs(t, other.Acquire(t.Context(), "second"), fleet.ErrFenced)
	next.fenced(t, k)

	require.NoError(t, old.PutRecord(t.Context(), "gone", 1))
	s.fillAgain(t, old)
	require.Equal(t, fleet.KeeperStandby, keeperState(t, k).Mode)
	require.NoError(t, old.Retire(t.Context()))
	require.Zero(t, old.LeaseLeft())
	require.NoError(t, k.Acquire(t.Context(), "first"), "as soon as the volume is its own")
	st = keeperState(t, k)
	s.full(t, st)
	require.EqualValues(t, 2, st.Lease.Token)
	require.NoError(t, k.PutRecord(t.Context(), "kept", 2))

	st = keeperState(t, old)
	require.Equal(t, fleet.KeeperRetired, st.Mode)
	require.Nil(t, st.Lease)
	require.Equal(t, json.RawMessage(`1`), st.Records[0].Value, "what it knew")
	require.ErrorIs(t, old.Acquire(t.Context(), "first"), fleet.ErrFenced)
	s.fenced(t, old)
	s.Kill()
	require.NoError(t, k.PutRecord(t.Context(), "kept", 1))
	next.full(t, keeperState(t, k))
}

// fillAgain is fill, where a zone was set already.
func (s *keeperSite) fillAgain(t *testing.T, k Keeper) {
	t.Helper()
	require.EqualValues(t, 1, keeperState(t, k).Serial)
	s.fill(t, k)
}

func killedSuccession(t *testing.T, s *keeperSite) {
	old := s.holder(t, "first")
	next := s.start()
	k, other := next.dial(t, "first"), next.dial(t, "second")
	s.fill(t, old)
	s.Kill()
	time.Sleep(time.Second)
	s.full(t, keeperState(t, k))
	heldBy(t, "first", other.Acquire(t.Context(), "second"))
	require.NoError(t, k.Acquire(t.Context(), "first"))
	require.EqualValues(t, 2, keeperState(t, k).Lease.Token)
}

func unsucceeded(t *testing.T, s *keeperSite) {
	k, other := s.holder(t, "first"), s.dial(t, "second")
	s.fill(t, k)
	require.NoError(t, k.Retire(t.Context()))
	require.Equal(t, fleet.KeeperRetired, keeperState(t, k).Mode)
	s.fenced(t, k)
	require.NoError(t, other.Acquire(t.Context(), "second"))
	require.EqualValues(t, 2, keeperState(t, k).Lease.Token)
	s.full(t, keeperState(t, k))
	require.NoError(t, other.PutRecord(t.Context(), "a", 1))
}
