package external_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/reconciler/external"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
	"github.com/evenkeel/evenkeel/reconciler/names/memory"
)

// site is a fleet with two providers. shop.example.com leads to three nodes on hosts of their own, blog.example.com to
// another, corp.example to the first one.
type site struct {
	public, corp *memory.Zone
	names        *external.Names

	mu    sync.Mutex
	out   map[int]bool
	gone  bool // nothing is wanted any more
	keep  bool // and it isn't sure that it is meant
	fails func(call string) error
	calls []string
	may   error
}

func newSite(t require.TestingT, only string) *site {
	s := &site{public: memory.New("example.com"), corp: memory.New("corp.example"), out: map[int]bool{}}
	for name, z := range map[string]*memory.Zone{"public": s.public, "corp": s.corp} {
		z.Fail(func(call string) error { return s.called(name + " " + call) })
	}
	s.names = external.New(external.Options{
		Fleet: "production", Only: only, Wanted: s.wanted, Leads: leads, May: func() error { return s.may },
		Providers: []external.Provider{{Name: "public", Zone: "example.com", Records: s.public}, {Name: "corp", Zone: "corp.example", Records: s.corp}},
	})
	return s
}

func (s *site) called(call string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
	if s.fails == nil {
		return nil
	}
	return s.fails(call)
}

func (s *site) setOut(n int, out bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out[n] = out
}

// failing has the n-th write, from 0, fail and all after it: evenkeel has crashed there.
func (s *site) failing(n int) {
	s.fails = func(call string) error {
		if !isRead(call) {
			if n--; n < 0 {
				return errLost
			}
		}
		return nil
	}
}

var errLost = errors.New("lost")

func isRead(call string) bool { return call == "public read" || call == "corp read" }

func (s *site) writes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.calls), isRead)
}

func (s *site) wanted(provider string) external.Wanted {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return external.Wanted{Keep: s.keep}
	}
	to := func(n int) names.Target {
		return names.Target{Node: node(n), Out: s.out[n], Data: []names.Data{names.Address(address(n))}}
	}
	if provider == "corp" {
		return external.Wanted{Keep: s.keep, Names: []names.Name{
			{Environment: "shop", Name: "corp.example", TTL: 2 * time.Minute, Targets: []names.Target{to(1), to(2)}},
		}}
	}
	blog := to(4)
	blog.Node = fleet.NodeID{Environment: "blog", Layer: "web", Node: 1}
	return external.Wanted{Keep: s.keep, Names: []names.Name{
		{Environment: "shop", Name: "Shop.example.com", TTL: time.Minute, Targets: []names.Target{to(1), to(2), to(3)}},
		{Environment: "blog", Name: "blog.example.com", TTL: time.Hour, Targets: []names.Target{blog}},
	}}
}

func node(n int) fleet.NodeID { return fleet.NodeID{Environment: "shop", Layer: "web", Node: n} }

func leads(id fleet.NodeID) []names.Data { return []names.Data{names.Address(address(id.Node))} }

func address(n int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, byte(n)}) }

// said is what both zones say.
func (s *site) said(t require.TestingT) []string {
	var lines []string
	for _, z := range []*memory.Zone{s.public, s.corp} {
		records, err := z.Records(context.Background())
		require.NoError(t, err)
		for _, r := range records {
			lines = append(lines, r.Name+" "+r.Content)
		}
	}
	slices.Sort(lines)
	return lines
}

func whole() []string {
	return []string{"blog.example.com 203.0.113.4", "corp.example 203.0.113.1", "corp.example 203.0.113.2",
		"shop.example.com 203.0.113.1", "shop.example.com 203.0.113.2", "shop.example.com 203.0.113.3"}
}

