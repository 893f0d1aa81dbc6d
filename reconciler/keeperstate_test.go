package reconciler

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

var (
	shopWeb1 = fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}
	shopWeb2 = fleet.NodeID{Environment: "shop", Layer: "web", Node: 2}
)

// out says why the keeper keeps the node out of its layer's names.
func (k *keeper) out(t *testing.T, n fleet.NodeID) string {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, z := range k.state.Zone.Nodes {
		if z.NodeID == n {
			return z.Out
		}
	}
	require.Fail(t, "the keeper doesn't know the node")
	return ""
}

// A keeper answers at once what it has, and its host's engine takes its time to say what runs: what the keeper
// acknowledged in between isn't forgotten with that.
func TestWhatAKeeperAcknowledgedWhileItsHostWasReadCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		h2.exit(t, "shop-web-1-g1") // else it would have its names back by itself
		c, ctx := ready(t, r, h1, h2)
		h := c.host("h2")
		require.NoError(t, naming{c}.Restore(ctx, shopWeb1))
		h2.mu.Lock()
		h2.slow = time.Second
		h2.mu.Unlock()
		read := c.read(ctx, h, 0)
		time.Sleep(500 * time.Millisecond)

		require.NoError(t, records{c}.PutRecord(ctx, "h2", "gone/x", 1))
		require.NoError(t, records{c}.PutRecord(ctx, "h2", fleet.CurrentKey(shopWeb1), fleet.CurrentRecord{Generation: 7}))
		require.NoError(t, records{c}.DeleteRecord(ctx, "h2", "gone/x"))
		_, err := naming{c}.Withdraw(ctx, shopWeb1, "test")
		require.NoError(t, err)
		<-read
		require.Equal(t, 7, fleet.Recorded(c.observed())[shopWeb1])
		var v any
		require.False(t, h.snapshot().Keeper.Record("gone/x", &v))
		require.Equal(t, "withdrawn: test", h2.keeper.out(t, shopWeb1))
		require.NoError(t, naming{c}.Restore(ctx, shopWeb1))
		require.Equal(t, "stopped", h2.keeper.out(t, shopWeb1), "it is withdrawn no longer")

		// What somebody else changed is seen by the next reading.
		require.NoError(t, h2.keeper.DeleteRecord(ctx, fleet.CurrentKey(shopWeb1)))
		time.Sleep(time.Second)
		<-c.read(ctx, h, 0)
		require.Zero(t, fleet.Recorded(c.observed())[shopWeb1])
	})
}

func TestAnOlderAnswerOfAKeeperDoesNotReplaceANewerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		c, ctx := ready(t, r, h1, h2)
		h := c.host("h2")
		h2.mu.Lock()
		h2.slow = time.Second
		h2.mu.Unlock()
		read := c.read(ctx, h, 0)
		time.Sleep(500 * time.Millisecond)
		require.NoError(t, h2.keeper.PutRecord(ctx, "new/x", 1))
		_, err := h.keeperState(ctx)
		require.NoError(t, err)
		<-read
		var v any
		require.True(t, h.snapshot().Keeper.Record("new/x", &v))
	})
}

// A zone that was taken while the acknowledgement got lost is taken back.
func TestAnUnansweredWithdrawalIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		h2.exit(t, "shop-web-1-g1") // else it would have its names back by itself
		c, ctx := ready(t, r, h1, h2)
		require.NoError(t, naming{c}.Restore(ctx, shopWeb1))
		require.NoError(t, h2.keeper.change(func(*fleet.KeeperState) { h2.keeper.forgets = true }))
		c.setOut(shopWeb1, "test")
		require.ErrorIs(t, c.tell(ctx, c.host("h2")), fleet.ErrUnreachable)
		require.Equal(t, "test", h2.keeper.out(t, shopWeb1))
		require.NoError(t, h2.keeper.change(func(*fleet.KeeperState) { h2.keeper.forgets = false }))
		time.Sleep(time.Second)
		require.NoError(t, naming{c}.Restore(ctx, shopWeb1))
		require.Equal(t, "stopped", h2.keeper.out(t, shopWeb1))
	})
}

func TestAKeepersAnswerIsOldOnceItWasToldSomething(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		c, ctx := ready(t, r, h1, h2)
		h := c.host("h1")
		was, err := h.keeperState(ctx)
		require.NoError(t, err)
		require.Empty(t, was.Zone.Nodes[0].Out)
		again, err := h.keeperState(ctx)
		require.NoError(t, err)
		require.Same(t, was, again, "many gates ask at once")
		in := h.snapshot().Instances[0]
		in.State = fleet.StatePaused
		h.saw(in.ID, patch{in: in})
		require.NoError(t, c.tell(ctx, h))
		is, err := h.keeperState(ctx)
		require.NoError(t, err)
		require.Equal(t, "paused", is.Zone.Nodes[0].Out)
	})
}
