package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/evenkeel/evenkeel/integration/lab/cloudflare"
	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/keeper"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

const everyPace = "strategy: sequential, minHealthy: 0s, delay: 0s, healthTimeout: 20s, removeFromDNS: true, maxUnavailable: 1, drainTimeout: 1s, failureAction: pause"

// everyKey has every key that a layer may have.
var everyKey = strings.ReplaceAll(`
    - name: web
      image: node:1
      pull: never
      replicas: 2
      cloudlets: {reserved: 1, limit: 2}
      placement: {antiAffinity: preferred, hosts: {}}
      dependsOn: [db]
      command: []
      entrypoint: [/program]
      workingDir: /tmp
      user: "1000:1000"
      init: true
      env: {LOG_LEVEL: info}
      labels: {com.example/team: shop}
      logging: {driver: json-file, options: {max-size: 10m}}
      tmpfs: ["/run/app:size=1m"]
      ulimits: {nofile: {soft: 1024, hard: 4096}}
      files: [{path: /etc/app.conf, content: "a = 1", mode: "0600"}, {path: /srv/uploads/sub/first, from: files/first}]
      volumes: [{name: uploads, path: /srv/uploads, onRemove: delete}]
      ports: [{name: http, port: 8080, publish: 0}, {name: dns, port: 53, protocol: udp}]
      security: {privileged: true, capabilities: [NET_ADMIN], hostPaths: [{source: /etc, target: /host/etc, readOnly: true}]}
      healthCheck: {http: {port: http, path: /healthz}, interval: 200ms, timeout: 2s, retries: 3, startPeriod: 1s, restartAfter: 1m}
      stop: {signal: SIGINT, grace: 5s}
      restart: first
      redeploy: first
      updatePolicy: {PACE, operations: {create: {PACE}, start: {PACE}, restart: {PACE}, redeploy: {PACE}, resize: {PACE}, remove: {PACE}}}
    - name: db
      image: node:1
      resources: {memory: 64Mi, cpu: "64", memoryReservation: 32Mi}
      security: {readOnly: true}
      volumes: [{name: data, path: /data, onRemove: delete}]
      files: [{path: /data/seed, content: ""}]
      healthCheck: {exec: [/program, get, "http://127.0.0.1:8080/healthz"], interval: 200ms}
      updatePolicy: {healthTimeout: 20s}
    - name: cache
      image: node:1
      ports: [{name: http, port: 8080}]
      healthCheck: {tcp: {port: http}, interval: 200ms}
      updatePolicy: {healthTimeout: 20s}
`, "PACE", everyPace)

// everyName has every key that an environment may have beside its layers.
const everyName = `
  dns:
    - {name: shop.example.com, type: A, layer: web, provider: public, proxied: true}
    - {name: _http._tcp.shop.example.com, type: SRV, layer: web}
    - {name: shop.example.net, layer: web}
`

// hostsElsewhere are the keys of a Fleet that only hosts elsewhere have, or zones at name servers: TestHostsElsewhere
// and TestRecordsAtANameServer use those.
var hostsElsewhere = []string{"spec.hosts.[].tls", "spec.hosts.[].ssh", "spec.dns.external.[].server", "spec.dns.external.[].tsig"}

// keysOf are the paths of all keys that a schema knows below a definition: [] is any item of a list, and {} the
// value of any key.
func keysOf(defs map[string]any, of map[string]any, path []string, within map[string]bool) [][]string {
	if ref, ok := of["$ref"].(string); ok {
		name := ref[strings.LastIndex(ref, "/")+1:]
		if within[name] {
			return nil
		}
		within = maps.Clone(within)
		within[name] = true
		return keysOf(defs, defs[name].(map[string]any), path, within)
	}
	var all [][]string
	below := func(v any, step ...string) {
		if m, ok := v.(map[string]any); ok {
			all = append(all, keysOf(defs, m, append(path[:len(path):len(path)], step...), within)...)
		}
	}
	properties, _ := of["properties"].(map[string]any)
	for key, v := range properties {
		all = append(all, append(path[:len(path):len(path)], key))
		below(v, key)
	}
	for _, kind := range []string{"oneOf", "anyOf", "allOf"} {
		list, _ := of[kind].([]any)
		for _, v := range list {
			below(v)
		}
	}
	below(of["items"], "[]")
	below(of["additionalProperties"], "{}")
	return all
}