func TestSettle(t *testing.T) {
	s := newSite(t, "")
	require.NoError(t, s.names.Settle(t.Context()))
	require.Equal(t, whole(), s.said(t))
	for _, v := range s.names.Views() {
		require.NoError(t, v.Problem)
		require.NotZero(t, v.At)
		require.NotEmpty(t, v.Records, "what is there afterwards")
	}
	s.calls = nil
	require.NoError(t, s.names.Settle(t.Context()))
	require.ElementsMatch(t, []string{"public read", "corp read"}, s.calls, "a second pass changes nothing")
	s.gone = true
	require.NoError(t, s.names.Settle(t.Context()))
	require.Empty(t, s.said(t))
}

func TestOneZoneDoesNotHoldUpAnother(t *testing.T) {
	s := newSite(t, "")
	s.fails = func(call string) error {
		if call == "public read" {
			return errLost
		}
		return nil
	}
	require.ErrorIs(t, s.names.Settle(t.Context()), errLost)
	views := s.names.Views()
	require.Equal(t, "public", views[0].Provider)
	require.ErrorIs(t, views[0].Problem, errLost)
	require.Zero(t, views[0].At)
	require.NoError(t, views[1].Problem)
	require.Equal(t, []string{"corp create", "corp create"}, s.writes(), "what isn't known isn't absent")
	s.fails = nil
	require.NoError(t, s.names.Read(t.Context()))
	require.NoError(t, s.names.Views()[0].Problem)
	require.Len(t, s.writes(), 2, "a reading changes nothing")
}

func TestOneNameDoesNotHoldUpAnother(t *testing.T) {
	s := newSite(t, "")
	require.NoError(t, s.names.Settle(t.Context()))
	// shop.example.com has to be moved from one record to three, blog.example.com is to be made.
	stale := fleet.DNSRecord{Name: "shop.example.com", Type: fleet.TypeA, Content: "203.0.113.99", TTL: time.Minute, Owner: "production/shop"}
	s.public.Take(func(fleet.DNSRecord) bool { return true })
	require.NoError(t, s.public.Put(stale))
	s.calls = nil
	creates := 0
	s.fails = func(call string) error {
		if call == "public create" {
			if creates++; creates == 2 { // the first of shop's: names come in their order
				return errLost
			}
		}
		return nil
	}
	require.ErrorIs(t, s.names.Settle(t.Context()), errLost)
	require.Equal(t, []string{"public create", "public create"}, s.writes(), "what was to go stays until what comes is there")
	require.Contains(t, s.said(t), "blog.example.com 203.0.113.4")
	require.Contains(t, s.said(t), "shop.example.com 203.0.113.99")
	s.fails = nil
	require.NoError(t, s.names.Settle(t.Context()))
	require.Equal(t, whole(), s.said(t))
}

func TestWithoutTheLeaseNothingIsWritten(t *testing.T) {
	s := newSite(t, "")
	s.may = errors.New("the lease has 2s left")
	require.ErrorIs(t, s.names.Settle(t.Context()), s.may)
	require.Empty(t, s.writes())
}

func TestOnlyOneEnvironment(t *testing.T) {
	s := newSite(t, "blog")
	require.NoError(t, s.names.Settle(t.Context()))
	require.Equal(t, []string{"blog.example.com 203.0.113.4"}, s.said(t))
}

