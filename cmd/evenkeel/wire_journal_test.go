package main

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
	"github.com/evenkeel/evenkeel/spec"
)

const aFleet = `apiVersion: evenkeel.dev/v1
kind: Fleet
metadata: {name: production}
spec:
  hosts: [{name: hn1, endpoint: "unix:///var/run/docker.sock"}]
`

// What a rollout reports is what history prints, by the fleet's name, which comes with the first revision.
func TestWhatIsDoneIsInTheHistory(t *testing.T) {
	state := t.TempDir()
	p, _, _ := testProgram(nil)
	j := &keptJournal{dir: state, show: p.progress(), load: spec.Load, by: "ann@box (7)"}
	step := rollout.Progress{
		Time: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), Revision: "8f3c2a1b9d0e", Environment: "shop", Layer: "web", Node: 3, Host: "hn2",
		FromHost: "hn1", Operation: plan.Redeploy, Phase: rollout.PhaseGate,
	}
	require.NoError(t, j.Append(step), "before the fleet is known nothing is kept, and nothing is held up")
	require.Error(t, j.of(fstest.MapFS{"fleet.yaml": {Data: []byte("kind: Flet")}}))
	require.NoError(t, j.of(fstest.MapFS{"fleet.yaml": {Data: []byte(aFleet)}}))
	require.NoError(t, j.Append(step))
	step.Message = "3 connections are open"
	require.NoError(t, j.Append(step), "what is said within a phase isn't kept")
	step.Message = ""
	step.Phase, step.Took, step.Causes = rollout.PhaseDone, plan.Duration(3*time.Second), []plan.Cause{{Field: "image", From: "1", To: "2"}}
	require.NoError(t, j.Append(step))
	step.Phase, step.Error, step.Message = rollout.PhaseFailed, "not healthy", "panic: no config\n"
	require.NoError(t, j.Append(step))
	network := reconciler.HostStep{Time: step.Time, Revision: step.Revision, Host: "hn1", Operation: "update", What: "container",
		Name: "production_shop_web_3_g1", Took: 20 * time.Millisecond, Error: "the engine said no",
		Causes: []plan.Cause{{Field: "restart policy", From: "no", To: "unless-stopped"}}}
	require.NoError(t, j.AppendStep(network))
	require.NoError(t, j.Close())

	history := func(args ...string) string {
		p, _, _ := testProgram(nil)
		require.Zero(t, run(append([]string{"history", "--fleet", "production", "--state", state}, args...), p))
		return p.out.(*safeBuffer).String()
	}
	require.Equal(t, strings.TrimPrefix(`
2026-11-20 12:00:00  8f3c2a1b  shop/web/3                hn1 → hn2  redeploy          done in 3s    ann@box (7)  image: 1 → 2
2026-11-20 12:00:00  8f3c2a1b  shop/web/3                hn1 → hn2  redeploy          failed in 3s  ann@box (7)  image: 1 → 2 / not healthy / panic: no config
2026-11-20 12:00:00  8f3c2a1b  production_shop_web_3_g1  hn1        update container  failed in 0s  ann@box (7)  restart policy: no → unless-stopped / the engine said no
`, "\n"), history())
	require.Equal(t, 1, strings.Count(history("--all"), "redeploy          gate"))
	require.NotContains(t, history("-n", "1"), "done")
	require.Empty(t, history("-e", "billing", "-o", "json"))
}

// What is done beside nodes is in the history by its own name, a node's container by the node's.
func TestWhatIsDoneOnHostsIsInTheHistory(t *testing.T) {
	state := t.TempDir()
	p, _, _ := testProgram(nil)
	j := &keptJournal{dir: state, show: p.progress(), load: spec.Load}
	require.NoError(t, j.of(fstest.MapFS{"fleet.yaml": {Data: []byte(aFleet)}}))
	step := reconciler.HostStep{
		Time: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), Revision: "8f3c2a1b9d0e", Host: "hn1", Operation: "create", What: "network",
		Name: "evenkeel_production_shop", Node: fleet.NodeID{Environment: "shop"},
	}
	require.NoError(t, j.AppendStep(step))
	step.Operation, step.Error = "remove", "it is in use"
	require.NoError(t, j.AppendStep(step))
	step.What, step.Name, step.Error, step.Cause = "container", "production_shop_web_1_g1", "", "no longer needed"
	step.Node = fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}
	require.NoError(t, j.AppendStep(step))
	require.NoError(t, j.Close())

	history := func(args ...string) string {
		p, _, _ := testProgram(nil)
		require.Zero(t, run(append([]string{"history", "--fleet", "production", "--state", state}, args...), p))
		return p.out.(*safeBuffer).String()
	}
	require.Equal(t,
		"2026-11-20 12:00:00  8f3c2a1b  evenkeel_production_shop  hn1  create network    done\n"+
			"2026-11-20 12:00:00  8f3c2a1b  evenkeel_production_shop  hn1  remove network    failed  it is in use\n"+
			"2026-11-20 12:00:00  8f3c2a1b  shop/web/1                hn1  remove container  done    no longer needed\n", history())
	require.Contains(t, history("-o", "json"), `"name":"evenkeel_production_shop"`)
	require.Empty(t, history("-e", "billing", "-o", "json"))
}

func TestARunWithoutAJournalIsARun(t *testing.T) {
	p, _, _ := testProgram(nil)
	j := &keptJournal{show: p.progress(), load: spec.Load}
	require.NoError(t, j.of(fstest.MapFS{"fleet.yaml": {Data: []byte(aFleet)}}))
	require.NoError(t, j.Append(rollout.Progress{}))
	require.NoError(t, j.Close())
}
