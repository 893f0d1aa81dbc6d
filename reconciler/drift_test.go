package reconciler

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/drift"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func TestDriftIsToldOfAndWhenItCameAndWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1 := newEngine("h1")
		r := newRepo("h1")
		r.write("shop.yaml", environment("shop", "app:1", "h1"))
		c := controller(t, r, h1)
		require.Equal(t, []string{"no pass has been made yet"}, c.CurrentDrift().Unknown)
		defer loop(t, c)()
		within(t, c, 5*time.Second, "shop serves", func() bool { return c.Current().Converged })

		r.write("shop.yaml", strings.Replace(environment("shop", "app:1", "h1"), "replicas: 1", "replicas: 1\n      env: {A: b}", 1))
		within(t, c, time.Minute, "the node is another one", func() bool { return h1.runs("shop-web-1-g2") && c.Current().Converged })
		got := c.CurrentDrift()
		require.Empty(t, got.Drift)
		require.Empty(t, got.Ended, "the rollout stopped a node, and that was no drift")
		require.Empty(t, got.Unknown)

		killed := time.Now()
		h1.kill(t, "shop-web-1-g2")
		within(t, c, time.Second, "it is seen", func() bool { r := c.CurrentDrift(); return len(r.Drift)+len(r.Ended) == 1 })
		within(t, c, time.Minute, "it is over", func() bool { return len(c.CurrentDrift().Ended) == 1 })
		over := c.CurrentDrift().Ended[0]
		require.Equal(t, []string{"h1", "shop/web/1", "state", "exited (exit code 0)"}, []string{over.Host, over.Node, over.Field, over.Found})
		require.WithinDuration(t, killed, *over.Since, time.Second)
		require.False(t, over.Until.Before(*over.Since))
		require.Empty(t, c.CurrentDrift().Drift)
	})
}

func TestDriftThatIsOnlyReportedStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1 := newEngine("h1")
		r := newRepo("h1")
		r.write("fleet.yaml", string(r.files["fleet.yaml"].Data)+"  drift: {selfHeal: false}\n")
		r.write("shop.yaml", environment("shop", "app:1", "h1"))
		c := controller(t, r, h1)
		defer loop(t, c)()
		within(t, c, 5*time.Second, "shop serves", func() bool { return c.Current().Converged })
		found := func() drift.Finding {
			within(t, c, time.Second, "it is seen", func() bool { return len(c.CurrentDrift().Drift) == 1 })
			return c.CurrentDrift().Drift[0]
		}
		first := time.Now()
		h1.kill(t, "shop-web-1-g1")
		require.WithinDuration(t, first, *found().Since, time.Second)
		time.Sleep(10 * time.Minute) // of the bubble's time, with all its passes
		later := found()
		require.WithinDuration(t, first, *later.Since, time.Second)
		require.Equal(t, "only reported, since drift.selfHeal is false", later.Remedy)
		require.False(t, h1.runs("shop-web-1-g1"))

		require.NoError(t, h1.Remove(t.Context(), "shop-web-1-g1"))
		h1.events <- fleet.Event{Host: "h1", Kind: "host"}
		within(t, c, time.Second, "it is gone", func() bool { return found().Found == "missing" })
		time.Sleep(10 * time.Minute)
		require.Equal(t, "h1", found().Host)
	})
}
