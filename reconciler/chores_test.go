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

// What nobody wants any more is left alone while its node is being worked on, and the loop rests meanwhile.
func TestALeftoverOfANodeAtHandIsRemovedAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		h2.stops = time.Minute
		before := string(r.files["shop.yaml"].Data)
		r.write("shop.yaml", before+"      env: {VERSION: \"2\"}\n")
		c, ctx := ready(t, r, h1, h2)
		c.startWorkers(ctx, nil)
		offer := func() {
			p, number := c.computeNumbered(ctx)
			c.carryOut(ctx, p, number)
			<-c.choring.AtRest()
		}
		offer()
		time.Sleep(10 * time.Second) // the old one is being stopped
		r.write("shop.yaml", before)
		_, err := c.Fetch(ctx)
		require.NoError(t, err)
		offer()
		for len(c.kicks) > 0 {
			<-c.kicks
		}
		require.True(t, slices.ContainsFunc(c.plan.Hosts, func(op plan.HostOperation) bool { return op.What == "container" }))
		offer()
		require.Empty(t, c.kicks, "nothing was done that asks for another plan")
		require.Empty(t, h2.removed)

		c.wait()
		for range 3 {
			offer()
			c.wait()
		}
		require.Equal(t, []string{"shop-web-1-g2"}, h2.removed)
		require.True(t, h2.runs("shop-web-1-g1"))
	})
}
