package reconciler

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRunTellsOfATagThatMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, young := "sha256:"+strings.Repeat("1", 64), "sha256:"+strings.Repeat("2", 64)
		var asked, pulls atomic.Int64
		var is atomic.Value
		is.Store(old)
		reg := &registries{digest: func(context.Context) (string, error) {
			asked.Add(1)
			if is.Load() == "" {
				return "", errors.New("connection refused")
			}
			return is.Load().(string), nil
		}}
		h1, r := newEngine("h1"), newRepo("h1")
		h1.resolve = func(context.Context, string) (string, error) {
			pulls.Add(1)
			return "", errors.New("an engine fetches the manifest")
		}
		r.write("shop.yaml", environment("shop", "r.lan/app:1", "h1"))
		c := controller(t, r, h1)
		c.opts.Registries = reg
		defer loop(t, c)()
		within(t, c, 5*time.Second, "shop serves", func() bool { return c.Current().Converged })
		found := func() string {
			var all []string
			for _, f := range c.CurrentDrift().Drift {
				all = append(all, f.Field+": "+f.Wanted+" > "+f.Found)
			}
			return strings.Join(append(all, c.CurrentDrift().Unknown...), "\n")
		}
		before := asked.Load()
		time.Sleep(time.Hour)
		require.Empty(t, found())
		require.LessOrEqual(t, asked.Load()-before, int64(12), "registries limit how often they may be asked")

		is.Store("")
		time.Sleep(tagsEvery + tagTime)
		require.Equal(t, "whether its tag has moved: image r.lan/app:1: connection refused", found())
		is.Store(young)
		time.Sleep(tagsEvery + tagTime)
		moved := "image: r.lan/app@" + young + " > r.lan/app@" + old
		require.Equal(t, moved, found())
		require.Equal(t, []string{"shop/web: r.lan/app:1 stands for r.lan/app@" + young + " by now, and nodes run r.lan/app@" + old +
			": write the new one, or another `redeploy`, and commit it"}, c.CurrentPlan().Warnings)
		is.Store("")
		time.Sleep(tagsEvery + tagTime)
		require.Equal(t, moved+"\nwhether its tag has moved: image r.lan/app:1: connection refused", found(), "no answer isn't the end of it")
		require.True(t, c.Current().Converged)
		require.True(t, h1.runs("shop-web-1-g1"), "it is told of, and changes nothing")
		require.Zero(t, pulls.Load())
		is.Store(old)
		time.Sleep(tagsEvery + tagTime)
		require.Empty(t, found())
	})
}

// Of an image that nodes got after the tag was looked up nothing is said.
func TestATagThatWasLookedUpBeforeSaysNothingOfLaterNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var is atomic.Value
		is.Store("sha256:" + strings.Repeat("1", 64))
		h1, r := newEngine("h1"), newRepo("h1")
		r.write("shop.yaml", environment("shop", "r.lan/app:1", "h1"))
		c := controller(t, r, h1)
		c.opts.Registries = &registries{digest: func(context.Context) (string, error) { return is.Load().(string), nil }}
		defer loop(t, c)()
		within(t, c, 5*time.Second, "shop serves", func() bool { return c.Current().Converged })
		time.Sleep(tagsEvery + time.Second)
		is.Store("sha256:" + strings.Repeat("2", 64))
		r.write("shop.yaml", strings.Replace(environment("shop", "r.lan/app:1", "h1"), "replicas: 1", "replicas: 1\n      redeploy: again", 1))
		within(t, c, time.Minute, "it is made of the new one", func() bool { return h1.runs("shop-web-1-g2") && c.Current().Converged })
		require.Empty(t, c.CurrentDrift().Drift)
		time.Sleep(tagsEvery)
		require.Empty(t, c.CurrentDrift().Drift)
		require.Empty(t, c.CurrentDrift().Ended)
	})
}
