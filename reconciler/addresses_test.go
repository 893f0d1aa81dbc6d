package reconciler

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// slowPull is an engine whose pulls take their time.
type slowPull struct{ *engine }

func (e slowPull) Pull(ctx context.Context, ref string, as fleet.Credentials) error {
	time.Sleep(10 * time.Second)
	return e.engine.Pull(ctx, ref, as)
}

// TestNodesOfOneEnvironmentHaveDifferentAddresses also where one's image is still being pulled when another's is found.
func TestNodesOfOneEnvironmentHaveDifferentAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1 := newEngine("h1")
		h1.resolve = func(_ context.Context, ref string) (string, error) {
			if strings.Contains(ref, "late") {
				time.Sleep(time.Second)
			}
			return "sha256:" + strings.Repeat("b", 64), nil
		}
		r := newRepo("h1")
		text := environment("shop", "registry.example.com/app:1", "h1")
		layer := text[strings.Index(text, "    - name"):]
		r.write("shop.yaml", text+strings.NewReplacer("name: web", "name: api", "app:1", "late:1").Replace(layer))
		c := controllerOf(t, r, map[string]Engine{"h1": slowPull{h1}}, h1)
		defer loop(t, c)()
		within(t, c, 30*time.Second, "all serve", func() bool { return c.Current().Converged })
		st := h1.Observe(t.Context(), "f")
		require.Len(t, st.Instances, 2)
		require.NotEqual(t, st.Instances[0].Address, st.Instances[1].Address)
	})
}
