package reconciler

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A keeper that is removed while it is asked in vain isn't waited for any longer.
func TestAKeeperThatGoesMeanwhileIsNotAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1 := newRepo("h1"), newEngine("h1")
		c := controller(t, r, h1)
		defer func() { require.NoError(t, c.Close()) }()
		_, err := c.Fetch(t.Context())
		require.NoError(t, err)
		h1.keeper.hush()
		begun := time.Now()
		time.AfterFunc(3*time.Second, func() {
			h1.mu.Lock()
			defer h1.mu.Unlock()
			h1.state.Keepers = nil
		})
		require.ErrorIs(t, c.awaitKeeper(t.Context(), c.host("h1")), errKeeperGone)
		require.Less(t, time.Since(begun), 6*time.Second)
	})
}
