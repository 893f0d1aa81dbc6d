package external_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/external"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names/memory"
)

// hanging is a zone that never answers.
type hanging struct{ *memory.Zone }

func (hanging) Records(ctx context.Context) ([]fleet.DNSRecord, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAZoneThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "")
		n := external.New(external.Options{
			Fleet: "production", Wanted: s.wanted, May: func() error { return nil },
			Providers: []external.Provider{{Name: "public", Zone: "example.com", Records: hanging{s.public}}, {Name: "corp", Zone: "corp.example", Records: s.corp}},
		})
		began := time.Now()
		go func() {
			time.Sleep(time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := n.Withdraw(ctx, node(3)) // who waits for the zone waits no longer than wanted
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, 2*time.Second, time.Since(began))
		}()
		require.ErrorIs(t, n.Settle(t.Context()), context.DeadlineExceeded)
		require.Equal(t, time.Minute, time.Since(began))
		require.Error(t, n.Views()[0].Problem)
		require.NotEmpty(t, n.Views()[1].Records)
		require.Equal(t, began, n.Views()[1].At, "the other one was done at once")
	})
}

// stuck is a zone that takes its time for a create.
type stuck struct {
	*memory.Zone
	after *time.Duration
}

func (z stuck) Create(ctx context.Context, r fleet.DNSRecord) error {
	select {
	case <-time.After(*z.after):
		return z.Zone.Create(ctx, r)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestACallThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, after := newSite(t, ""), time.Hour
		n := external.New(external.Options{
			Fleet: "production", Wanted: s.wanted, May: func() error { return nil },
			Providers: []external.Provider{{Name: "public", Zone: "example.com", Records: stuck{s.public, &after}}},
		})
		began := time.Now()
		require.ErrorIs(t, n.Settle(t.Context()), context.DeadlineExceeded)
		require.Equal(t, 2*time.Minute, time.Since(began), "a minute a name, each of which is tried once")
		after = 25 * time.Second
		began = time.Now()
		require.ErrorIs(t, n.Restore(t.Context(), node(1)), context.DeadlineExceeded)
		require.Equal(t, time.Minute, time.Since(began), "a node doesn't wait for three of 25 s")
		require.NoError(t, n.Settle(t.Context()), "a pass does")
		require.Len(t, s.said(t), 4)
	})
}