// has says whether a document has something at a path.
func has(document any, path []string) bool {
	if len(path) == 0 {
		return true
	}
	switch d := document.(type) {
	case map[string]any:
		for key, v := range d {
			if (key == path[0] || path[0] == "{}") && has(v, path[1:]) {
				return true
			}
		}
	case []any:
		for _, v := range d {
			if path[0] == "[]" && has(v, path[1:]) {
				return true
			}
		}
	}
	return false
}

// withEveryKey is a site on the given hosts with a fleet that has every key.
func withEveryKey(t *testing.T, on ...*hosts.Host) *site {
	t.Helper()
	s := newSite(t, on...)
	p, external := provide(s)
	p.AddZone("example.net")
	s.credentials = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(s.credentials, "token"), []byte(cloudflare.Token), 0o600))
	second := strings.NewReplacer("public", "second", "example.com", "example.net", "{env: CLOUDFLARE_API_TOKEN}}", "{file: token}}, ttl: 2m").Replace(external)
	_, second, _ = strings.Cut(second, "external:\n")
	s.reach = map[string]spec.Host{}
	for _, h := range on {
		s.reach[h.Name()] = spec.Host{Name: h.Name(), Endpoint: h.Endpoint(), Insecure: true, Address: h.Name() + ".example.org"}
	}
	s.more = ", labels: {rack: a}, state: active, reserve: {memory: 128Mi, cpu: 100m}"
	s.extra = `  cloudlet: {memory: 128Mi, cpu: 200m}
  policy: {allow: {privileged: [shop], hostPaths: [shop], capabilities: [shop]}}
  registries: [{server: r.lan, username: ci, passwordFrom: {env: PATH}}, {server: s.lan, username: ci, passwordFrom: {file: token}}]
  drift: {selfHeal: true}
  dns:
    internal: {zone: lan, ttl: 2s}
` + external + second
	s.writeFleet()
	s.write("files/first", "from a file")
	s.environment("shop", everyKey+everyName)
	s.requireEveryKey("environment", "shop.yaml", nil)
	s.requireEveryKey("fleet", "fleet.yaml", hostsElsewhere)
	return s
}

// requireEveryKey requires that a document has all keys that there are, but for some and what is below them.
func (s *site) requireEveryKey(kind, file string, but []string) {
	s.t.Helper()
	var schema, document map[string]any
	require.NoError(s.t, json.Unmarshal([]byte(s.evenkeel("schema", kind).stdout), &schema))
	require.NoError(s.t, yaml.Unmarshal([]byte(s.read(file)), &document))
	keys := keysOf(schema["$defs"].(map[string]any), schema, nil, map[string]bool{})
	require.Greater(s.t, len(keys), 50)
	for _, key := range keys {
		path := strings.Join(key, ".")
		if !slices.ContainsFunc(but, func(b string) bool { return path == b || strings.HasPrefix(path, b+".") }) {
			require.True(s.t, has(document, key), "this test is to use every key: add %s to %s", path, file)
		}
	}
}

func (s *site) noDrift(when string) {
	s.t.Helper()
	r := s.drift()
	require.Empty(s.t, r.Drift, when)
	require.Empty(s.t, r.Unknown, when)
}

func TestAFleetAsItWasMadeHasNoDrift(t *testing.T) {
	t.Parallel()
	l := ownLab(t, 2)
	s := withEveryKey(t, l.Hosts()...)
	s.apply()
	s.noDrift("once it was applied")
	for _, h := range l.Hosts() {
		faulty(t, h.StopEngine)
		faulty(t, func(ctx context.Context) error { return h.StartEngine(ctx) })
	}
	s.settled(l.Hosts()...)
	s.noDrift("after every engine was restarted")
	for _, h := range l.Hosts() {
		faulty(t, h.PowerOff)
		faulty(t, h.PowerOn)
	}
	s.settled(l.Hosts()...)
	s.noDrift("after a power cut")
}

