package spec_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/spec"
)

// loadLayer loads an environment of one layer, web, whose keys are given; it may be privileged.
func loadLayer(t require.TestingT, keys string) spec.Layer {
	fleet := fleetYAML + "  policy: {allow: {privileged: [shop], hostPaths: [shop], capabilities: [shop]}}\n"
	indented := strings.ReplaceAll(strings.TrimSpace(keys), "\n", "\n      ")
	s := load(t, fleet, "apiVersion: evenkeel.dev/v1\nkind: Environment\nmetadata: {name: shop}\nspec:\n  layers:\n    - name: web\n      "+indented+"\n    - {name: db, image: postgres}\n")
	return *s.Environment("shop").Layer("web")
}

func TestHashOfTheSame(t *testing.T) {
	const image = "image: nginx\n"
	for name, same := range map[string][]string{
		"order of keys":    {"image: nginx\nuser: '1'\ninit: true", "init: true\nuser: '1'\nimage: nginx"},
		"quotes, comments": {"image: nginx # the web\nuser: '1'", "# a layer\nimage: \"nginx\"\nuser: \"1\""},
		"flow and block":   {image + "env: {A: a, B: b}", image + "env:\n  B: b\n  A: |-\n    a"},
		"command": {
			image + `command: [sh, -c, "echo 'a b'"]`, image + `command: sh -c "echo 'a b'"`,
			image + "command: |\n  sh -c \"echo 'a b'\"\n", image + `command: sh  -c echo\ \'a\ b\'`,
		},
		"durations":      {image + "stop: {grace: 60s}", image + "stop: {grace: 1m}", image + "stop: {grace: 60000ms}", image + "stop: {grace: 0.5m30s}"},
		"signals":        {image + "stop: {signal: SIGTERM}", image + "stop: {signal: term}", image + "stop: {signal: '15'}"},
		"capabilities":   {image + "security: {capabilities: [NET_ADMIN, NET_RAW]}", image + "security: {capabilities: [cap_net_raw, NET_ADMIN]}"},
		"host paths":     {image + "security: {hostPaths: [{source: /a, target: /b}, {source: /c, target: /d}]}", image + "security: {hostPaths: [{source: /c, target: /d}, {target: /b, source: /a}]}"},
		"tmpfs":          {image + "tmpfs: [/a, '/b:size=1m']", image + "tmpfs: ['/b:size=1m', /a]"},
		"ports":          {image + "ports: [{name: a, port: 1}, {name: b, port: 2}]", image + "ports: [{port: 2, name: b}, {name: a, port: 1}]"},
		"volumes":        {image + "volumes: [{name: a, path: /a}, {name: b, path: /b}]", image + "volumes: [{name: b, path: /b}, {name: a, path: /a}]"},
		"files":          {image + "files: [{path: /a, content: a}, {path: /b, content: b}]", image + "files: [{path: /b, content: b}, {path: /a, content: a}]"},
		"modes":          {image + "files: [{path: /a, content: a, mode: '0600'}]", image + "files: [{path: /a, content: a, mode: '600'}]"},
		"ulimits":        {image + "ulimits: {nofile: 5, core: 0}", image + "ulimits: {core: {soft: 0, hard: 0}, nofile: 5}"},
		"dependencies":   {image + "dependsOn: [db]", image + "dependsOn:\n- db"},
		"memory":         {image + "resources: {memory: 1024Mi}", image + "resources: {memory: 1Gi}", image + "resources: {memory: 1048576Ki}"},
		"CPU":            {image + "resources: {cpu: 1500m}", image + "resources: {cpu: 1.5}", image + "resources: {cpu: '1.50'}"},
		"nothing at all": {image, image + "env: {}\nlabels: {}\ntmpfs: []\nulimits: {}\nfiles: []\nvolumes: []\nports: []\nsecurity: {}\nuser: ''\nredeploy: ''\nrestart: ''\ncommand: null\nupdatePolicy: {}"},
		"anchors":        {image + "env: {A: a}\nlabels: {A: a}", image + "env: &e {A: a}\nlabels: *e"},
	} {
		t.Run(name, func(t *testing.T) {
			first := loadLayer(t, same[0])
			for _, written := range same[1:] {
				l := loadLayer(t, written)
				require.Equal(t, first.Written, l.Written, written)
				require.Equal(t, first.Hash, l.Hash, written)
				require.Equal(t, first.LayerHash, l.LayerHash, written)
			}
		})
	}
}

