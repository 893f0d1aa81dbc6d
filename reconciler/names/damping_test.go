package names_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/names"
)

func TestDamping(t *testing.T) {
	now := time.Unix(0, 0)
	var d names.Damping
	// blip has the node be unwell for a second, and returns for how long it is kept out when it is well again.
	blip := func() time.Duration {
		t.Helper()
		d.See(now, web(1), true)
		now = now.Add(time.Second)
		d.See(now, web(1), true)
		proof := d.See(now, web(1), false)
		if proof > 0 {
			require.True(t, d.Out(now.Add(proof-1), web(1)))
		}
		require.False(t, d.Out(now.Add(proof), web(1)))
		require.Zero(t, d.See(now, web(1), false), "it is told once")
		return proof
	}
	require.Zero(t, d.See(now, web(1), false))
	require.Zero(t, blip(), "once is nothing")
	require.False(t, d.Out(now, web(2)))
	for _, want := range []int{15, 30, 60, 120, 240, 240, 240} {
		now = now.Add(5 * time.Second)
		require.InDelta(t, want, blip().Seconds(), 0)
	}
	for range 100 {
		require.Equal(t, 4*time.Minute, blip())
	}
	d.Forget(web(1))
	require.False(t, d.Out(now, web(1)), "what a rollout restores is back at once")
	require.Zero(t, blip())
	require.NotZero(t, blip())
	now = now.Add(10 * time.Minute)
	require.Zero(t, blip(), "it was well for long")
}
