package integration

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/keeper"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// A fault of a host during each kind of operation: every operation is a fleet of its own over the same three hosts,
// and is held at the call that makes the change until all are; then something befalls the host.

// underway is one kind of operation, and how to have it begun on the faulty host.
type underway struct {
	name   string
	call   string // method and path of what is held
	before func(*site) string
	byHand func(t *testing.T, s *site, bad *hosts.Host)
	after  func(*site) string // nil: the same
	says   string             // what a failed apply names beside the host
	old    bool               // the keepers are of an older version at first
	moves  string             // the host that layer extra ends up on; empty: there is none in the end
	leaves bool               // web has a name at a provider, which the node at hand has left by then
}

// web is a layer with a node on each host that may be used.
func web(s *site, replicas int, more string) string {
	return fmt.Sprintf(`
    - name: web
      image: node:1
      replicas: %d
      placement: {antiAffinity: required}
      ports: [{name: http, port: 8080, publish: %d}]
      healthCheck: {http: {port: http, path: /healthz}, interval: 500ms}
      stop: {grace: 2s}
      updatePolicy: {delay: 0s, minHealthy: 500ms, healthTimeout: 20s}
%s`, replicas, s.port(), more)
}

// port is one of every host that no other fleet uses.
func (s *site) port() int {
	s.t.Helper()
	var n int
	_, err := fmt.Sscanf(s.fleet, "t%d", &n)
	require.NoError(s.t, err)
	return 20000 + n
}

func operations(push func(ref, version string) (tagged, digested string)) []underway {
	const container = `^POST /v[0-9.]+/containers/[0-9a-z_-]+/`
	with := func(replicas int, more string) func(*site) string {
		return func(s *site) string { return web(s, replicas, more) }
	}
	extra := func(s *site) string {
		return web(s, 3, "") + `
    - name: extra
      image: node:1
      replicas: 1
      placement: {hosts: {name: h3}}
      volumes: [{name: data, path: /data, onRemove: delete}]
      stop: {grace: 2s}
      updatePolicy: {delay: 0s, minHealthy: 0s, healthTimeout: 20s}
`
	}
	movable := func(host string) func(*site) string {
		return func(s *site) string {
			return web(s, 3, "") + fmt.Sprintf(`
    - name: extra
      image: node:1
      replicas: 1
      placement: {hosts: {name: %s}}
      stop: {grace: 2s}
      updatePolicy: {delay: 0s, minHealthy: 0s, healthTimeout: 20s}
`, host)
		}
	}
	pulled, _ := push("shop/web:2", "2")
	ofPulled := func(s *site) string { return strings.Replace(web(s, 3, ""), "image: node:1", "image: "+pulled, 1) }
	named := func(version int) func(*site) string {
		return with(3, fmt.Sprintf("      env: {VERSION: \"%d\"}\n  dns:\n    - {name: shop.example.com, layer: web, proxied: true}\n", version))
	}
	stopped := func(t *testing.T, s *site, bad *hosts.Host) {
		t.Helper()
		byHand(t, bad, "stop", s.nodesOf(bad, "web")[0].ID)
	}
	noKeeper := func(t *testing.T, s *site, bad *hosts.Host) {
		t.Helper()
		byHand(t, bad, "rm", "-f", fleet.KeeperName(s.fleet))
	}
	const node = `shop/web/\d.* (on h3|\(h3\))`
	return []underway{
		{name: "create", before: with(2, ""), after: with(3, ""), call: `^POST .*/containers/create\?.*_shop_web_`, says: node},
		{name: "create a network", before: with(2, ""), after: with(3, ""), call: `^POST .*/networks/create`, says: node},
		{name: "start", before: with(3, ""), byHand: stopped, call: container + `start`, says: node},
		{name: "restart", before: with(3, ""), after: with(3, "      restart: \"now\"\n"), call: container + `restart`, says: node},
		{name: "redeploy, at the stop", before: with(3, ""), after: with(3, "      env: {VERSION: \"2\"}\n"), call: container + `stop`, says: node},
		{name: "redeploy, at the start", before: with(3, ""), after: with(3, "      env: {VERSION: \"2\"}\n"), call: container + `start`, says: node},
		{name: "resize", before: with(3, "      resources: {memory: 64Mi}\n"), after: with(3, "      resources: {memory: 96Mi}\n"), call: container + `update`, says: node},
		{name: "pull", before: with(3, ""), after: ofPulled, call: `^POST .*/images/create\?`, says: node},
		{name: "redeploy, out of its external name", before: named(1), after: named(2), leaves: true, call: container + `stop`, says: node},
		{name: "remove", before: extra, after: with(3, ""), call: container + `stop`, says: `shop/extra/1.* on h3`},
		{name: "move away", before: movable("h3"), after: movable("h1"), moves: "h1", call: container + `stop`, says: `h3`},
		{name: "move there", before: movable("h1"), after: movable("h3"), moves: "h3", call: container + `start`, says: `shop/extra/1.* (on h3|\(h3\))`},
		{name: "create a keeper", before: with(3, ""), byHand: noKeeper, call: `^POST .*/containers/create\?.*evenkeel-keeper`, says: `keeper|shop/web/\d`},
		{name: "hand over to a newer keeper", before: with(3, ""), old: true, call: `^POST .*/networks/evenkeel_[^/]*/disconnect`, says: `keeper|shop/web/\d`},
		{name: "hand over, at its end", before: with(3, ""), old: true, call: container + `rename`, says: `keeper|shop/web/\d`},
	}
}