// full is a layer with all keys that make a node what it is.
const full = `
image: nginx:1
command: [serve]
entrypoint: [/bin/sh]
workingDir: /srv
user: "1000"
init: true
env: {LOG_LEVEL: info, EMPTY: ""}
labels: {team: shop}
logging: {driver: json-file, options: {max-size: 10m}}
tmpfs: ["/tmp:size=64m"]
ulimits: {nofile: 1024}
files: [{path: /etc/a.conf, content: a}]
volumes: [{name: data, path: /data}]
ports: [{name: http, port: 80}]
security: {privileged: false, capabilities: [NET_RAW], hostPaths: [{source: /a, target: /b}], readOnly: false}
healthCheck: {exec: [check], interval: 5s}
stop: {signal: SIGQUIT, grace: 20s}
redeploy: a
`

func TestHashOfAnother(t *testing.T) {
	before := loadLayer(t, full)
	for _, tc := range []struct{ old, new, field, from, to string }{
		{"nginx:1", "nginx:2", "image", "nginx:1", "nginx:2"},
		{"[serve]", "[serve, -v]", "command", `["serve"]`, `["serve","-v"]`},
		{"[serve]", "[]", "command", `["serve"]`, `[]`},
		{"[/bin/sh]", "null", "entrypoint", `["/bin/sh"]`, ``},
		{"/srv", "/opt", "workingDir", "/srv", "/opt"},
		{`"1000"`, `"1001"`, "user", "1000", "1001"},
		{"init: true", "init: false", "init", "true", "false"},
		{"LOG_LEVEL: info", "LOG_LEVEL: debug", "env.LOG_LEVEL", "info", "debug"},
		{"LOG_LEVEL: info, ", "", "env.LOG_LEVEL", "info", ""},
		{`EMPTY: ""`, `EMPTY: x`, "env.EMPTY", "", "x"},
		{"team: shop", "team: it", "labels.team", "shop", "it"},
		{"driver: json-file", "driver: local", "logging.driver", "json-file", "local"},
		{"max-size: 10m", "max-size: 20m", "logging.options.max-size", "10m", "20m"},
		{"size=64m", "size=65m", "tmpfs./tmp", "size=64m", "size=65m"},
		{"nofile: 1024", "nofile: {soft: 1024, hard: 2048}", "ulimits.nofile", "1024:1024", "1024:2048"},
		{"path: /data", "path: /data2", "volumes.data.path", "/data", "/data2"},
		{"port: 80", "port: 81", "ports.http.port", "80", "81"},
		{"port: 80", "port: 80, publish: 0", "ports.http.publish", "", "0"},
		{"privileged: false", "privileged: true", "security.privileged", "false", "true"},
		{"[NET_RAW]", "[NET_RAW, NET_ADMIN]", "security.capabilities", `["NET_RAW"]`, `["NET_ADMIN","NET_RAW"]`},
		{"source: /a", "source: /c", "security.hostPaths./b.source", "/a", "/c"},
		{"exec: [check]", "exec: check -q", "healthCheck.exec", `["check"]`, `["check","-q"]`},
		{"interval: 5s", "interval: 6s", "healthCheck.interval", "5s", "6s"},
		{"SIGQUIT", "SIGTERM", "stop.signal", "SIGQUIT", "SIGTERM"},
		{"grace: 20s", "grace: 90s", "stop.grace", "20s", "1m30s"},
		{"redeploy: a", "redeploy: b", "redeploy", "a", "b"},
	} {
		t.Run(tc.field+" "+tc.new, func(t *testing.T) {
			require.Contains(t, full, tc.old)
			after := loadLayer(t, strings.Replace(full, tc.old, tc.new, 1))
			require.NotEqual(t, before.Hash, after.Hash)
			require.NotEqual(t, before.LayerHash, after.LayerHash)
			require.Equal(t, []spec.Change{{Field: tc.field, From: tc.from, To: tc.to}}, spec.Diff(before.Written, after.Written))
			require.Equal(t, []spec.Change{{Field: tc.field, From: tc.to, To: tc.from}}, spec.Diff(after.Written, before.Written))
		})
	}
	for _, change := range [][2]string{{"content: a", "content: b"}, {"content: a", "content: a, mode: '0600'"}} {
		after := loadLayer(t, strings.Replace(full, change[0], change[1], 1))
		changes := spec.Diff(before.Written, after.Written)
		require.Len(t, changes, 1)
		require.Equal(t, "files./etc/a.conf", changes[0].Field)
	}
	require.NotContains(t, before.Written, "content", "files are only there as digests")
}

