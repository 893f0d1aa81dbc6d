package reconciler

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// lateKeeper takes a zone a while after it was told.
type lateKeeper struct {
	Keeper
	took  time.Duration
	takes func(fleet.Zone)
}

func (k *lateKeeper) SetZone(ctx context.Context, z fleet.Zone) error {
	time.Sleep(k.took)
	k.takes(z)
	return k.Keeper.SetZone(ctx, z)
}

// TestANodeThatIsPutBackOntoItsNetworkStaysInTheNames: what its keeper is told of it meanwhile, that it isn't there,
// is never taken once it is.
func TestANodeThatIsPutBackOntoItsNetworkStaysInTheNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		c, ctx := ready(t, r, h1, h2)
		h := c.host("h1")
		in, err := h1.change("blog-web-1-g1", func(in *fleet.Instance) { in.Network, in.Address = "", netip.Addr{} })
		require.NoError(t, err)
		h.saw(in.ID, patch{in: in})
		var taken []int
		h.mu.Lock()
		h.session = &lateKeeper{h.session, 3 * time.Second, func(z fleet.Zone) {
			now, err := h1.Inspect(ctx, in.ID)
			require.NoError(t, err)
			require.Equal(t, now.Address.IsValid(), len(z.Nodes) > 0, "it is there, and is to be found")
			taken = append(taken, len(z.Nodes))
		}}
		h.mu.Unlock()
		told := make(chan error, 1)
		go func() { told <- c.tell(ctx, h) }()
		synctest.Wait()
		p := c.compute(ctx)
		require.Len(t, p.Hosts, 1, "%+v", p.Hosts)
		require.NoError(t, c.mend(ctx, h, p.Hosts[0]))
		require.NoError(t, <-told)
		require.NoError(t, c.tell(ctx, h))
		require.Equal(t, []int{0, 1}, taken)
	})
}
