package external_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/external"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names/memory"
)

// A commit that takes a name away while it changes or removes the nodes that it leads to is nothing else than a node
// that leaves its names: nobody is to be sent to it any more when it is touched.
func TestNamesThatAreNotWantedAnyMore(t *testing.T) {
	t.Run("go before the node", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "")
			require.NoError(t, s.names.Settle(t.Context()))
			s.gone = true
			leave, err := s.names.Withdraw(t.Context(), node(3))
			require.NoError(t, err)
			require.NotContains(t, s.said(t), "shop.example.com 203.0.113.3")
			require.Equal(t, time.Minute, leave.Lasts, "caches are waited for")
			require.Contains(t, s.said(t), "shop.example.com 203.0.113.1", "those of other nodes are the next settling's")
		})
	})
	t.Run("are waited for where they went a moment ago", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "")
			require.NoError(t, s.names.Settle(t.Context()))
			s.gone = true
			require.NoError(t, s.names.Settle(t.Context()))
			require.Empty(t, s.said(t))
			time.Sleep(20 * time.Second)
			leave, err := s.names.Withdraw(t.Context(), node(3))
			require.NoError(t, err)
			require.Equal(t, 40*time.Second, leave.Lasts)
			leave, err = s.names.Withdraw(t.Context(), node(2))
			require.NoError(t, err)
			require.Equal(t, 100*time.Second, leave.Lasts, "corp.example has a longer TTL")
			time.Sleep(2 * time.Minute)
			leave, err = s.names.Withdraw(t.Context(), node(3))
			require.NoError(t, err)
			require.Zero(t, leave.Lasts)
		})
	})
	t.Run("may be in a zone that was never read", func(t *testing.T) {
		s := newSite(t, "")
		s.gone = true
		s.fails = func(string) error { return fleet.ErrUnreachable }
		n := external.New(external.Options{
			Fleet: "production", Wanted: s.wanted, Leads: leads, May: func() error { return nil },
			MayLead:   func(provider string, id fleet.NodeID) bool { return provider == "public" && id == node(3) },
			Providers: []external.Provider{{Name: "public", Zone: "example.com", Records: s.public}},
		})
		_, err := n.Withdraw(t.Context(), node(3))
		require.ErrorIs(t, err, fleet.ErrUnreachable)
		_, err = n.Withdraw(t.Context(), node(2))
		require.NoError(t, err, "what nothing can lead to waits for nothing")
		s.fails = nil
		require.NoError(t, n.Read(t.Context()))
		s.calls = nil
		_, err = n.Withdraw(t.Context(), node(3))
		require.NoError(t, err)
		require.Empty(t, s.calls, "it is known by now that nothing leads to it")
	})
	t.Run("stay where it isn't sure that they may go", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "")
			require.NoError(t, s.names.Settle(t.Context()))
			before := s.said(t)
			s.gone, s.keep = true, true
			require.NoError(t, s.names.Settle(t.Context()))
			_, err := s.names.Withdraw(t.Context(), node(3))
			require.EqualError(t, err, "shop.example.com still leads to the host of shop/web/3 in the zone example.com, and isn't to be taken away")
			require.Equal(t, before, s.said(t))
		})
	})
}

// What led to a node is remembered from when it was there last, not from when its end was asked for.
func TestWhatLedToANodeIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "")
		n := external.New(external.Options{
			Fleet: "production", Wanted: s.wanted, Leads: leads, May: func() error { return nil },
			Providers: []external.Provider{{Name: "public", Zone: "example.com", Records: slowDelete{s.public}}},
		})
		require.NoError(t, n.Settle(t.Context()))
		require.Zero(t, n.Remembered(node(3)))
		s.setOut(3, true)
		_, err := n.Withdraw(t.Context(), node(3))
		require.NoError(t, err)
		require.Equal(t, time.Minute, n.Remembered(node(3)))
		require.Zero(t, n.Remembered(node(2)))
		time.Sleep(time.Minute)
		require.Zero(t, n.Remembered(node(3)))
	})
}

// slowDelete takes its time to delete a record.
type slowDelete struct{ *memory.Zone }

func (z slowDelete) Delete(ctx context.Context, was fleet.DNSRecord) error {
	time.Sleep(5 * time.Second)
	return z.Zone.Delete(ctx, was)
}

// Nodes that come back side by side are one change of the zone and not one each.
func TestNodesThatComeBackTogetherAreReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "")
		slow := &slowZone{Zone: s.public}
		n := external.New(external.Options{
			Fleet: "production", Wanted: s.wanted, May: func() error { return nil },
			Providers: []external.Provider{{Name: "public", Zone: "example.com", Records: slow}},
		})
		done := make(chan error, 3)
		for i := 1; i <= 3; i++ {
			go func() { done <- n.Restore(context.Background(), node(i)) }()
		}
		for range 3 {
			require.NoError(t, <-done)
		}
		require.Contains(t, s.said(t), "shop.example.com 203.0.113.3")
		require.EqualValues(t, 2, slow.read.Load(), "once before the changes and once after")
	})
}

// slowZone takes its time to be read.
type slowZone struct {
	external.Zone
	read atomic.Int32
}

func (z *slowZone) Records(ctx context.Context) ([]fleet.DNSRecord, error) {
	z.read.Add(1)
	time.Sleep(time.Second)
	return z.Zone.Records(ctx)
}