func TestHashLeavesOut(t *testing.T) {
	before := loadLayer(t, full)
	for _, added := range []string{
		"replicas: 3", "pull: always", "cloudlets: {reserved: 2}", "resources: {memory: 1Gi}",
		"placement: {antiAffinity: required}", "dependsOn: [db]", "restart: again", "updatePolicy: {delay: 1s}",
	} {
		after := loadLayer(t, full+added)
		require.Equal(t, before.Hash, after.Hash, added)
		require.NotEqual(t, before.LayerHash, after.LayerHash, "a pause is bound to all that is written: %s", added)
	}
	without := strings.Replace(full, "healthCheck: {exec: [check], interval: 5s}\n", "", 1)
	none := loadLayer(t, without)
	for _, probe := range []string{"http: {port: http}", "tcp: {port: http}", "tcp: {port: http}, interval: 1s"} {
		after := loadLayer(t, without+"healthCheck: {"+probe+"}")
		require.Equal(t, none.Hash, after.Hash, probe)
		require.NotEqual(t, none.LayerHash, after.LayerHash, probe)
	}
	require.NotEqual(t, none.Hash, before.Hash, "an exec check is the engine's own")
	later := loadLayer(t, strings.Replace(full, "interval: 5s", "interval: 5s, restartAfter: 1m", 1))
	require.Equal(t, before.Hash, later.Hash, "restartAfter is ours, not the engine's")
	require.NotEqual(t, before.LayerHash, later.LayerHash)
}

// TestHashStaysTheSame pins the hash: with another one, an upgrade of evenkeel would redeploy everything.
// A change of it needs a new version in front.
func TestHashStaysTheSame(t *testing.T) {
	l := loadLayer(t, full)
	require.Equal(t, `{"command":["serve"],"entrypoint":["/bin/sh"],"env":{"EMPTY":"","LOG_LEVEL":"info"},"files":{"/etc/a.conf":"sha256:1ee89deee8f3df8fd4a9921c4a634c41"},"healthCheck":{"exec":["check"],"interval":"5s"},"image":"nginx:1","init":true,"labels":{"team":"shop"},"logging":{"driver":"json-file","options":{"max-size":"10m"}},"ports":{"http":{"port":80}},"redeploy":"a","security":{"capabilities":["NET_RAW"],"hostPaths":{"/b":{"source":"/a"}},"privileged":false,"readOnly":false},"stop":{"grace":"20s","signal":"SIGQUIT"},"tmpfs":{"/tmp":"size=64m"},"ulimits":{"nofile":"1024:1024"},"user":"1000","volumes":{"data":{"path":"/data"}},"workingDir":"/srv"}`, l.Written)
	require.Equal(t, "v1:c72ff4135f4a6e1e894b4d25bf317029", l.Hash)
}

func TestDigestsAreSalted(t *testing.T) {
	digest := func(fleet, environment, layer string) string {
		s := load(t, strings.Replace(fleetYAML, "production", fleet, 1), "apiVersion: evenkeel.dev/v1\nkind: Environment\nmetadata: {name: "+environment+"}\nspec: {layers: [{name: "+layer+", image: x, files: [{path: /a, content: same}]}]}\n")
		return s.Environments[0].Layers[0].Written
	}
	seen := map[string]bool{}
	for _, d := range []string{digest("a", "b", "c"), digest("x", "b", "c"), digest("a", "x", "c"), digest("a", "b", "x")} {
		require.False(t, seen[d], d)
		seen[d] = true
	}
}

func TestDiffOfWhatCantBeRead(t *testing.T) {
	for _, tc := range []struct{ name, old, new string }{
		{"nothing before", "", `{"image":"a"}`},
		{"cut short", `{"image":`, `{"image":"a"}`},
		{"no object", `["a"]`, `{"image":"a"}`},
		{"null", `null`, `{"image":"a"}`},
		{"other bytes", "\xff\x00", `{"image":"a"}`},
		{"another form", `{ "image" : "a" }`, `{"image":"a"}`},
		{"the new one", `{"image":"a"}`, `x`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changes := spec.Diff(tc.old, tc.new)
			require.Len(t, changes, 1)
			require.Equal(t, "spec", changes[0].Field)
		})
	}
	require.Empty(t, spec.Diff("x", "x"))
}

func TestWrittenTCPPorts(t *testing.T) {
	full, err := spec.Load(os.DirFS("testdata/full"))
	require.NoError(t, err)
	ports, ok := spec.WrittenTCPPorts(full.Environment("shop").Layer("web").Written)
	require.True(t, ok)
	require.Equal(t, []uint16{8080}, ports, "one of udp is none")
	all, ok := spec.WrittenPorts(full.Environment("shop").Layer("web").Written)
	require.True(t, ok)
	require.Equal(t, []spec.Port{{Name: "dns", Port: 53, Protocol: spec.UDP}, {Name: "http", Port: 8080, Protocol: spec.TCP}}, all)
	for written, readable := range map[string]bool{
		`{"image":"nginx"}`: true, "": false, "[]": false, `{"ports":{"http":{"port":"none"}}}`: false,
		`{"ports":{"http":{"port":65536}}}`: false,
	} {
		ports, ok := spec.WrittenTCPPorts(written)
		require.Equal(t, readable, ok, written)
		require.Empty(t, ports)
	}
}