// befalls is what happens to a host, and how it ends.
type befalls struct {
	name      string
	begin     func(context.Context, *hosts.Host) error
	end       func(context.Context, *hosts.Host) error
	answered  bool // the call has been done, and its answer is lost
	short     bool // it ends while apply is still at work
	ourselves bool // it is evenkeel that is killed, and nothing else
	everyTime bool // not only in soak
}

func startEngine(ctx context.Context, h *hosts.Host) error { return h.StartEngine(ctx) }

func allFaults() []befalls {
	killed := func(ctx context.Context, h *hosts.Host) error { return h.KillEngine(ctx) }
	stopped := func(ctx context.Context, h *hosts.Host) error { return h.StopEngine(ctx) }
	hangs := func(ctx context.Context, h *hosts.Host) error { return h.HangEngine(ctx) }
	resumes := func(ctx context.Context, h *hosts.Host) error { return h.ResumeEngine(ctx) }
	cut := func(ctx context.Context, h *hosts.Host) error { return h.Cut(ctx) }
	heals := func(ctx context.Context, h *hosts.Host) error { return h.Heal(ctx) }
	off := func(ctx context.Context, h *hosts.Host) error { return h.PowerOff(ctx) }
	on := func(ctx context.Context, h *hosts.Host) error { return h.PowerOn(ctx) }
	return []befalls{
		{name: "evenkeel killed", ourselves: true, short: true},
		{name: "evenkeel killed, the answer lost", ourselves: true, short: true, answered: true, everyTime: true},
		{name: "engine killed", begin: killed, end: startEngine},
		{name: "engine killed and started, the answer lost", begin: killed, end: startEngine, answered: true, short: true, everyTime: true},
		{name: "engine restarted", begin: stopped, end: startEngine, short: true},
		{name: "engine restarted, the answer lost", begin: stopped, end: startEngine, answered: true, short: true},
		{name: "engine hangs", begin: hangs, end: resumes},
		{name: "engine hangs for a while, the answer lost", begin: hangs, end: resumes, answered: true, short: true},
		{name: "host cut off", begin: cut, end: heals, answered: true},
		{name: "host cut off for a while", begin: cut, end: heals, short: true},
		{name: "power off", begin: off, end: on},
		{name: "power cycle, the answer lost", begin: off, end: on, answered: true, short: true},
	}
}

// stage is an operation on its way.
type stage struct {
	underway
	*site
	provider *provider // of its names; nil: it has none
	bad      *tap
	apply    *process
	out      outcome
	ports    *patrol
	held     <-chan struct{}
	release  func()
}

