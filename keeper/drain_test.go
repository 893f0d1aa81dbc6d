package keeper

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDrain(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		counts []int // by look; the last one stays
		want   string
		took   time.Duration
	}{
		"none":         {[]int{0}, `{"connections":0}` + "\n" + `{"connections":0,"drained":true}` + "\n", 100 * time.Millisecond},
		"some finish":  {[]int{2, 2, 1, 0}, `{"connections":2}` + "\n" + `{"connections":1}` + "\n" + `{"connections":0}` + "\n" + `{"connections":0,"drained":true}` + "\n", 400 * time.Millisecond},
		"a late one":   {[]int{0, 1, 0, 0}, `{"connections":0}` + "\n" + `{"connections":1}` + "\n" + `{"connections":0}` + "\n" + `{"connections":0,"drained":true}` + "\n", 300 * time.Millisecond},
		"one for ever": {[]int{1}, `{"connections":1}` + "\n" + `{"connections":1,"drained":false}` + "\n", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				looks := 0
				count := func() (int, error) {
					n := c.counts[min(looks, len(c.counts)-1)]
					looks++
					return n, nil
				}
				var out bytes.Buffer
				begin := time.Now()
				require.NoError(t, drainWith(t.Context(), count, time.Second+time.Millisecond, &out))
				require.Equal(t, c.want, out.String())
				require.InDelta(t, float64(c.took), float64(time.Since(begin)), float64(2*time.Millisecond))
			})
		})
	}
	require.ErrorIs(t, drainWith(t.Context(), func() (int, error) { return 0, broken }, time.Second, new(bytes.Buffer)), broken)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, drainWith(ctx, func() (int, error) { return 1, nil }, time.Hour, new(bytes.Buffer)), context.Canceled)
}
