package reconciler

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// A plan that was made while a chore was being done asks for it once more. It is done once.
func TestAChoreThatEndedMeanwhileIsNotDoneAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		old := h1.state.Instances[0]
		old.ID, old.Name, old.Generation, old.State = "old", "old", 0, fleet.StateExited
		there := slices.Clone(h1.state.Instances)
		h1.state.Instances = append(there, old)
		c, ctx := ready(t, r, h1, h2)
		c.startWorkers(ctx, nil)
		begin := func(p plan.Plan, number int) {
			p.Hosts = slices.DeleteFunc(p.Hosts, func(op plan.HostOperation) bool { return op.What != "container" })
			c.beginChores(ctx, p, number)
			<-c.choring.AtRest()
		}

		p, number := c.computeNumbered(ctx)
		begin(p, number)
		begin(p, number)
		require.Equal(t, []string{"old"}, h1.removed)

		h1.state.Instances = append(h1.state.Instances, old) // it is back
		time.Sleep(time.Second)                              // and seen after it was removed
		c.observeAll(ctx)
		p, number = c.computeNumbered(ctx)
		begin(p, number)
		require.Equal(t, []string{"old", "old"}, h1.removed)
		c.forgetChores(number + 1)
		require.Empty(t, c.done)
	})
}