func TestWithdrawAndRestore(t *testing.T) {
	s := newSite(t, "")
	require.NoError(t, s.names.Settle(t.Context()))
	s.public.Take(func(r fleet.DNSRecord) bool { return r.Name == "blog.example.com" })
	s.calls = nil
	s.setOut(1, true)
	l, err := s.names.Withdraw(t.Context(), node(1))
	require.NoError(t, err)
	require.Equal(t, 2*time.Minute, l.Lasts, "the longest of its zones")
	require.Equal(t, []string{"corp.example 203.0.113.2", "shop.example.com 203.0.113.2", "shop.example.com 203.0.113.3"}, s.said(t),
		"other names are for the next pass")
	require.Len(t, s.writes(), 2)
	s.calls = nil

	l, err = s.names.Withdraw(t.Context(), node(1))
	require.NoError(t, err)
	require.Equal(t, 2*time.Minute, l.Lasts, "after a crash caches are waited for all the same")
	require.Empty(t, s.writes())

	s.setOut(2, true)
	l, err = s.names.Withdraw(t.Context(), node(2))
	require.NoError(t, err)
	require.Equal(t, []string{"corp.example"}, l.Held)
	require.Equal(t, []string{"corp.example 203.0.113.2", "shop.example.com 203.0.113.3"}, s.said(t))

	s.setOut(1, false)
	require.NoError(t, s.names.Restore(t.Context(), node(1)))
	require.Contains(t, s.said(t), "shop.example.com 203.0.113.1")
	require.Contains(t, s.said(t), "corp.example 203.0.113.1")
	require.NotContains(t, s.said(t), "blog.example.com 203.0.113.4")
}

func TestANodeWithoutExternalNamesAsksNobody(t *testing.T) {
	s := newSite(t, "")
	l, err := s.names.Withdraw(t.Context(), node(7))
	require.NoError(t, err)
	require.Equal(t, names.Leave{}, l)
	require.NoError(t, s.names.Restore(t.Context(), node(7)))
	require.Empty(t, s.calls)
	s.setOut(3, true)
	_, err = s.names.Withdraw(t.Context(), node(3))
	require.NoError(t, err)
	require.NotContains(t, s.calls, "corp read")
}

func TestAWithdrawalThatIsNotConfirmedFails(t *testing.T) {
	deny := func(which string, after int) func(string) error {
		return func(call string) error {
			if call == which {
				if after--; after < 0 {
					return fleet.ErrDenied
				}
			}
			return nil
		}
	}
	for name, fails := range map[string]func(string) error{
		"the zone can't be read":       deny("public read", 0),
		"the record can't be deleted":  deny("public delete", 0),
		"the zone can't be read back":  deny("public read", 1),
		"the other zone can't be read": deny("corp read", 0),
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "")
			require.NoError(t, s.names.Settle(t.Context()))
			s.setOut(1, true)
			s.fails = fails
			_, err := s.names.Withdraw(t.Context(), node(1))
			require.ErrorIs(t, err, fleet.ErrDenied)
			s.fails = deny("public create", 0)
			s.setOut(2, true)
			_, err = s.names.Withdraw(t.Context(), node(2))
			require.NoError(t, err)
			s.setOut(2, false)
			require.ErrorIs(t, s.names.Restore(t.Context(), node(2)), fleet.ErrDenied)
		})
	}
	t.Run("the zone still says so", func(t *testing.T) {
		s := newSite(t, "")
		require.NoError(t, s.names.Settle(t.Context()))
		s.setOut(3, true)
		lying := external.New(external.Options{
			Fleet: "production", Wanted: s.wanted, May: func() error { return nil },
			Providers: []external.Provider{{Name: "public", Zone: "example.com", Records: deaf{s.public}}},
		})
		_, err := lying.Withdraw(t.Context(), node(3))
		require.EqualError(t, err, "shop.example.com A 203.0.113.3 still leads to shop/web/3 in the zone example.com")
	})
}

// deaf is a zone that says yes and deletes nothing, as one that lags.
type deaf struct{ *memory.Zone }

func (deaf) Delete(context.Context, fleet.DNSRecord) error { return nil }

// lost is a zone that says yes and makes nothing.
type lost struct{ *memory.Zone }

func (lost) Create(context.Context, fleet.DNSRecord) error { return nil }

func TestARestoreThatIsNotConfirmedFails(t *testing.T) {
	s := newSite(t, "")
	n := external.New(external.Options{
		Fleet: "production", Wanted: s.wanted, May: func() error { return nil },
		Providers: []external.Provider{{Name: "public", Zone: "example.com", Records: lost{s.public}}},
	})
	require.EqualError(t, n.Restore(t.Context(), node(3)), "shop.example.com A 203.0.113.1 isn't in the zone example.com yet")
}

