package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// wish is what is committed of one layer.
type wish struct {
	environment, name string

	version  int
	mark     string // of the image's tag: what is wrong with it
	replicas int
	health   string
	policy   policyWish
	anti     string // antiAffinity
	on       string // label that its hosts carry; empty: any
	restart  int
	redeploy int
	env      int
	memory   int // limit, in MiB; 0: none
	volume   bool
	file     bool
	publish  int
	outside  bool // it has a name at the provider
}

type policyWish struct {
	strategy                             string
	delay, drain, minHealthy, healthTime int // seconds
	most                                 int // maxUnavailable
	failure                              string
	inNames                              bool // removeFromDNS is false
}

// wishes are a whole revision.
type wishes struct {
	hosts    int
	cordoned map[int]bool
	ttl      int
	layers   []wish
}

func (w wishes) clone() wishes {
	w.cordoned = maps.Clone(w.cordoned)
	w.layers = slices.Clone(w.layers)
	return w
}

// first is what is committed first.
func first(r *rand.Rand) wishes {
	w := wishes{hosts: 3 + r.IntN(3), cordoned: map[int]bool{}, ttl: 1 + r.IntN(4)}
	names := []string{"web", "db", "api"}
	environments := []string{"shop", "shop", "blog"}
	for i := range 2 + r.IntN(2) {
		w.layers = append(w.layers, newWish(r, environments[i], names[i], w.hosts))
	}
	return w
}

func newWish(r *rand.Rand, environment, name string, hosts int) wish {
	l := wish{
		environment: environment, name: name, version: 1, replicas: 2 + r.IntN(3), policy: newPolicy(r),
		health: pick(r, "http", "http", "tcp", "exec", "ports", ""), anti: pick(r, "preferred", "preferred", "required"),
		volume: oneIn(r, 4), file: oneIn(r, 3), memory: pick(r, 0, 256),
	}
	if oneIn(r, 3) {
		l.on = "half"
		l.anti = "preferred"
	}
	if oneIn(r, 4) && l.on == "" {
		l.publish, l.anti, l.outside = 8000+int(name[0]), "required", oneIn(r, 2)
	}
	if l.anti == "required" {
		l.replicas = min(l.replicas, hosts-1)
	}
	return l
}

