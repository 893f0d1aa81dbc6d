package plan_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// lines are a plan's operations as one reads them, with what waits and what is done to hosts.
func lines(p plan.Plan) []string {
	var all []string
	for _, l := range p.Layers {
		for _, op := range l.Operations {
			s := string(op.Kind) + " " + op.ID.String() + " on " + op.Host
			if op.FromHost != "" {
				s += " from " + op.FromHost
			}
			for _, c := range op.Causes {
				s += "; " + c.Field + " " + c.From + ">" + c.To
			}
			all = append(all, s)
		}
		for _, w := range l.Waiting {
			all = append(all, fleet.NodeID{Environment: l.Environment, Layer: l.Layer, Node: w.Node}.String()+" "+w.Reason)
		}
	}
	for _, o := range p.Hosts {
		all = append(all, o.Operation+" "+o.What+" "+o.Name+" on "+o.Host)
	}
	return all
}

// web is the layer that most cases are about.
func web(replicas int, change ...func(*spec.Layer)) spec.Layer {
	return testLayer("web", replicas, change...)
}

func onHosts(hosts []string, layers ...spec.Layer) *spec.Spec {
	s := testSpec(hosts, layers...)
	s.Fleet.PruneMaxShare = 100
	return s
}

var (
	one = []string{"hn1"}
	two = []string{"hn1", "hn2"}
)

// node returns the model's newest instance of a node of shop/web.
func (m *model) node(ordinal int) *fleet.Instance {
	var found *fleet.Instance
	for _, name := range m.names() {
		h := m.hosts[name]
		for i := range h.state.Instances {
			in := &h.state.Instances[i]
			if in.Layer == "web" && in.Node == ordinal && (found == nil || in.Generation > found.Generation) {
				found = in
			}
		}
	}
	return found
}

func reportOnly(s *spec.Spec) *spec.Spec {
	s.Fleet.SelfHeal = false
	return s
}

// rewritten is a spec whose layers were written anew.
func rewritten(s *spec.Spec) *spec.Spec {
	for i := range s.Environments[0].Layers {
		s.Environments[0].Layers[i].LayerHash += " rewritten"
	}
	return s
}

func restartAfter(l *spec.Layer) {
	l.HealthCheck = &spec.HealthCheck{
		TCP: &spec.TCPCheck{Port: "http"}, Interval: time.Second, Retries: 3, RestartAfter: time.Minute,
	}
}

// sick has the probes of node 1 fail for a while.
func sick(since time.Duration) func(*model) {
	return func(m *model) {
		m.hosts["hn1"].keeper.Health = []fleet.ProbeResult{{Instance: m.node(1).ID, For: since, Last: "GET /healthz: 503"}}
	}
}