// older builds evenkeel as an older release would be: with an older keeper and hashes of an older way, and one
// that doesn't yet put files with the time that they are known by.
func older(t *testing.T) (file string) {
	t.Helper()
	dir := t.TempDir()
	replaced := map[string]string{}
	for _, c := range []struct{ name, is, was string }{
		{"keeper/version.go", fmt.Sprintf("const Version = %d", keeper.Version), fmt.Sprintf("const Version = %d", keeper.Version-1)},
		{"spec/canonical.go", `const hashVersion = "v1"`, `const hashVersion = "v0"`},
		{"drivers/docker/files.go", "at := fleet.PutAt(parseTime(created.Created))", "at := parseTime(created.Created).Add(time.Millisecond)"},
	} {
		path, err := filepath.Abs(filepath.Join("..", c.name))
		require.NoError(t, err)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(text), c.is), "%s has changed: %s", c.name, c.is)
		replaced[path] = filepath.Join(dir, filepath.Base(c.name))
		require.NoError(t, os.WriteFile(replaced[path], []byte(strings.Replace(string(text), c.is, c.was, 1)), 0o600))
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	file = filepath.Join(dir, "evenkeel")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-overlay", filepath.Join(dir, "overlay.json"), "-ldflags=-s -w -X main.version=older", "-o", file, module+"cmd/evenkeel")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return file
}

// After an upgrade of evenkeel only keepers are replaced, and nothing is drift.
func TestAnUpgradeOfEvenkeelIsNoDrift(t *testing.T) {
	t.Parallel()
	l := ownLab(t, 2)
	s := withEveryKey(t, l.Hosts()...)
	s.program = older(t)
	require.Contains(t, s.evenkeel("version").stdout, "older")
	s.apply()
	s.noDrift("by the older one")
	before := map[string][]fleet.Instance{}
	for _, h := range l.Hosts() {
		before[h.Name()] = s.observe(h).Instances
	}
	for _, in := range before[l.Host(1).Name()] {
		require.True(t, strings.HasPrefix(in.Spec, "v0:"), in.Spec)
	}

	s.program = ""
	s.noDrift("by the newer one, before it does anything")
	var p plan.Plan
	require.NoError(t, json.Unmarshal([]byte(s.evenkeel("plan", "-o", "json").stdout), &p))
	require.Empty(t, p.Layers)
	require.Len(t, p.Hosts, 2)
	for _, op := range p.Hosts {
		require.Equal(t, "replace keeper", op.Operation+" "+op.What)
	}
	s.apply()
	s.noDrift("by the newer one, once it was applied")
	for _, h := range l.Hosts() {
		st := s.observe(h)
		require.Equal(t, before[h.Name()], st.Instances)
		require.Equal(t, keeper.Version, st.Keepers[0].Version)
	}
	require.Contains(t, s.apply().stdout, "Nothing to change")
}

// settled waits until the engines have brought everything back by themselves.
func (s *site) settled(on ...*hosts.Host) {
	s.t.Helper()
	for _, h := range on {
		e := openEngine(s.t, s.entry(h), s.credentials)
		eventually(s.t, patience, func() error {
			st := e.Observe(s.t.Context(), s.fleet)
			if !st.Reachable {
				return fmt.Errorf("%s: %s", h.Name(), st.Problem)
			}
			for _, in := range st.Instances {
				if in.State != fleet.StateRunning {
					return fmt.Errorf("%s is %s", in.Name, in.State)
				}
			}
			return unless(len(st.Keepers) == 1 && st.Keepers[0].State == fleet.StateRunning, "the keeper isn't back")
		})
	}
}
