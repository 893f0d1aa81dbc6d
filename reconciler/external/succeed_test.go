package external_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/external"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// succeeding are names that take the place of a site's: a revision has changed one of its zones.
func (s *site) succeeding() *external.Names {
	n := external.New(external.Options{
		Fleet: "production", Wanted: s.wanted, Leads: leads, May: func() error { return nil },
		Providers: []external.Provider{{Name: "renamed", Zone: "example.com", Records: s.public}},
	})
	n.Succeed(s.names)
	return n
}

func TestNamesThatTakeThePlaceOfOthers(t *testing.T) {
	t.Run("know what was read", func(t *testing.T) {
		s := newSite(t, "")
		require.NoError(t, s.names.Settle(t.Context()))
		views := s.succeeding().Views()
		require.Len(t, views, 1)
		require.Equal(t, "renamed", views[0].Provider)
		require.NotZero(t, views[0].At)
		require.Len(t, views[0].Records, 4)
		require.Equal(t, "public", s.names.Views()[0].Provider)
	})
	t.Run("wait for what caches have", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "")
			require.NoError(t, s.names.Settle(t.Context()))
			s.gone = true
			require.NoError(t, s.names.Settle(t.Context()))
			leave, err := s.succeeding().Withdraw(t.Context(), node(3))
			require.NoError(t, err)
			require.Equal(t, time.Minute, leave.Lasts)
		})
	})
	t.Run("wait for who is at work", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "")
			var next *external.Names
			meanwhile, done := false, make(chan error, 1)
			before := external.New(external.Options{
				Fleet: "production", Wanted: s.wanted, May: func() error { return nil },
				Providers: []external.Provider{{Name: "public", Zone: "example.com", Records: slow{s.public, func() {
					go func() { done <- next.Restore(context.Background(), node(3)) }()
					synctest.Wait()
					meanwhile = len(done) > 0
				}}}},
			})
			require.NoError(t, before.Settle(t.Context()))
			next = external.New(external.Options{
				Fleet: "production", Wanted: s.wanted, May: func() error { return nil },
				Providers: []external.Provider{{Name: "public", Zone: "example.com", Records: s.public}},
			})
			next.Succeed(before)
			s.setOut(3, true)
			_, err := before.Withdraw(t.Context(), node(3))
			require.NoError(t, err)
			require.NoError(t, <-done)
			require.False(t, meanwhile)
		})
	})
}

// turning is a zone of which each reading takes as long as it is told to.
type turning struct {
	external.Zone
	takes []time.Duration
}

func (z *turning) Records(ctx context.Context) ([]fleet.DNSRecord, error) {
	d := z.takes[0]
	z.takes = z.takes[1:]
	records, err := z.Zone.Records(ctx)
	time.Sleep(d)
	return records, err
}

// A reading that began before a node left its names doesn't say afterwards that it is there.
func TestWhatWasReadBeforeAChangeIsNotTakenForWhatIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "")
		z := &turning{Zone: s.public, takes: []time.Duration{0, 0, time.Minute / 2, time.Second, time.Second}}
		n := external.New(external.Options{
			Fleet: "production", Wanted: s.wanted, May: func() error { return nil },
			Providers: []external.Provider{{Name: "public", Zone: "example.com", Records: z}},
		})
		require.NoError(t, n.Settle(t.Context()))
		done := make(chan error, 1)
		go func() { done <- n.Read(context.Background()) }()
		synctest.Wait() // it has its answer, which is on its way
		s.setOut(3, true)
		_, err := n.Withdraw(t.Context(), node(3))
		require.NoError(t, err)
		require.NoError(t, <-done)
		require.Len(t, n.Views()[0].Records, 3)
	})
}