func newPolicy(r *rand.Rand) policyWish {
	return policyWish{
		strategy: pick(r, "sequential", "sequential", "sequential", "sequential", "simultaneous"),
		delay:    r.IntN(8), drain: r.IntN(10), minHealthy: r.IntN(4), healthTime: 20 + r.IntN(30), most: pick(r, 1, 1, 1, 2),
		failure: pick(r, "pause", "pause", "continue"), inNames: oneIn(r, 10),
	}
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// change is the next revision; what was before it may come back.
func (w wishes) change(r *rand.Rand, before []wishes) (wishes, string) {
	next := w.clone()
	what := pick(r, "image", "image", "image", "broken", "crashing", "probe", "scale", "scale", "policy", "revert", "restart", "redeploy",
		"env", "memory", "remove", "add", "cordon", "uncordon")
	if len(next.layers) == 0 {
		what = "add"
	}
	if what == "revert" {
		if len(before) == 0 {
			return next, "nothing"
		}
		return before[r.IntN(len(before))].clone(), what
	}
	if what != "add" {
		i := r.IntN(len(next.layers))
		next.changeLayer(r, what, i)
		return next, what + " of " + next.layersText(i)
	}
	for _, name := range []string{"web", "db", "api", "queue"} {
		if !slices.ContainsFunc(next.layers, func(l wish) bool { return l.name == name }) {
			next.layers = append(next.layers, newWish(r, pick(r, "shop", "blog"), name, w.hosts))
			return next, "add " + name
		}
	}
	return next, "nothing"
}

func (w *wishes) layersText(i int) string {
	if i < len(w.layers) {
		return w.layers[i].name
	}
	return "the last layer"
}

func (w *wishes) changeLayer(r *rand.Rand, what string, i int) {
	l := &w.layers[i]
	switch what {
	case "image":
		l.version++
		l.mark = ""
	case "broken", "crashing":
		l.version++
		l.mark = what
	case "probe":
		l.health = pick(r, "http", "tcp", "exec", "ports", "")
	case "scale":
		l.replicas = 1 + r.IntN(4)
		if l.anti == "required" {
			l.replicas = min(l.replicas, w.hosts-1)
		}
	case "policy":
		l.policy = newPolicy(r)
	case "restart":
		l.restart++
	case "redeploy":
		l.redeploy++
	case "env":
		l.env++
	case "memory":
		l.memory = pick(r, 0, 256, 512)
	case "remove":
		w.layers = slices.Delete(w.layers, i, i+1)
	case "cordon":
		if len(w.cordoned) == 0 {
			w.cordoned[1+r.IntN(w.hosts)] = true
		}
	case "uncordon":
		clear(w.cordoned)
	}
}

// mended is the same with images whose programs work.
func (w wishes) mended() wishes {
	next := w.clone()
	clear(next.cordoned)
	for i := range next.layers {
		l := &next.layers[i]
		if l.mark != "" {
			l.mark = ""
			l.version++
		}
		l.redeploy++
	}
	return next
}

// files are the documents.
func (w wishes) files() map[string]string {
	var b strings.Builder
	b.WriteString("apiVersion: evenkeel.dev/v1\nkind: Fleet\nmetadata: {name: " + FleetName + "}\nspec:\n  hosts:\n")
	for i := 1; i <= w.hosts; i++ {
		state, label := "active", "none"
		if w.cordoned[i] {
			state = "cordoned"
		}
		if i <= 2 {
			label = "half"
		}
		fmt.Fprintf(&b, "    - {name: h%d, endpoint: \"tcp://127.0.0.%d:2375\", insecure: true, labels: {part: %s}, state: %s, publicAddresses: [%s]}\n", i, i, label, state, publicAddress(fmt.Sprintf("h%d", i)))
	}
	fmt.Fprintf(&b, "  network: {driver: bridge, pool: 10.99.0.0/20}\n  dns: {internal: {ttl: %ds}, external: [{name: public, provider: cloudflare, zone: example.com, ttl: 60s, credentials: {tokenFrom: {env: TOKEN}}}]}\n  prune: {maxShare: 100%%}\n", w.ttl)
	files := map[string]string{"fleet.yaml": b.String()}
	for i := range w.layers {
		l := &w.layers[i]
		name := l.environment + ".yaml"
		if files[name] == "" {
			files[name] = "apiVersion: evenkeel.dev/v1\nkind: Environment\nmetadata: {name: " + l.environment + "}\nspec:\n  layers:\n"
		}
		files[name] += l.text()
	}
	for i := range w.layers {
		if l := &w.layers[i]; l.outside {
			name := l.environment + ".yaml"
			if !strings.Contains(files[name], "\n  dns:\n") {
				files[name] += "  dns:\n"
			}
			files[name] += fmt.Sprintf("    - {name: %s.%s, type: A, layer: %s, provider: public}\n", l.name, zoneName, l.name)
		}
	}
	return files
}

func (l *wish) text() string {
	p := l.policy
	var b strings.Builder
	fmt.Fprintf(&b, "    - name: %s\n      image: registry.example.com/%s:%s%d\n      replicas: %d\n", l.name, l.name, l.mark, l.version, l.replicas)
	fmt.Fprintf(&b, "      updatePolicy: {strategy: %s, delay: %ds, drainTimeout: %ds, minHealthy: %ds, healthTimeout: %ds, maxUnavailable: %d, failureAction: %s, removeFromDNS: %t}\n",
		p.strategy, p.delay, p.drain, p.minHealthy, p.healthTime, p.most, p.failure, !p.inNames)
	placement := "antiAffinity: " + l.anti
	if l.on != "" {
		placement += ", hosts: {part: " + l.on + "}"
	}
	fmt.Fprintf(&b, "      placement: {%s}\n      env: {N: \"%d\"}\n      restart: \"%d\"\n      redeploy: \"%d\"\n", placement, l.env, l.restart, l.redeploy)
	port := "{name: http, port: 8080}"
	if l.publish > 0 {
		port = fmt.Sprintf("{name: http, port: 8080, publish: %d}", l.publish)
	}
	if l.health != "" || l.publish > 0 {
		fmt.Fprintf(&b, "      ports: [%s]\n", port)
	}
	switch l.health {
	case "http":
		b.WriteString("      healthCheck: {http: {port: http, path: /healthz}, interval: 2s, retries: 2, startPeriod: 5s}\n")
	case "tcp":
		b.WriteString("      healthCheck: {tcp: {port: http}, interval: 3s, restartAfter: 20s}\n")
	case "exec":
		b.WriteString("      healthCheck: {exec: [check]}\n")
	}
	if l.memory > 0 {
		fmt.Fprintf(&b, "      resources: {memory: %dMi}\n", l.memory)
	}
	if l.file {
		fmt.Fprintf(&b, "      files: [{path: /etc/app.conf, content: \"%d\"}]\n", l.env)
	}
	if l.volume {
		b.WriteString("      volumes: [{name: data, path: /data}]\n")
	}
	return b.String()
}