// during lets a fault befall the third of three hosts during all operations at once.
func during(t *testing.T, f befalls) {
	t.Helper()
	l := ownLab(t, 3)
	bad := l.Host(3)
	_, push := startRegistryFor(t, l)
	stages := setTheStage(t, l, operations(push))
	for _, st := range stages {
		st.begin(f.answered)
	}
	for _, st := range stages {
		eventually(t, patience, func() error {
			select {
			case <-st.held:
				return nil
			default:
				return fmt.Errorf("%s: the call %s is not made: %s", st.underway.name, st.call, st.apply.stderr.String())
			}
		})
		if st.provider != nil {
			ours, _ := st.provider.said(st.site)
			require.Equal(t, allThree[:2], ours, "the node at hand has left its name")
		}
	}
	if f.ourselves {
		for _, st := range stages {
			st.apply.kill()
			st.release()
		}
	} else {
		befall(t, f, bad, stages)
	}
	againAll(t, stages)
	for _, st := range stages {
		st.requireMended(t, bad)
	}
}

// befall lets it happen, and end.
func befall(t *testing.T, f befalls, bad *hosts.Host, stages []*stage) {
	t.Helper()
	faulty(t, func(ctx context.Context) error { return f.begin(ctx, bad) })
	for _, st := range stages {
		st.release()
	}
	end := func() { faulty(t, func(ctx context.Context) error { return f.end(ctx, bad) }) }
	if f.short {
		end()
	}
	begun := time.Now()
	for _, st := range stages {
		st.out = st.apply.wait()
	}
	t.Logf("all have ended %s after the fault", time.Since(begun))
	if !f.short {
		end()
	}
	for _, st := range stages {
		st.saysWhat(t, f)
	}
}

// setTheStage brings each operation's fleet to where the operation is the next thing to do.
func setTheStage(t *testing.T, l *hosts.Lab, all []underway) []*stage {
	t.Helper()
	bad := l.Host(3)
	var stages, plain []*stage
	for _, u := range all {
		st := &stage{underway: u, bad: tapInto(t, bad), site: makeSite(t, l.Hosts()...)}
		stages = append(stages, st)
		if u.leaves {
			var external string
			st.provider, external = provide(st.site)
			st.extra = "  dns:\n" + external
			for _, f := range st.last {
				t.Cleanup(f)
			}
		}
		cordoned := u.after != nil && strings.Contains(u.before(st.site), "replicas: 2")
		st.fleetFile(cordoned)
		st.environment("shop", u.before(st.site))
		if !u.old {
			plain = append(plain, st)
			continue
		}
		c := st.controller(keeper.Version-1, func(o *reconciler.Options) { o.Notice, o.Report = nil, nil })
		r, err := c.Apply(t.Context(), nil)
		require.NoError(t, err)
		require.True(t, r.Converged, "%v %v", r.Problems, r.Failed)
		require.NoError(t, c.Close())
	}
	applyAll(plain)
	for _, st := range plain {
		require.Equal(t, 0, st.out.code, "%s: %s", st.underway.name, st.out)
	}
	for _, st := range stages {
		st.ports = patrolPorts(t, 200*time.Millisecond, st.port(), l.Hosts()...)
	}
	return stages
}

// applyAll applies everywhere, a few at a time: what is tested is not how many an engine can take.
func applyAll(stages []*stage) {
	const few = 3
	for i := range len(stages) + few {
		if i < len(stages) {
			stages[i].apply = stages[i].command(context.Background(), "apply")
		}
		if i >= few {
			stages[i-few].out = stages[i-few].apply.wait()
		}
	}
}

// fleetFile writes the Fleet: labels to place nodes by, and the tap in front of the faulty host.
func (st *stage) fleetFile(cordoned bool) {
	state := "active"
	if cordoned {
		state = "cordoned"
	}
	st.writeFleet()
	file := strings.ReplaceAll(st.read("fleet.yaml"), st.hosts[2].Endpoint(), st.bad.endpoint)
	file = strings.Replace(file, "{name: h1,", "{name: h1, labels: {name: h1},", 1)
	file = strings.Replace(file, "{name: h3,", "{name: h3, labels: {name: h3}, address: "+st.hosts[2].Address().String()+", state: "+state+",", 1)
	st.write("fleet.yaml", file)
}

// begin has the operation begun, and held at its call.
func (st *stage) begin(answered bool) {
	st.t.Helper()
	bad := st.hosts[2]
	if st.byHand != nil {
		st.byHand(st.t, st.site, bad)
	}
	st.held, st.release = st.bad.hold(st.call, answered)
	if st.after != nil {
		st.fleetFile(false)
		st.environment("shop", st.after(st.site))
	}
	st.apply = st.command(context.Background(), "apply")
}

