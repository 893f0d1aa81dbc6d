package reconciler

import (
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// pruning is a repository of four environments with a node each, of which half may be removed at a time.
func pruning() *repo {
	r := newRepo("h1")
	r.commit(func(files fstest.MapFS) {
		fleet := files["fleet.yaml"]
		fleet.Data = []byte(strings.NewReplacer("maxShare: 100%", "maxShare: 50%", "10.99.0.0/20", "10.99.0.0/16").Replace(string(fleet.Data)))
		for _, e := range []string{"a", "b", "c", "d"} {
			files[e+".yaml"] = &fstest.MapFile{Data: []byte(environment(e, "app:1", "h1"))}
		}
	})
	return r
}

func TestARevisionThatPrunesTooMuchIsNotLetThroughByWhatItMakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1, r := newEngine("h1"), pruning()
		c := controller(t, r, h1)
		defer loop(t, c)()
		within(t, c, 5*time.Second, "all serve", func() bool { return c.Current().Converged })
		r.commit(func(files fstest.MapFS) {
			for _, e := range []string{"a", "b", "c"} {
				delete(files, e+".yaml")
			}
			for _, e := range []string{"e", "f"} {
				files[e+".yaml"] = &fstest.MapFile{Data: []byte(environment(e, "app:1", "h1"))}
			}
		})
		refused := func() bool {
			p := c.CurrentPlan().Refused
			return len(p) == 1 && strings.HasPrefix(p[0], "would remove 3 of 4 nodes")
		}
		within(t, c, 5*time.Second, "it is refused", refused)
		within(t, c, 5*time.Second, "the rest goes on", func() bool { return h1.runs("e-web-1-g1") && h1.runs("f-web-1-g1") })
		time.Sleep(2 * c.opts.Interval) // and is read anew
		require.True(t, refused(), "3 of 6 are no more than half: %s", raw(c.CurrentPlan()))
		for _, e := range []string{"a", "b", "c"} {
			require.True(t, h1.runs(e+"-web-1-g1"))
		}

		r.commit(func(fstest.MapFS) {})
		within(t, c, 5*time.Second, "another revision is weighed anew", func() bool { return c.Current().Converged })
		require.False(t, h1.runs("a-web-1-g1"))
	})
}

func TestNothingIsRemovedWhileAHostHasNotBeenRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		h1.hang()
		r.commit(func(files fstest.MapFS) { delete(files, "shop.yaml") })
		c := controller(t, r, h1, h2)
		defer loop(t, c)()
		within(t, c, 3*time.Second, "it is told what the removal waits for", func() bool {
			return strings.Contains(string(raw(c.CurrentPlan())), "remove waits until host h1 has been read, or is found to be out of reach")
		})
		require.True(t, h2.runs("shop-web-1-g1"))
		within(t, c, 11*time.Second, "it is removed", func() bool { return !h2.runs("shop-web-1-g1") })
	})
}
