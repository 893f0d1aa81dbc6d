package sim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/schema"
)

// pace is a duration of the language, and what of a change has to take as long.
type pace struct {
	key      string // where it is written
	from, to string // what happens first and what then, as the trace has it
	takes    time.Duration
	most     time.Duration // longer at most: calls, and looks at what nobody tells of
}

// paced is a fleet that is as it is wanted, what is changed in it, and how long the parts of that take.
type paced struct {
	name        string
	fleet       string // what is written beside its hosts
	environment string // and beside its layer shop/web
	layer       string
	change      string       // what is written for the layer then
	do          func(*scene) // what happens before that
	paces       []pace
}

// Longer at most: by calls, until a node is asked that isn't healthy yet, and until sick ones are looked after.
const (
	byCalls = 300 * time.Millisecond
	byAsks  = 700 * time.Millisecond
	byLooks = 3300 * time.Millisecond
)

// What the trace tells of a node.
const (
	withdrawn = `: zone .*web/%d\(g\d withdrawn`
	looked    = `_web_%d_g\d: its connections are looked at`
	stopped   = `(stopping|restarting) f_shop_web_%d_g\d on`
	ended     = `_web_%d_g\d ended by evenkeel`
	begun     = `_web_%d_g\d started by evenkeel`
	answers   = `_web_%d_g\d answers`
	back      = `: zone .*web/%d\(g\d\)`
	failed    = `web \w+ %d on \w+: failed`
)

func of(text string, node int) string { return fmt.Sprintf(text, node) }

const (
	policy    = "Environment layers[].updatePolicy"
	written   = "delay: 7s, drainTimeout: 9s, minHealthy: 3s, healthTimeout: 40s"
	unwritten = "delay: 1s, drainTimeout: 1s, minHealthy: 1s, healthTimeout: 2m"
	checked   = ", healthCheck: {http: {port: http, path: /}, interval: 2s}"
)

// under has the durations in the policy itself, or in what differs from it for an operation.
func under(operation string) (key, layer string) {
	if operation == "" {
		return policy, "stop: {grace: 11s}, updatePolicy: {" + written + "}" + checked
	}
	return policy + ".operations." + operation, fmt.Sprintf("stop: {grace: 11s}, updatePolicy: {%s, operations: {%s: {%s}}}%s", unwritten, operation, written, checked)
}

// leaving is a node that is taken out of the names and stopped, and, once it is done, the next one.
func leaving(key string, node int, done string) []pace {
	return []pace{
		{"Fleet dns.internal.ttl", of(withdrawn, node), of(looked, node), 4 * time.Second, byCalls},
		{key + ".drainTimeout", of(looked, node), of(stopped, node), 9 * time.Second, byCalls},
		{"Environment layers[].stop.grace", of(stopped, node), of(ended, node), 11 * time.Second, byCalls},
		{key + ".delay", of(done, node), of(withdrawn, node-1), 7 * time.Second, byCalls},
	}
}

func healthy(key string) pace {
	return pace{key + ".minHealthy", of(answers, 2), of(back, 2), 3 * time.Second, byAsks}
}

func unhealthy(key string) []pace {
	return []pace{{key + ".healthTimeout", of(begun, 2), of(failed, 2), 40 * time.Second, byCalls}}
}

// changes are operations that interrupt a node, that make it, or that have it run again.
func changes() []paced {
	var all []paced
	add := func(name, operation, change string, sick func(*scene)) {
		key, layer := under(operation)
		layer += ", replicas: 2"
		all = append(all,
			paced{name: name, layer: layer, change: layer + ", " + change + ": a", paces: append(leaving(key, 2, back), healthy(key))},
			paced{name: name + " in vain", layer: layer, do: sick, change: layer + ", " + change + ": a", paces: unhealthy(key)})
	}
	add("as the policy has it", "", "redeploy", (*scene).breakNew)
	add("redeploy", "redeploy", "redeploy", (*scene).breakNew)
	add("restart", "restart", "restart", (*scene).breakAll)

	key, layer := under("remove")
	all = append(all, paced{name: "remove", layer: layer + ", replicas: 4", change: layer + ", replicas: 2", paces: leaving(key, 4, ended)})
	key, layer = under("resize")
	layer += ", replicas: 2, resources: {memory: "
	all = append(all, paced{name: "resize", layer: layer + "128Mi}", change: layer + "256Mi}", paces: []pace{
		{key + ".delay", `updating f_shop_web_2_g1`, `updating f_shop_web_1_g1`, 7 * time.Second, byCalls},
	}})
	key, layer = under("create")
	all = append(all,
		paced{name: "create", layer: layer, change: layer + ", replicas: 2", paces: []pace{healthy(key)}},
		paced{name: "create in vain", layer: layer, do: (*scene).breakNew, change: layer + ", replicas: 2", paces: unhealthy(key)})
	key, layer = under("start")
	layer += ", replicas: 2"
	return append(all,
		paced{name: "start", layer: layer, do: (*scene).killNode, paces: []pace{healthy(key)}},
		paced{name: "start in vain", layer: layer, do: func(s *scene) { s.breakAll(); s.killNode() }, paces: unhealthy(key)})
}

