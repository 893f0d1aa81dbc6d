package sim

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// phases are when the operations of a layer's nodes came to a phase, in their order.
func (w *World) phases(operation, phase string) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var at []time.Duration
	for _, l := range w.trace {
		begins := strings.HasSuffix(l.text, ": "+phase+"  ") || phase == "failed" && strings.Contains(l.text, ": failed ")
		if begins && strings.Contains(l.text, "shop/web "+operation+" ") { // what more is said of a phase later is no other
			at = append(at, l.at)
		}
	}
	return at
}

// within requires that something took as long as it was to, and hardly longer.
func within(t *testing.T, what string, took, least, most time.Duration) {
	t.Helper()
	require.GreaterOrEqual(t, took, least, what)
	require.Less(t, took, most, what)
}

// TestPaces: each wait that is written for a layer is as long as it is written, in a whole fleet.
func TestPaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := wishes{hosts: 1, ttl: 4, layers: []wish{{
			environment: "shop", name: "web", version: 1, replicas: 3, health: "http", anti: "preferred",
			policy: policyWish{strategy: "sequential", delay: 7, drain: 9, minHealthy: 3, healthTime: 40, most: 1, failure: "pause"},
		}}}
		s := &run{w: New(1, "h1"), now: now, stop: make(chan struct{}), ended: make(chan struct{})}
		defer s.w.Close()
		defer s.end()
		s.commit(now, "first")
		go s.live()
		require.True(t, s.await("at first"))

		next := now.clone()
		next.layers[0].version = 2
		s.commit(next, "image")
		require.True(t, s.await("after a change"))
		const slack = 300 * time.Millisecond
		left, drain, operate := s.w.phases("redeploy", "withdraw"), s.w.phases("redeploy", "drain"), s.w.phases("redeploy", "operate")
		gate, restore, done := s.w.phases("redeploy", "gate"), s.w.phases("redeploy", "restore"), s.w.phases("redeploy", "done")
		require.Len(t, done, 3)
		for i := range done {
			within(t, "ttl and drainTimeout", operate[i]-drain[i], 4*time.Second, 4*time.Second+9*time.Second+slack)
			within(t, "the keeper's acknowledgement", drain[i]-left[i], 0, slack)
			within(t, "minHealthy", restore[i]-gate[i], 3*time.Second, 3*time.Second+6*time.Second) // and until it is healthy
			if i > 0 {
				within(t, "delay", left[i]-done[i-1], 7*time.Second, 7*time.Second+slack)
			}
		}

		next = next.clone()
		next.layers[0].version, next.layers[0].mark = 3, "broken"
		s.commit(next, "broken")
		time.Sleep(5 * time.Minute)
		failed := s.w.phases("redeploy", "failed")
		require.Len(t, failed, 1, "the layer is paused")
		within(t, "healthTimeout", failed[0]-s.w.phases("redeploy", "gate")[3], 40*time.Second, 40*time.Second+slack)
		require.Len(t, s.w.phases("redeploy", "withdraw"), 4, "nobody else is touched while the pause holds")
		s.commit(next.mended(), "mended")
		require.True(t, s.await("once it is mended"))
		require.Empty(t, s.w.Violations(), fmt.Sprint(s.w.Trace()))
	})
}
