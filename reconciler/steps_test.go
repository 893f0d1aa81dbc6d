package reconciler

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// What is made, mended and removed on hosts is shown as it happens.
func TestStepsAreShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		r, h1, h2 := two(t)
		old := h1.state.Instances[0]
		old.ID, old.Name, old.Generation, old.State = "old", "f_blog_web_1_g0", 0, fleet.StateExited
		h1.state.Instances = append(slices.Clone(h1.state.Instances), old)
		h1.state.Networks = append(h1.state.Networks, fleet.Network{Name: "evenkeel_f_gone", Fleet: "f", Environment: "gone"})
		r.write("news.yaml", environment("news", "app:1", "h1"))
		c := controller(t, r, h1, h2)
		m.attach(c)
		defer loop(t, c)()
		for _, says := range []string{
			"removed container f_blog_web_1_g0", "removed network evenkeel_f_gone", "created network evenkeel_f_news",
			"connected keeper to network evenkeel_f_news",
		} {
			within(t, c, 5*time.Second, says, func() bool {
				m.mu.Lock()
				defer m.mu.Unlock()
				return slices.ContainsFunc(m.notices, func(n Notice) bool { return n.Host == "h1" && n.Message == says })
			})
		}
	})
}

func TestAStepIsASentence(t *testing.T) {
	step := HostStep{Operation: "connect", What: "keeper", Name: "evenkeel_f_shop"}
	require.Equal(t, "connected keeper to network evenkeel_f_shop", step.String())
	step.Operation, step.Causes = "disconnect", []plan.Cause{{Field: "networks", From: "foreign"}}
	require.Equal(t, "disconnected keeper from network evenkeel_f_shop: networks: foreign → none", step.String())
	step.Error = "no such network"
	require.Equal(t, "disconnect keeper from network evenkeel_f_shop: no such network", step.String())
}

// A reading that was given up says nothing of its host.
func TestAReadingThatIsGivenUpLosesNoHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		c, ctx := ready(t, r, h1, h2)
		h1.hang()
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		c.observeHost(short, c.host("h1"))
		require.True(t, c.host("h1").snapshot().Reachable)
	})
}