// checks are of a node's health.
func checks() []paced {
	key := "Environment layers[].healthCheck."
	layer := "replicas: 2, updatePolicy: {delay: 0s, drainTimeout: 0s, minHealthy: 0s}, healthCheck: " +
		"{http: {port: http, path: /}, interval: 6s, timeout: 3s, retries: 2, startPeriod: 15s, restartAfter: 20s}"
	asked := of(`_web_%d_g1 is asked`, 2)
	return []paced{
		{name: "interval", layer: layer, do: (*scene).settle, paces: []pace{{key + "interval", asked, asked, 6 * time.Second, byCalls}}},
		{name: "timeout", layer: layer, do: (*scene).deafen, paces: []pace{
			{key + "timeout", asked, of(`_web_%d_g1 was asked in vain`, 2), 3 * time.Second, byCalls},
		}},
		{name: "restartAfter", layer: layer, do: (*scene).breakAll, paces: []pace{
			{key + "restartAfter", of(`_web_%d_g1\.1 is found healthy: false`, 2), of(stopped, 2), 20 * time.Second, byLooks},
		}},
		{name: "startPeriod", layer: layer, do: (*scene).relapse, paces: []pace{
			{key + "startPeriod", of(`_web_%d_g1 started by itself`, 2), of(stopped, 2), (15 + 20) * time.Second, byLooks},
		}},
	}
}

// outside are names at a provider.
func outside() []paced {
	const layer = "replicas: 2, placement: {antiAffinity: required}, updatePolicy: {delay: 0s, drainTimeout: 0s, minHealthy: 0s}"
	name := func(name, record string, takes time.Duration, before func(*scene)) paced {
		return paced{
			name: name, layer: layer, change: layer + ", redeploy: a", do: before,
			fleet:       ", external: [{name: public, provider: cloudflare, zone: example.com, ttl: 90s, credentials: {tokenFrom: {env: TOKEN}}}]",
			environment: "  dns: [{name: web.example.com, type: A, layer: web, provider: public" + record + "}]\n",
			paces:       []pace{{"Fleet dns.external[].ttl", `record web\.example\.com A 203\.0\.113\.2 deleted`, of(stopped, 2), takes, byCalls}},
		}
	}
	return []paced{
		name("external", "", 90*time.Second, nil),
		name("proxied", ", proxied: true", 5*time.Second, nil),
		name("automatic", "", 300*time.Second, (*scene).automatic),
	}
}

func paces() []paced {
	all := changes()
	all = append(all, checks()...)
	return append(all, outside()...)
}

// TestPaces: each duration that is written is waited out, and hardly longer, in a whole fleet.
func TestPaces(t *testing.T) {
	for _, p := range paces() {
		t.Run(p.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t, p)
				defer s.close()
				from := time.Since(s.w.begun)
				if p.do != nil {
					p.do(s)
				}
				if p.change != "" {
					s.commit(p.change)
				}
				for _, c := range p.paces {
					took := s.took(c, from)
					require.GreaterOrEqual(t, took, c.takes, c.key)
					require.Less(t, took, c.takes+c.most, c.key)
				}
				require.Empty(t, s.w.Violations())
			})
		})
	}
}

// without are the durations that say nothing where they may be written: there is nothing to be waited for.
var without = map[string]string{
	policy + ".operations.create.delay":         "creates are never paced",
	policy + ".operations.create.drainTimeout":  "nobody is connected to what isn't there",
	policy + ".operations.start.delay":          "nor are starts",
	policy + ".operations.start.drainTimeout":   "nobody is connected to what doesn't run",
	policy + ".operations.resize.drainTimeout":  "the node isn't interrupted",
	policy + ".operations.resize.minHealthy":    "the node isn't interrupted",
	policy + ".operations.resize.healthTimeout": "the node isn't interrupted",
	policy + ".operations.remove.minHealthy":    "nothing is left to be healthy",
	policy + ".operations.remove.healthTimeout": "nothing is left to be healthy",
}

// TestEveryDurationHasItsPace: none that the language has, or gets, is left out above.
func TestEveryDurationHasItsPace(t *testing.T) {
	var known []string
	for key := range without {
		known = append(known, key)
	}
	for _, p := range paces() {
		for _, c := range p.paces {
			if !slices.Contains(known, c.key) {
				known = append(known, c.key)
			}
		}
	}
	require.ElementsMatch(t, append(durations(t, "Fleet"), durations(t, "Environment")...), known)
}

// durations are the paths of all durations that a kind of document may have.
func durations(t *testing.T, kind string) []string {
	text, err := schema.JSON(strings.ToLower(kind))
	require.NoError(t, err)
	var root map[string]any
	require.NoError(t, json.Unmarshal(text, &root))
	var paths []string
	var walk func(node map[string]any, path string)
	walk = func(node map[string]any, path string) {
		ref, _ := node["$ref"].(string)
		name := strings.TrimPrefix(ref, "#/$defs/")
		if name == "duration" {
			paths = append(paths, kind+" "+strings.TrimPrefix(path, ".spec."))
			return
		}
		if name != "" {
			walk(root["$defs"].(map[string]any)[name].(map[string]any), path)
		}
		properties, _ := node["properties"].(map[string]any)
		for key, of := range properties {
			walk(of.(map[string]any), path+"."+key)
		}
		if items, ok := node["items"].(map[string]any); ok {
			walk(items, path+"[]")
		}
		if values, ok := node["additionalProperties"].(map[string]any); ok {
			walk(values, path+".*")
		}
	}
	walk(root, "")
	return paths
}