func TestOperations(t *testing.T) {
	image2 := func(l *spec.Layer) { l.Image = "registry.example.com/shop/web:2" }
	always := func(l *spec.Layer) { l.Pull = spec.PullAlways }
	limit := func(memory spec.Bytes, cpu spec.MilliCPU) func(*spec.Layer) {
		return func(l *spec.Layer) { l.Limit = spec.Resources{Memory: memory, CPU: cpu} }
	}
	cases := []struct {
		name   string
		before *spec.Spec
		harm   func(m *model)
		after  *spec.Spec
		want   []string
	}{
		{"nothing changes", onHosts(one, web(2)), nil, onHosts(one, web(2)), nil},
		{"first apply", onHosts(one), nil, onHosts(one, web(2)), []string{
			"create shop/web/2 on hn1; environment >shop", "create shop/web/1 on hn1; environment >shop",
			"create network evenkeel_production_shop on hn1", "connect keeper evenkeel_production_shop on hn1",
		}},
		{"another layer", onHosts(one, testLayer("db", 1)), nil, onHosts(one, testLayer("db", 1), web(2)), []string{
			"create shop/web/2 on hn1; layer >web", "create shop/web/1 on hn1; layer >web",
		}},
		{"scaled up", onHosts(one, web(1)), nil, onHosts(one, web(3)), []string{
			"create shop/web/3 on hn1; replicas 1>3", "create shop/web/2 on hn1; replicas 1>3",
		}},
		{"a node is missing of which nothing is known any more", onHosts(one, web(2)), func(m *model) {
			m.hosts["hn1"].remove(m.node(1).ID)
			m.hosts["hn1"].records, m.hosts["hn1"].keeper.Copy = map[string]any{}, fleet.Copy{}
		}, onHosts(one, web(2)), []string{"create shop/web/1 on hn1; node missing>running"}},
		{"another image", onHosts(one, web(2)), nil, onHosts(one, web(2, image2)), []string{
			"redeploy shop/web/2 on hn1; image registry.example.com/shop/web:1>registry.example.com/shop/web:2",
			"redeploy shop/web/1 on hn1; image registry.example.com/shop/web:1>registry.example.com/shop/web:2",
		}},
		{"another environment variable", onHosts(one, web(1)), nil, onHosts(one, web(1, func(l *spec.Layer) { l.Env["LEVEL"] = "debug" })), []string{
			"redeploy shop/web/1 on hn1; env.LEVEL info>debug",
		}},
		{"pull, policy and replicas are no change", onHosts(one, web(1)), nil, onHosts(one, web(1, always, func(l *spec.Layer) { l.Update.Delay = time.Minute })), nil},
		{"restart text", onHosts(one, web(1)), nil, onHosts(one, web(1, func(l *spec.Layer) { l.Restart = "now" })), []string{
			"restart shop/web/1 on hn1; restart >now",
		}},
		{"restart that was asked for and not made", onHosts(one, web(1)), func(m *model) {
			m.hosts["hn1"].records["restart/shop/web/1"] = fleet.RestartRecord{StartedAt: m.node(1).StartedAt}
		}, onHosts(one, web(1)), []string{"restart shop/web/1 on hn1; restart asked for at 2026-11-20T12:00:01Z>"}},
		{"restart text without a record is adopted", onHosts(one, web(1)), func(m *model) {
			delete(m.hosts["hn1"].records, "restart/shop/web/1")
		}, onHosts(one, web(1, func(l *spec.Layer) { l.Restart = "now" })), nil},
		{"a redeploy covers a restart and a resize", onHosts(one, web(1, limit(256*mi, 0))), nil,
			onHosts(one, web(1, image2, limit(512*mi, 0), func(l *spec.Layer) { l.Restart = "now" })), []string{
				"redeploy shop/web/1 on hn1; image registry.example.com/shop/web:1>registry.example.com/shop/web:2; limit.memory 256Mi>512Mi; restart >now",
			}},
		{"resize in place", onHosts(one, web(1, limit(256*mi, 500))), nil, onHosts(one, web(1, limit(512*mi, 1500))), []string{
			"resize shop/web/1 on hn1; limit.memory 256Mi>512Mi; limit.cpu 500m>1500m",
		}},
		{"a first limit is set in place", onHosts(one, web(1)), nil, onHosts(one, web(1, limit(512*mi, 0))), []string{
			"resize shop/web/1 on hn1; limit.memory >512Mi",
		}},
		{"a limit is lifted by a redeploy", onHosts(one, web(1, limit(256*mi, 0))), nil, onHosts(one, web(1)), []string{
			"redeploy shop/web/1 on hn1; limit.memory 256Mi>",
		}},
		{"more CPU than there is, is no drift", onHosts(one, web(1, limit(0, 64000))), nil, onHosts(one, web(1, limit(0, 96000))), nil},
		{"a resize goes before a restart", onHosts(one, web(1)), nil,
			onHosts(one, web(1, limit(512*mi, 0), func(l *spec.Layer) { l.Restart = "now" })), []string{
				"resize shop/web/1 on hn1; limit.memory >512Mi", "restart shop/web/1 on hn1; restart >now",
			}},
		{"stopped by hand", onHosts(one, web(2)), func(m *model) { m.node(1).State = fleet.StateExited }, onHosts(one, web(2)), []string{
			"start shop/web/1 on hn1; state exited>running",
		}},
		{"paused by hand", onHosts(one, web(1)), func(m *model) { m.node(1).State = fleet.StatePaused }, onHosts(one, web(1)), []string{
			"start shop/web/1 on hn1; state paused>running",
		}},
		{"unhealthy for longer than restartAfter", onHosts(one, web(1, restartAfter)), sick(2 * time.Minute), onHosts(one, web(1, restartAfter)), []string{
			"restart shop/web/1 on hn1; health unhealthy for 2m0s: GET /healthz: 503>healthy",
		}},
		{"unhealthy, and restartAfter isn't over", onHosts(one, web(1, restartAfter)), sick(time.Second), onHosts(one, web(1, restartAfter)), nil},
		{"unhealthy without restartAfter", onHosts(one, web(1)), sick(2 * time.Minute), onHosts(one, web(1)), nil},
		{"stopped by hand, and drift only reported", reportOnly(onHosts(one, web(2))), func(m *model) { m.node(1).State = fleet.StateExited }, reportOnly(onHosts(one, web(2))), []string{
			"shop/web/1 drift, only reported since drift.selfHeal is false: start would set it right (state: exited → running)",
		}},
		{"removed by hand, and drift only reported", reportOnly(onHosts(one, web(2))), func(m *model) { m.hosts["hn1"].remove(m.node(2).ID) }, reportOnly(onHosts(one, web(2))), []string{
			"shop/web/2 drift, only reported since drift.selfHeal is false: create would set it right (node: missing → running)",
		}},
		{"a limit of a kind that nobody wants", onHosts(one, web(1)), impose, onHosts(one, web(1)), []string{
			"redeploy shop/web/1 on hn1; limit.cpuset-cpus 0>",
		}},
		{"a limit of a kind that nobody wants, and drift only reported", reportOnly(onHosts(one, web(1))), impose, reportOnly(onHosts(one, web(1))), []string{
			"shop/web/1 drift, only reported since drift.selfHeal is false: redeploy would set it right (limit.cpuset-cpus: 0 → )",
		}},
		{"a commit is carried out where drift is only reported", reportOnly(onHosts(one, web(1))), nil, reportOnly(rewritten(onHosts(one, web(1, limit(512*mi, 0))))), []string{
			"resize shop/web/1 on hn1; limit.memory >512Mi",
		}},
		{"removed by hand", onHosts(one, web(2)), func(m *model) { m.hosts["hn1"].remove(m.node(2).ID) }, onHosts(one, web(2)), []string{
			"create shop/web/2 on hn1; node missing>running",
		}},
		{"those that don't serve come first", onHosts(one, web(3)), func(m *model) { m.node(1).State = fleet.StateExited }, onHosts(one, web(3, image2)), []string{
			"redeploy shop/web/1 on hn1; image registry.example.com/shop/web:1>registry.example.com/shop/web:2",
			"redeploy shop/web/3 on hn1; image registry.example.com/shop/web:1>registry.example.com/shop/web:2",
			"redeploy shop/web/2 on hn1; image registry.example.com/shop/web:1>registry.example.com/shop/web:2",
		}},
		{"scaled down from the top", onHosts(one, web(3)), nil, onHosts(one, web(1)), []string{
			"remove shop/web/3 on hn1; replicas 3>1", "remove shop/web/2 on hn1; replicas 3>1",
		}},
		{"layer gone", onHosts(one, web(1), testLayer("db", 1)), nil, onHosts(one, testLayer("db", 1)), []string{
			"remove shop/web/1 on hn1; layer web>",
		}},
		{"environment gone", onHosts(one, web(1)), nil, onHosts(one), []string{"remove shop/web/1 on hn1; environment shop>"}},
		{"environment gone, and its nodes", onHosts(one, web(1)), func(m *model) { m.hosts["hn1"].state.Instances = nil }, onHosts(one), []string{
			"remove network evenkeel_production_shop on hn1",
		}},
		{"a host's labels don't match any more", onHosts(two, web(1)), nil, labelledHost(onHosts(two, web(1, inZone("a"))), "hn2", "a"), []string{
			"redeploy shop/web/1 on hn2 from hn1; host hn1>hn2",
			"create network evenkeel_production_shop on hn2", "connect keeper evenkeel_production_shop on hn2",
		}},
		{"a node without another place stays", onHosts(two, web(1)), nil, onHosts(two, web(1, inZone("b"))), nil},
		{"cordoned hosts keep their nodes", onHosts(two, web(2)), nil, cordoned(onHosts(two, web(2)), "hn2"), nil},
		{"the keeper was removed", onHosts(one, web(1)), func(m *model) {
			m.hosts["hn1"].state.Keepers, m.hosts["hn1"].keeper = nil, nil
		}, onHosts(one, web(1)), []string{
			"create keeper evenkeel-keeper-production on hn1", "connect keeper evenkeel_production_shop on hn1",
		}},
		{"the keeper was stopped", onHosts(one, web(1)), func(m *model) {
			m.hosts["hn1"].state.Keepers[0].State, m.hosts["hn1"].keeper = fleet.StateExited, nil
		}, onHosts(one, web(1)), []string{"start keeper evenkeel-keeper-production on hn1"}},
		{"the keeper is an older one", onHosts(one, web(1)), func(m *model) { m.hosts["hn1"].state.Keepers[0].Version = 2 }, onHosts(one, web(1)), []string{
			"replace keeper evenkeel-keeper-production on hn1",
		}},
		{"the keeper is a newer one", onHosts(one, web(1)), func(m *model) { m.hosts["hn1"].state.Keepers[0].Version = 4 }, onHosts(one, web(1)), nil},
		{"the keeper doesn't answer", onHosts(one, web(2)), func(m *model) {
			m.hosts["hn1"].keeper, m.hosts["hn1"].state.KeeperProblem = nil, "no hello"
		}, onHosts(one, web(2, image2)), []string{
			"shop/web/1 is on hn1, whose keeper doesn't answer: no hello", "shop/web/2 is on hn1, whose keeper doesn't answer: no hello",
		}},
		{"a network of somebody else's is in the way", onHosts(one), func(m *model) {
			m.hosts["hn1"].state.Networks = append(m.hosts["hn1"].state.Networks, fleet.Network{Name: "evenkeel_production_shop"})
		}, onHosts(one, web(1)), []string{
			"shop/web/1 the network of shop can't be made on hn1",
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newModel(names(c.before)...)
			m.settle(c.before)
			if c.harm != nil {
				c.harm(m)
			}
			require.Equal(t, c.want, lines(plan.Compute(input(c.after, m.observe()))))
		})
	}
}

func names(s *spec.Spec) []string {
	var all []string
	for _, h := range s.Fleet.Hosts {
		all = append(all, h.Name)
	}
	return all
}

func inZone(zone string) func(*spec.Layer) {
	return func(l *spec.Layer) { l.Placement.Hosts = map[string]string{"zone": zone} }
}

func labelledHost(s *spec.Spec, host, zone string) *spec.Spec {
	s.Fleet.Host(host).Labels = map[string]string{"zone": zone}
	return s
}

func cordoned(s *spec.Spec, host string) *spec.Spec {
	s.Fleet.Host(host).State = spec.HostCordoned
	return s
}

func TestWarningsOfTheSpecAreThePlansToo(t *testing.T) {
	s := onHosts(one, web(1))
	s.Warnings = []spec.Problem{{File: "shop.yaml", Line: 7, Column: 5, Path: "spec.layers[0]", Message: "is probably not meant"}}
	m := newModel("hn1")
	m.settle(onHosts(one, web(1)))
	p := plan.Compute(input(s, m.observe()))
	require.Equal(t, []string{"shop.yaml:7:5: spec.layers[0]: is probably not meant"}, p.Warnings)
	require.False(t, p.HasChanges)
}
