package plan_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

var (
	noon   = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	web1   = fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}
	memory = plan.Cause{Field: "limit.memory", From: "64Mi"}
)

func redeploys(causes ...plan.Cause) plan.Change {
	return plan.ChangeOf(web1, plan.Redeploy, causes, "hash", "r1")
}

// waits is how long the change waits for after it was made so often, each time as soon as it might be.
func waits(ch plan.Change, times int) []time.Duration {
	var r plan.Repeats
	var all []time.Duration
	now := noon
	for range times {
		r.Note(ch, now)
		begun := now
		for r.Wait(ch, now) != "" {
			now = now.Add(time.Minute)
		}
		all = append(all, now.Sub(begun))
	}
	return all
}

func TestWhatIsDoneAgainWaitsEverLonger(t *testing.T) {
	m, h := time.Minute, time.Hour
	stops := []time.Duration{0, 0, m, 4 * m, 16 * m, 2 * h, 4 * h, 8 * h, 16 * h, 24 * h, 24 * h}
	goesOn := make([]time.Duration, 11)
	on := func(op plan.HostOperation) plan.Change {
		ch, counts := plan.ChangeOnHost(op, "hash")
		require.True(t, counts)
		return ch
	}
	for name, c := range map[string]struct {
		change plan.Change
		want   []time.Duration
	}{
		"redeploy":        {redeploys(memory), stops},
		"resize":          {plan.ChangeOf(web1, plan.Resize, []plan.Cause{memory}, "hash", "r1"), stops},
		"start":           {plan.ChangeOf(web1, plan.Start, []plan.Cause{{Field: "state", From: "exited", To: "running"}}, "hash", "r1"), goesOn},
		"create":          {plan.ChangeOf(web1, plan.Create, []plan.Cause{{Field: "node", From: "missing", To: "running"}}, "hash", "r1"), goesOn},
		"unhealthy":       {plan.ChangeOf(web1, plan.Restart, []plan.Cause{{Field: "health", From: "unhealthy for 1m", To: "healthy"}}, "hash", "r1"), goesOn},
		"replicas":        {plan.ChangeOf(web1, plan.Create, []plan.Cause{{Field: "replicas", From: "1", To: "2"}}, "hash", "r1"), goesOn},
		"remove":          {plan.ChangeOf(web1, plan.Remove, []plan.Cause{{Field: "replicas", From: "1", To: "2"}}, "hash", "r1"), goesOn},
		"rename":          {on(plan.HostOperation{Operation: "rename", What: "container", Instance: &fleet.Instance{NodeID: web1}, Causes: []plan.Cause{{Field: "name", To: "a"}}}), stops},
		"others' network": {on(plan.HostOperation{Operation: "disconnect", What: "keeper", Name: "b"}), stops},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, waits(c.change, 11)) })
	}
	for _, op := range []plan.HostOperation{
		{Operation: "create", What: "network"}, {Operation: "remove", What: "container", Instance: &fleet.Instance{}}, {Operation: "replace", What: "keeper"},
		{Operation: "create", What: "keeper"}, {Operation: "start", What: "keeper"}, {Operation: "connect", What: "keeper", Name: "a"},
	} {
		_, counts := plan.ChangeOnHost(op, "")
		require.False(t, counts, "%s %s", op.Operation, op.What)
	}
}

func TestWhatIsAnotherChangeDoesNotWait(t *testing.T) {
	var r plan.Repeats
	moved := plan.Cause{Field: "host", From: "hn1", To: "hn2"}
	for range plan.MostTries {
		r.Note(redeploys(memory), noon)
		r.Note(plan.ChangeOf(web1, plan.Redeploy, []plan.Cause{moved}, "hash", "r1"), noon)
	}
	require.Len(t, r.Problems(noon), 2)
	require.Equal(t, "redeploy waits until 2026-11-20 14:00:00 UTC: shop/web/1: redeploy was done 6 times since 2026-11-20 12:00:00 UTC for the same cause "+
		"(limit.memory: 64Mi → none), and something undoes it each time: find what does, and end it; "+
		"a change of the layer (a new text in its redeploy) has it tried again at once", r.Wait(redeploys(memory), noon))
	require.Empty(t, r.Wait(redeploys(memory, plan.Cause{Field: "limit.cpu", From: "1"}), noon), "it has a new cause too")
	require.Empty(t, r.Wait(redeploys(plan.Cause{Field: "limit.memory", From: "64Mi", To: "1Gi"}), noon), "something else is wanted")
	require.Empty(t, r.Wait(plan.ChangeOf(web1, plan.Redeploy, []plan.Cause{memory}, "other", "r1"), noon), "another spec")
	require.NotEmpty(t, r.Wait(plan.ChangeOf(web1, plan.Redeploy, []plan.Cause{memory}, "hash", "r2"), noon), "the same spec in another revision")
	require.Empty(t, r.Wait(plan.ChangeOf(web1, plan.Redeploy, []plan.Cause{moved}, "hash", "r2"), noon), "where it is to be may be another revision's wish")
	other := fleet.NodeID{Environment: "shop", Layer: "web", Node: 2}
	require.Empty(t, r.Wait(plan.ChangeOf(other, plan.Redeploy, []plan.Cause{memory}, "hash", "r1"), noon), "another node")
}

func TestWhatLastsIsForgotten(t *testing.T) {
	var r plan.Repeats
	for range plan.MostTries - 1 {
		require.Empty(t, r.Note(redeploys(memory), noon))
	}
	require.NotEmpty(t, r.Note(redeploys(memory), noon))
	same := func(fleet.LayerID) string { return "hash" }
	hold := func(hash func(fleet.LayerID) string, at time.Duration) bool {
		p := plan.Plan{Layers: []plan.Layer{{Operations: []plan.Operation{{Node: 1, ID: web1, Kind: plan.Redeploy, Causes: []plan.Cause{memory}}}}}}
		return len(r.Hold(p, hash, noon.Add(at)).Layers[0].Waiting) == 1
	}
	require.True(t, hold(same, 0))
	require.True(t, hold(same, 2*time.Hour-time.Second))
	require.False(t, hold(same, 2*time.Hour))
	require.Empty(t, r.Problems(noon.Add(2*time.Hour)))

	r.Note(redeploys(memory), noon.Add(2*time.Hour))
	require.True(t, hold(same, 6*time.Hour-time.Second), "it was needed again at once: it waits longer")
	require.False(t, hold(same, 8*time.Hour+time.Second))
	require.Empty(t, r.Note(redeploys(memory), noon.Add(8*time.Hour+2*time.Second)), "it had lasted for long")

	for range plan.MostTries {
		r.Note(redeploys(memory), noon.Add(9*time.Hour))
	}
	require.False(t, hold(func(fleet.LayerID) string { return "other" }, 9*time.Hour))
	require.Empty(t, r.Problems(noon.Add(9*time.Hour)), "another spec")
}
