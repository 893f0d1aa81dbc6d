package reconciler

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

const conf = "/etc/app.conf"

// withFile is an environment whose node has a file.
func withFile(more string) string {
	return strings.Replace(environment("shop", "app:1", "h1"), "replicas: 1", "replicas: 1\n      files: [{path: "+conf+", content: \"a = 1\"}]"+more, 1)
}

func fileDigest(content string) string {
	return spec.FileDigest("f", "shop", "web", conf, []byte(content))
}

func TestAFileThatWasChangedIsSeenAndPutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1, r := newEngine("h1"), newRepo("h1")
		r.write("shop.yaml", withFile(""))
		c := controller(t, r, h1)
		c.opts.Interval = 10 * time.Minute
		defer loop(t, c)()
		within(t, c, 5*time.Second, "shop serves", func() bool { return c.Current().Converged })
		time.Sleep(5 * time.Minute)
		require.Empty(t, h1.reads, "what nobody has touched isn't read")

		h1.write("shop-web-1-g1", conf, file{"a = 1", 0o644, time.Now()})
		time.Sleep(5 * time.Minute)
		require.Equal(t, []string{"shop-web-1-g1 " + conf}, h1.reads, "what is known to be good isn't read again")
		require.Empty(t, c.CurrentDrift().Drift)
		require.Empty(t, c.CurrentDrift().Ended)

		changed := time.Now()
		h1.write("shop-web-1-g1", conf, file{"a = 2", 0o644, changed})
		within(t, c, time.Minute, "it is seen and put back", func() bool { return h1.runs("shop-web-1-g2") && c.Current().Converged })
		d := c.CurrentDrift()
		require.Empty(t, d.Drift)
		require.Len(t, d.Ended, 1)
		require.Equal(t, []string{"file " + conf, fileDigest("a = 1"), fileDigest("a = 2")}, []string{d.Ended[0].Field, d.Ended[0].Wanted, d.Ended[0].Found})
		require.True(t, changed.Equal(*d.Ended[0].Since))
	})
}

func TestUnknownFilesAreNoDriftAndNotTheEndOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1, r := newEngine("h1"), newRepo("h1")
		r.write("fleet.yaml", string(r.files["fleet.yaml"].Data)+"  drift: {selfHeal: false}\n")
		r.write("shop.yaml", withFile(""))
		c := controller(t, r, h1)
		defer loop(t, c)()
		within(t, c, 5*time.Second, "shop serves", func() bool { return c.Current().Converged })
		fields := func() string {
			var all []string
			for _, f := range c.CurrentDrift().Drift {
				all = append(all, f.Field)
			}
			return strings.Join(all, " ")
		}
		fails := func(f func(context.Context) error) {
			h1.mu.Lock()
			defer h1.mu.Unlock()
			h1.looks = f
		}
		fails(func(context.Context) error { return fmt.Errorf("it is broken") })
		h1.mu.Lock()
		delete(h1.files["shop-web-1-g1"], conf)
		h1.mu.Unlock()
		time.Sleep(2 * time.Minute)
		require.Empty(t, fields())
		require.Equal(t, []string{"the files of shop/web/1: it is broken"}, c.CurrentDrift().Unknown)

		fails(nil)
		within(t, c, time.Minute, "it is seen", func() bool { return fields() == "file "+conf })
		require.Empty(t, c.CurrentDrift().Unknown)
		seen := *c.CurrentDrift().Drift[0].Since
		fails(unanswered)
		time.Sleep(2 * time.Minute)
		require.Equal(t, "file "+conf, fields(), "a hanging engine ends nothing")
		require.Contains(t, c.CurrentDrift().Unknown[0], fleet.ErrUnreachable.Error())
		fails(nil)
		within(t, c, time.Minute, "it can be read again", func() bool { return len(c.CurrentDrift().Unknown) == 0 })
		h1.kill(t, "shop-web-1-g1")
		time.Sleep(2 * time.Minute)
		require.Equal(t, "file "+conf+" state", fields(), "a node that is stopped has the file that it had")
		require.Equal(t, seen, *c.CurrentDrift().Drift[0].Since)
		require.False(t, h1.runs("shop-web-1-g2"))
	})
}

// What was read a while ago is read once more before anything is done about it.
func TestAFileThatWasPutBackByHandIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1, r := newEngine("h1"), newRepo("h1")
		r.write("shop.yaml", withFile(""))
		c := controller(t, r, h1)
		end := loop(t, c)
		within(t, c, 5*time.Second, "shop serves", func() bool { return c.Current().Converged })
		end()

		h1.write("shop-web-1-g1", conf, file{"a = 2", 0o644, time.Now()})
		c = controller(t, r, h1)
		d, err := c.Drift(t.Context())
		require.NoError(t, err)
		require.Len(t, d.Drift, 1)
		p, err := c.Plan(t.Context())
		require.NoError(t, err)
		require.Len(t, p.Layers, 1)
		require.Equal(t, "file "+conf, p.Layers[0].Operations[0].Causes[0].Field)
		h1.write("shop-web-1-g1", conf, file{"a = 1", 0o644, time.Now().Add(time.Second)})
		v, err := planner{c}.Layer(t.Context(), p.Layers[0].ID())
		require.NoError(t, err)
		require.Empty(t, v.Plan.Operations)
		require.NoError(t, c.Close())
	})
}
