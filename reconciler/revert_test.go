package reconciler

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A commit that takes back what is under way leaves its layer nothing to do but to let go of the nodes at hand.
func TestARevertGivesUpWhatIsAtHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newEngine("h1")
		r := newRepo("h1")
		r.write("fleet.yaml", string(r.files["fleet.yaml"].Data)+"  dns: {internal: {ttl: 5m}}\n")
		version := func(n int) {
			layer := strings.NewReplacer("replicas: 1", "replicas: 2", "simultaneous", "sequential").Replace(environment("shop", "app:1", "h1"))
			r.write("shop.yaml", layer+fmt.Sprintf("      env: {VERSION: \"%d\"}\n", n))
		}
		version(1)
		c := controller(t, r, h)
		end := loop(t, c)
		defer end()
		within(t, c, 5*time.Second, "both serve", func() bool { return c.Current().Converged })

		version(2)
		within(t, c, 5*time.Second, "a node is withdrawn", func() bool { return h.keeper.out(t, shopWeb2) != "" })
		version(1)
		within(t, c, 5*time.Second, "long before the TTL is over", func() bool { return c.Current().Converged })
		require.Empty(t, h.keeper.out(t, shopWeb2))
	})
}