// againAll applies everywhere until nobody holds a lease any more.
func againAll(t *testing.T, stages []*stage) {
	t.Helper()
	left := stages
	for deadline := time.Now().Add(2 * patience); len(left) > 0; {
		applyAll(left)
		var next []*stage
		for _, st := range left {
			switch {
			case strings.Contains(st.out.stderr, "is at work on this fleet") && time.Now().Before(deadline):
				next = append(next, st)
			case st.out.code != 0:
				t.Errorf("%s: the next pass: %s", st.underway.name, st.out)
			}
		}
		left = next
	}
}

// saysWhat: an apply that a fault kept from its end names the host and what was at hand, and says why and what to do.
func (st *stage) saysWhat(t *testing.T, f befalls) {
	t.Helper()
	if st.out.code == 0 && f.short {
		return // it went on by itself
	}
	says := []string{st.says}
	switch {
	case f.short:
		says = append(says, `h3`)
	default:
		says = append(says, `h3 doesn't answer \(.*: what is on it stays as it is; start its engine or mend the way to it`)
	}
	for _, text := range says {
		if !regexp.MustCompile(text).MatchString(st.out.stdout) {
			t.Errorf("%s during %s: it isn't said: %s: %s", f.name, st.underway.name, text, st.out)
		}
	}
	if st.out.code != 1 {
		t.Errorf("%s during %s: %s", f.name, st.underway.name, st.out)
	}
}

// requireMended requires that nothing is left to do and nothing is left over, and that the others served throughout.
func (st *stage) requireMended(t *testing.T, bad *hosts.Host) {
	t.Helper()
	name := st.underway.name
	if pairs := st.ports.together(); len(pairs) > 0 {
		t.Errorf("%s: two nodes didn't serve at once: %v", name, pairs)
	}
	if o := st.evenkeel("plan", "--exit-code"); o.code != 0 {
		t.Errorf("%s: something is left to do: %s", name, o)
	}
	if r := st.drift(); len(r.Drift)+len(r.Unknown) > 0 {
		t.Errorf("%s: there is drift: %v %v", name, findings(r.Drift), r.Unknown)
	}
	if st.provider != nil {
		if ours, _ := st.provider.said(st.site); !slices.Equal(ours, allThree) {
			t.Errorf("%s: the name leads to %v", name, ours)
		}
	}
	for _, h := range st.hosts {
		state := st.observe(h)
		nodes := st.nodesOf(h, "web")
		extra := st.nodesOf(h, "extra")
		if len(nodes) != 1 || len(state.Instances) != 1+len(extra) || len(extra) > 1 || (len(extra) == 1) != (st.moves == h.Name()) || len(state.Volumes) > 1 {
			t.Errorf("%s: on %s is %s, volumes %v", name, h.Name(), st.containers(h), state.Volumes)
			continue
		}
		want := fmt.Sprintf("%s_shop_web_%d running %s", st.fleet, nodes[0].Node, st.fleet)
		if len(extra) == 1 {
			want = fmt.Sprintf("%s_shop_extra_1 running %s, %s", st.fleet, st.fleet, want)
		}
		keeper := fmt.Sprintf("%s running %s", fleet.KeeperName(st.fleet), st.fleet)
		if have := st.containers(h); have != keeper+", "+want {
			t.Errorf("%s: on %s is %s, not %s, %s", name, h.Name(), have, keeper, want)
		}
		for _, line := range st.kept(h, &state) {
			if strings.Contains(line, "fits false") || strings.Contains(line, `out "`) && !strings.HasSuffix(line, `out ""`) || strings.Contains(line, "pause") {
				t.Errorf("%s: the keeper on %s keeps %s", name, h.Name(), line)
			}
		}
		st.requireNamed(h, nodes)
	}
}

// TestFaultsDuringOperations has some of the faults; `make soak` has all others.
func TestFaultsDuringOperations(t *testing.T) {
	t.Parallel()
	for _, f := range allFaults() {
		if f.everyTime {
			t.Run(f.name, func(t *testing.T) { during(t, f) })
		}
	}
}
