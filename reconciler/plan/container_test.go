package plan_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(got+"\n"), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got+"\n")
}

// goldenSpec is two environments on two hosts.
func goldenSpec(change ...func(*spec.Layer)) *spec.Spec {
	s := onHosts(two, testLayer("db", 1), web(3, append([]func(*spec.Layer){func(l *spec.Layer) { l.DependsOn = []string{"db"} }}, change...)...))
	return withEnvironment(s, "bank", web(1))
}

func TestPlanAsJSON(t *testing.T) {
	m := newModel(two...)
	golden(t, "empty.json", asJSON(t, plan.Compute(input(testSpec(nil), fleet.Observed{}))))
	golden(t, "first.json", asJSON(t, plan.Compute(input(goldenSpec(), m.observe()))))
	m.settle(goldenSpec())
	golden(t, "none.json", asJSON(t, plan.Compute(input(goldenSpec(), m.observe()))))
	golden(t, "redeploy.json", asJSON(t, plan.Compute(input(goldenSpec(newImage), m.observe()))))
	s := goldenSpec(newImage)
	s.Environments = s.Environments[:1]
	m.hosts["hn2"].down = true
	golden(t, "unreachable.json", asJSON(t, plan.Compute(input(s, m.observe()))))
}

func TestContainer(t *testing.T) {
	random, fixed := uint16(0), uint16(8443)
	l := web(1, func(l *spec.Layer) {
		l.Env = map[string]string{"B": "2", "A": "1"}
		l.Labels = map[string]string{"team": "shop", fleet.LabelFleet: "mine"}
		l.Ports = []spec.Port{{Name: "admin", Port: 9000, Protocol: spec.TCP}, {Name: "http", Port: 8080, Protocol: spec.TCP, Publish: &random}, {Name: "https", Port: 8443, Protocol: spec.TCP, Publish: &fixed}}
		l.Volumes = []spec.Volume{{Name: "data", Path: "/data", OnRemove: spec.OnRemoveDelete}, {Name: "keep", Path: "/keep", OnRemove: spec.OnRemoveKeep}}
		l.Security.Capabilities = []string{"NET_RAW"}
		l.HealthCheck = &spec.HealthCheck{TCP: &spec.TCPCheck{Port: "http"}}
		l.Limit = spec.Resources{Memory: 512 * mi, CPU: 64000}
		l.Reservation = spec.Resources{Memory: 256 * mi, CPU: 500}
	})
	m := newModel("hn1")
	p := plan.Compute(input(onHosts(one, l), m.observe()))
	c := operation(p, 1).Container
	require.Equal(t, "production_shop_web_1_g1", c.Name)
	require.Equal(t, map[string]string{
		"team": "shop", fleet.LabelFleet: "production", fleet.LabelEnvironment: "shop", fleet.LabelLayer: "web", fleet.LabelNode: "1",
		fleet.LabelGeneration: "1", fleet.LabelWritten: l.Written, fleet.LabelSpec: l.Hash, fleet.LabelImage: digestOf(webImage), fleet.LabelRevision: "r1",
	}, c.Labels)
	require.Equal(t, []string{"A=1", "B=2"}, c.Env)
	require.Equal(t, "node1", c.Hostname)
	require.Equal(t, "web.shop.internal", c.Domainname)
	require.Equal(t, "evenkeel_production_shop", c.Network)
	require.Equal(t, []string{"."}, c.Search)
	require.Equal(t, []string{"timeout:1", "attempts:5"}, c.DNSOpts)
	require.Equal(t, p.Networks[0].Keeper, c.DNS[0])
	require.Equal(t, []fleet.Published{{Port: 8080, Protocol: spec.TCP}, {Port: 8443, Protocol: spec.TCP, HostPort: 8443}}, c.Ports)
	require.Equal(t, []fleet.Published{{Port: 9000, Protocol: spec.TCP}}, c.Exposed)
	require.Equal(t, []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "NET_RAW", "SETGID", "SETUID"}, c.Capabilities)
	require.EqualValues(t, 4096, c.Limits.PidsLimit)
	require.Equal(t, "unless-stopped", c.Restart)
	require.True(t, c.NoHealthCheck)
	require.Nil(t, c.Exec)
	require.Equal(t, fleet.Limits{Memory: 512 * mi, MemoryReservation: 256 * mi, NanoCPUs: 8e9, CPUShares: 512, PidsLimit: 4096}, c.Limits)
	require.Equal(t, []string{"shop/web may use 64 CPU, and hn1 has 8: its nodes there are limited to that"}, p.Warnings)
	require.Equal(t, "production_shop_web_1_data", c.Volumes[0].Name)
	require.Equal(t, "delete", c.Volumes[0].Labels[fleet.LabelOnRemove])
	require.NotContains(t, c.Volumes[1].Labels, fleet.LabelOnRemove)
}

func TestAnExecCheckIsTheEngines(t *testing.T) {
	l := web(1, func(l *spec.Layer) {
		l.HealthCheck = &spec.HealthCheck{Exec: &spec.ExecCheck{Command: []string{"true"}}, Interval: time.Second}
	})
	c := operation(plan.Compute(input(onHosts(one, l), newModel("hn1").observe())), 1).Container
	require.False(t, c.NoHealthCheck)
	require.Equal(t, l.HealthCheck, c.Exec)
}