// slow is a zone where something happens before each removal.
type slow struct {
	*memory.Zone
	before func()
}

func (z slow) Delete(ctx context.Context, r fleet.DNSRecord) error {
	z.before()
	return z.Zone.Delete(ctx, r)
}

// TestWhatWasDecidedIsDoneBeforeAnythingElseIs: a name would be empty if a node's record were removed for what was
// known before it came back and the other one left.
func TestWhatWasDecidedIsDoneBeforeAnythingElseIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "")
		var n *external.Names
		var first atomic.Bool
		done := make(chan error, 1)
		meanwhile := func() {
			s.setOut(1, false)
			err := n.Restore(t.Context(), node(1))
			s.setOut(2, true)
			_, left := n.Withdraw(t.Context(), node(2))
			done <- errors.Join(err, left)
		}
		n = external.New(external.Options{
			Fleet: "production", Wanted: s.wanted, May: func() error { return nil },
			Providers: []external.Provider{{Name: "corp", Zone: "corp.example", Records: slow{s.corp, func() {
				if first.CompareAndSwap(false, true) {
					go meanwhile()
					synctest.Wait() // until it waits for us, or has done all
				}
			}}}},
		})
		require.NoError(t, n.Settle(t.Context()))
		s.setOut(1, true)
		require.NoError(t, n.Settle(t.Context()))
		require.NoError(t, <-done)
		require.Equal(t, []string{"corp.example 203.0.113.1"}, s.said(t))
	})
}

// TestSideBySide: two nodes of a name that has no other leave it at once; one of them is held.
func TestSideBySide(t *testing.T) {
	for range 50 {
		s := newSite(t, "")
		require.NoError(t, s.names.Settle(t.Context()))
		held := make([]int, 4)
		var wg sync.WaitGroup
		for n := 1; n <= 3; n++ {
			wg.Go(func() {
				s.setOut(n, true)
				l, err := s.names.Withdraw(t.Context(), node(n))
				if err != nil {
					t.Error(err)
				}
				held[n] = len(l.Held)
			})
		}
		wg.Wait()
		said := s.said(t)
		for _, name := range []string{"corp.example ", "shop.example.com "} {
			require.True(t, slices.ContainsFunc(said, func(line string) bool { return len(line) > len(name) && line[:len(name)] == name }), "%v", said)
		}
		require.NoError(t, s.names.Settle(t.Context()))
		require.Equal(t, said, s.said(t), "nothing comes back, nor goes")
		require.NotZero(t, held[1]+held[2]+held[3])
	}
}

// TestACrashAnywhereIsHealed: whatever was done before, the next pass ends as if nothing had happened, and nothing
// foreign has been touched.
func TestACrashAnywhereIsHealed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSite(t, "")
		foreign := fleet.DNSRecord{Name: "shop.example.com", Type: "TXT", Content: "theirs", TTL: time.Minute}
		require.NoError(t, s.public.Put(foreign))
		ctx := context.Background()
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			s.failing(rapid.IntRange(0, 4).Draw(t, "writes before the crash"))
			n := rapid.IntRange(1, 4).Draw(t, "node")
			out := rapid.Bool().Draw(t, "out")
			s.setOut(n, out)
			switch rapid.SampledFrom([]string{"settle", "withdraw", "restore"}).Draw(t, "step") {
			case "settle":
				_ = s.names.Settle(ctx) // it may fail
			case "withdraw":
				_, _ = s.names.Withdraw(ctx, node(n))
			case "restore":
				_ = s.names.Restore(ctx, node(n))
			}
		}
		s.fails = nil
		for n := range s.out {
			s.setOut(n, false)
		}
		require.NoError(t, s.names.Settle(ctx))
		want := append(whole(), fmt.Sprint(foreign.Name, " ", foreign.Content))
		slices.Sort(want)
		require.Equal(t, want, s.said(t))
	})
}
