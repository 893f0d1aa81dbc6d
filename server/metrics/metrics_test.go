package metrics_test

import (
	"flag"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/server/metrics"
)

var update = flag.Bool("update", false, "write the reference of the metrics anew")

const referencePath = "../../docs/metrics.md"

// docs/metrics.md is generated from the metrics: `make docs` writes it anew.
func TestReferenceIsFresh(t *testing.T) {
	if *update {
		require.NoError(t, os.WriteFile(referencePath, []byte(metrics.Reference()), 0o644))
	}
	have, err := os.ReadFile(referencePath)
	require.NoError(t, err)
	require.Equal(t, metrics.Reference(), string(have), "docs/metrics.md is stale: run `make docs`")
}

// read is what Prometheus is answered, without Go's and the process's own.
func read(t *testing.T, m *metrics.Metrics) (values []string, kinds map[string]string) {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	require.Equal(t, 200, w.Code, "%s", w.Body)
	kinds = map[string]string{}
	for line := range strings.Lines(w.Body.String()) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			kinds[name] = kind
		}
		if strings.HasPrefix(line, "evenkeel_") && !strings.Contains(line, "_bucket{") {
			values = append(values, line)
		}
	}
	return values, kinds
}

func told(t *testing.T) *metrics.Metrics {
	t.Helper()
	m := metrics.New("1.2.3", func() metrics.Seen {
		return metrics.Seen{
			Fleet: "production", Revision: "8f3c", Converged: true, Refused: true, Leads: true, Waits: true,
			Hosts: []metrics.Host{
				{Name: "hn1", Reachable: true, Keeper: true, KeeperVersion: 4, Lease: true, Nodes: 3, ReservedMemory: 1 << 20, CapacityMemory: 1 << 21, ReservedCPU: .6, CapacityCPU: 7},
				{Name: "hn2"},
			},
			Drift:  []metrics.Drift{{What: "keeper"}, {Environment: "shop", What: "node", Findings: 2}},
			Unread: 1,
			Zones:  []metrics.Zone{{Name: "public", Known: true}, {Name: "corp"}},
			Layers: []metrics.Layer{{Environment: "shop", Name: "web", Wanted: 3, Serving: 2, Paused: true}},
		}
	})
	m.Pass(true, 100*time.Millisecond)
	m.Pass(true, 400*time.Millisecond)
	m.Pass(false, time.Second)
	m.Operation("shop", "web", "redeploy", "done", 2*time.Second)
	m.Operation("shop", "web", "redeploy", "failed", 5*time.Second)
	m.Change("hn1", "create", "network", false)
	m.Change("hn1", "create", "network", true)
	m.DNSCall("public", "GET", "200", time.Second)
	m.DNSCall("public", "GET", "200", time.Second)
	return m
}

func TestWhatIsTold(t *testing.T) {
	values, _ := read(t, told(t))
	require.Equal(t, strings.Split(strings.TrimSpace(`
evenkeel_build_info{version="1.2.3"} 1
evenkeel_converged 1
evenkeel_dns_call_duration_seconds_sum{zone="public"} 2
evenkeel_dns_call_duration_seconds_count{zone="public"} 2
evenkeel_dns_calls_total{method="GET",outcome="200",zone="public"} 2
evenkeel_dns_zone_known{zone="corp"} 0
evenkeel_dns_zone_known{zone="public"} 1
evenkeel_drift{environment="",what="keeper"} 0
evenkeel_drift{environment="shop",what="node"} 2
evenkeel_drift_unknown 1
evenkeel_host_cpu_cores{host="hn1",kind="capacity"} 7
evenkeel_host_cpu_cores{host="hn1",kind="reserved"} 0.6
evenkeel_host_cpu_cores{host="hn2",kind="capacity"} 0
evenkeel_host_cpu_cores{host="hn2",kind="reserved"} 0
evenkeel_host_keeper_up{host="hn1"} 1
evenkeel_host_keeper_up{host="hn2"} 0
evenkeel_host_keeper_version{host="hn1"} 4
evenkeel_host_keeper_version{host="hn2"} 0
evenkeel_host_lease_held{host="hn1"} 1
evenkeel_host_lease_held{host="hn2"} 0
evenkeel_host_memory_bytes{host="hn1",kind="capacity"} 2.097152e+06
evenkeel_host_memory_bytes{host="hn1",kind="reserved"} 1.048576e+06
evenkeel_host_memory_bytes{host="hn2",kind="capacity"} 0
evenkeel_host_memory_bytes{host="hn2",kind="reserved"} 0
evenkeel_host_nodes{host="hn1"} 3
evenkeel_host_nodes{host="hn2"} 0
evenkeel_host_operations_total{host="hn1",operation="create",outcome="done",what="network"} 1
evenkeel_host_operations_total{host="hn1",operation="create",outcome="failed",what="network"} 1
evenkeel_host_reachable{host="hn1"} 1
evenkeel_host_reachable{host="hn2"} 0
evenkeel_layer_nodes{environment="shop",kind="serving",layer="web"} 2
evenkeel_layer_nodes{environment="shop",kind="wanted",layer="web"} 3
evenkeel_layer_paused{environment="shop",layer="web"} 1
evenkeel_leading 1
evenkeel_operation_duration_seconds_sum{operation="redeploy"} 7
evenkeel_operation_duration_seconds_count{operation="redeploy"} 2
evenkeel_operations_total{environment="shop",layer="web",operation="redeploy",outcome="done"} 1
evenkeel_operations_total{environment="shop",layer="web",operation="redeploy",outcome="failed"} 1
evenkeel_pass_duration_seconds_sum 1.5
evenkeel_pass_duration_seconds_count 3
evenkeel_passes_total{changes="false"} 1
evenkeel_passes_total{changes="true"} 2
evenkeel_revision_info{fleet="production",revision="8f3c"} 1
evenkeel_revision_refused 1
evenkeel_waiting 1
`), "\n"), values)
}

// What is served and what is documented are the same.
func TestEveryMetricIsDocumented(t *testing.T) {
	_, served := read(t, told(t))
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(evenkeel_\\w+)` \\| (\\w+) \\|").FindAllStringSubmatch(metrics.Reference(), -1) {
		documented[row[1]] = row[2]
	}
	for name, kind := range served {
		if strings.HasPrefix(name, "evenkeel_") {
			require.Equal(t, kind, documented[name], name)
			delete(documented, name)
			continue
		}
		require.Regexp(t, "^(go|process)_", name)
	}
	require.Empty(t, documented, "documented and not served")
}

func TestBeforeAnythingIsSeen(t *testing.T) {
	values, _ := read(t, metrics.New("dev", func() metrics.Seen { return metrics.Seen{} }))
	require.Contains(t, values, `evenkeel_passes_total{changes="true"} 0`)
	require.Contains(t, values, "evenkeel_leading 0")
	require.NotContains(t, strings.Join(values, "\n"), "revision_info")
}
