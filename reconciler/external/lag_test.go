package external_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/external"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names/memory"
)

// laggingZone has readings that are as old as is said.
type laggingZone struct {
	external.Zone
	stale []fleet.DNSRecord // nil: they are fresh
}

func (z *laggingZone) Records(ctx context.Context) ([]fleet.DNSRecord, error) {
	if z.stale != nil {
		return z.stale, nil
	}
	return z.Zone.Records(ctx)
}

// A reading may be older than what was done last: a record that was deleted isn't taken for one that is left.
func TestAReadingThatLagsLeavesNoNameEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "")
		ctx := t.Context()
		for i := 1; i <= 3; i++ {
			require.NoError(t, s.names.Restore(ctx, node(i)))
		}
		shop := func() []string {
			return slices.DeleteFunc(s.said(t), func(r string) bool { return !strings.HasPrefix(r, "shop") })
		}
		lagging := &laggingZone{Zone: s.public}
		n := external.New(external.Options{
			Fleet: "production", Wanted: s.wanted, May: func() error { return nil },
			Providers: []external.Provider{{Name: "public", Zone: "example.com", Records: lagging}},
		})
		before, err := s.public.Records(ctx)
		require.NoError(t, err)
		for i := 1; i <= 2; i++ {
			s.setOut(i, true)
			_, err := n.Withdraw(ctx, node(i))
			require.NoError(t, err)
		}
		require.Equal(t, []string{"shop.example.com 203.0.113.3"}, shop())

		s.setOut(2, false) // serves again, and has no record yet
		s.setOut(3, true)
		lagging.stale = before
		_, _ = n.Withdraw(ctx, node(3))
		require.NotEmpty(t, shop(), "node 2's record was deleted, whatever the reading says")

		time.Sleep(time.Minute) // what a reading still has by then is there
		_, err = n.Withdraw(ctx, node(3))
		require.Error(t, err)
		lagging.stale = nil
		require.NoError(t, n.Settle(ctx))
		_, err = n.Withdraw(ctx, node(3))
		require.NoError(t, err)
		require.Equal(t, []string{"shop.example.com 203.0.113.2"}, shop())
	})
}

// currentZone is read at the server that is written to, and knows records by what they say.
type currentZone struct{ *memory.Zone }

func (currentZone) Current() bool { return true }

func (z currentZone) Records(ctx context.Context) ([]fleet.DNSRecord, error) {
	records, err := z.Zone.Records(ctx)
	for i := range records {
		records[i].ID = records[i].String()
	}
	return records, err
}

func (z currentZone) Delete(ctx context.Context, was fleet.DNSRecord) error {
	records, err := z.Zone.Records(ctx)
	for _, r := range records {
		if r.String() == was.ID {
			return z.Zone.Delete(ctx, r)
		}
	}
	return err
}

// What comes back a moment after it was deleted may have the ID that it had: it is there, and isn't made again.
func TestARecordThatComesBackIsMadeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "")
		ctx := t.Context()
		n := external.New(external.Options{
			Fleet: "production", Wanted: s.wanted, May: func() error { return nil },
			Providers: []external.Provider{{Name: "public", Zone: "example.com", Records: currentZone{s.public}}},
		})
		require.NoError(t, n.Settle(ctx))
		s.setOut(1, true)
		_, err := n.Withdraw(ctx, node(1))
		require.NoError(t, err)
		s.setOut(1, false)
		require.NoError(t, n.Restore(ctx, node(1)))
		s.calls = nil
		require.NoError(t, n.Settle(ctx))
		require.NotContains(t, s.calls, "public create")
	})
}
