package rollout

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestALockIsHeldByOneAndWaitedForAsLongAsTheContextLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lock
		require.NoError(t, l.Take(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, l.Take(ctx), context.DeadlineExceeded)
		begun := time.Now()
		time.AfterFunc(time.Minute, l.Give)
		require.NoError(t, l.Take(t.Context()))
		require.Equal(t, time.Minute, time.Since(begun))
		l.Give()
		require.NoError(t, l.Take(t.Context()), "it is free again")
	})
}
