package main

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/drift"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
	"github.com/evenkeel/evenkeel/server/metrics"
)

// seer is a controller of which metrics are told.
type seer struct {
	canned
	status reconciler.Status
}

func (s *seer) Current() reconciler.Status { return s.status }

// What a controller reports and sees is what Prometheus reads.
func TestWhatIsDoneAndSeenIsInTheMetrics(t *testing.T) {
	c := &seer{status: reconciler.Status{
		Fleet: "production", Revision: "8f3c", Converged: true,
		Hosts: []reconciler.HostStatus{
			{Name: "hn1", Reachable: true, Keeper: 4, Nodes: 2, Reserved: reconciler.Room{Memory: 1024, CPU: 1500}, Capacity: reconciler.Room{Memory: 2048, CPU: 7000}},
			{Name: "hn2", Keeper: 4},
		},
		Environments: []reconciler.EnvironmentStatus{{Name: "shop", Layers: []reconciler.LayerStatus{{Name: "web", Wanted: 3, Serving: 2, Paused: "gate"}}}},
	}}
	c.drift = drifted()
	c.drift.Drift[0].Environment = "shop"
	c.drift.Drift = append(c.drift.Drift, c.drift.Drift[0], drift.Finding{Host: "hn1", What: drift.Keeper}, drift.Finding{Environment: "gone", What: drift.Volume})
	c.drift.Unknown = []string{"host hn2"}
	p, _, _ := testProgram(nil)
	s := &controllerSetup{show: p.progress(), metrics: metrics.New("1.2.3", func() metrics.Seen { return seen(c) })}
	step := rollout.Progress{Environment: "shop", Layer: "web", Node: 1, Operation: plan.Redeploy, Phase: rollout.PhaseGate}
	s.report(step)
	step.Phase, step.Took = rollout.PhaseDone, plan.Duration(2*time.Second)
	s.report(step)
	s.changed(reconciler.HostStep{Host: "hn1", Operation: "create", What: "keeper"})
	s.changed(reconciler.HostStep{Host: "hn1", Operation: "remove", What: "network", Error: "in use"})
	s.passed(plan.Plan{HasChanges: true}, time.Second)

	w := httptest.NewRecorder()
	s.metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		`evenkeel_operations_total{environment="shop",layer="web",operation="redeploy",outcome="done"} 1`,
		`evenkeel_operation_duration_seconds_sum{operation="redeploy"} 2`,
		`evenkeel_operation_duration_seconds_count{operation="redeploy"} 1`,
		`evenkeel_host_operations_total{host="hn1",operation="create",outcome="done",what="keeper"} 1`,
		`evenkeel_host_operations_total{host="hn1",operation="remove",outcome="failed",what="network"} 1`,
		`evenkeel_passes_total{changes="true"} 1`,
		`evenkeel_revision_info{fleet="production",revision="8f3c"} 1`,
		`evenkeel_converged 1`, `evenkeel_leading 1`, `evenkeel_waiting 0`, `evenkeel_revision_refused 0`,
		`evenkeel_host_reachable{host="hn1"} 1`, `evenkeel_host_reachable{host="hn2"} 0`,
		`evenkeel_host_keeper_up{host="hn1"} 1`, `evenkeel_host_keeper_up{host="hn2"} 0`,
		`evenkeel_host_lease_held{host="hn1"} 1`, `evenkeel_host_lease_held{host="hn2"} 0`,
		`evenkeel_host_nodes{host="hn1"} 2`,
		`evenkeel_host_cpu_cores{host="hn1",kind="reserved"} 1.5`, `evenkeel_host_cpu_cores{host="hn1",kind="capacity"} 7`,
		`evenkeel_host_memory_bytes{host="hn1",kind="reserved"} 1024`, `evenkeel_host_memory_bytes{host="hn1",kind="capacity"} 2048`,
		`evenkeel_layer_nodes{environment="shop",kind="wanted",layer="web"} 3`, `evenkeel_layer_nodes{environment="shop",kind="serving",layer="web"} 2`,
		`evenkeel_layer_paused{environment="shop",layer="web"} 1`,
		`evenkeel_host_keeper_version{host="hn1"} 4`, `evenkeel_host_keeper_version{host="hn2"} 0`,
		`evenkeel_drift{environment="shop",what="node"} 2`, `evenkeel_drift{environment="shop",what="volume"} 0`,
		`evenkeel_drift{environment="",what="keeper"} 1`, `evenkeel_drift{environment="",what="record"} 0`, `evenkeel_drift{environment="shop",what="record"} 0`,
		`evenkeel_drift{environment="gone",what="volume"} 1`, `evenkeel_drift_unknown 1`,
	} {
		require.Contains(t, w.Body.String(), line+"\n")
	}
	c.status = reconciler.Status{Refused: "invalid", Waiting: "ann"}
	c.ready = "waits"
	c.drift = drift.Report{}
	none := []metrics.Drift{{What: drift.Keeper}, {What: drift.Network}, {What: drift.Container}, {What: drift.Record}}
	require.Equal(t, metrics.Seen{Refused: true, Waits: true, Drift: none}, seen(c))
}
