package plan_test

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// halfWay is a layer of three in whose rollout node 3's new container was made and started, the old one
// stopped, and nothing more done.
func halfWay(t *testing.T, steps int) (*model, *spec.Spec) {
	m := newModel("hn1")
	m.settle(onHosts(one, web(3)))
	s := onHosts(one, web(3, newImage))
	p := plan.Compute(input(s, m.observe()))
	require.Equal(t, 3, p.Layers[0].Operations[0].Node)
	for _, do := range m.operation(p.Layers[0], p.Layers[0].Operations[0])[:steps] {
		do()
	}
	m.tell(s, p)
	return m, s
}

func newImage(l *spec.Layer) { l.Image = "registry.example.com/shop/web:2" }

func operation(p plan.Plan, node int) *plan.Operation {
	for i := range p.Layers {
		for j := range p.Layers[i].Operations {
			if p.Layers[i].Operations[j].Node == node {
				return &p.Layers[i].Operations[j]
			}
		}
	}
	return nil
}

func TestAHalfDoneRolloutGoesOn(t *testing.T) {
	for steps, name := range []string{"untouched", "prepared", "restart text recorded", "old one stopped", "new one started"} {
		t.Run(name, func(t *testing.T) {
			m, s := halfWay(t, steps)
			p := plan.Compute(input(s, m.observe()))
			require.Empty(t, p.Hosts, "nothing is cleared away while the rollout lasts")
			op := operation(p, 3)
			require.Equal(t, plan.Redeploy, op.Kind)
			require.Equal(t, steps > 0, op.Candidate != nil)
			require.Equal(t, steps < 3, op.Serving)
			require.Equal(t, 1, op.Instance.Generation)
			_, last := m.settle(s)
			require.Empty(t, last.Layers)
			require.Len(t, m.hosts["hn1"].state.Instances, 3, "superseded ones are removed when it has ended")
		})
	}
}

func TestACandidateThatIsNotWantedAnyMoreGoes(t *testing.T) {
	t.Run("for a newer commit", func(t *testing.T) {
		m, _ := halfWay(t, 4)
		p := plan.Compute(input(onHosts(one, web(3, func(l *spec.Layer) { l.Image = "registry.example.com/shop/web:3" })), m.observe()))
		require.Contains(t, lines(p), "remove container production_shop_web_3_g2 on hn1")
		require.Equal(t, 3, operation(p, 3).Container.Generation)
		requireEndedByItsNode(t, p, "production_shop_web_3_g2")
	})
	t.Run("for the commit before", func(t *testing.T) {
		m, _ := halfWay(t, 4)
		p := plan.Compute(input(onHosts(one, web(3)), m.observe()))
		require.Equal(t, []string{
			"start shop/web/3 on hn1; state exited>running", "remove container production_shop_web_3_g2 on hn1",
		}, lines(p))
		requireEndedByItsNode(t, p, "production_shop_web_3_g2")
	})
	t.Run("not before its node's operation can be begun, while nothing else of it runs", func(t *testing.T) {
		m, _ := halfWay(t, 4)
		in := input(onHosts(one, web(3, func(l *spec.Layer) { l.Image = "registry.example.com/shop/web:3" })), m.observe())
		in.Images["registry.example.com/shop/web:3"] = plan.Image{Problem: "it is being looked up"}
		p := plan.Compute(in)
		require.Nil(t, operation(p, 3), "it waits")
		require.Equal(t, "production_shop_web_3_g2", p.Hosts[0].Name)
		require.True(t, p.Hosts[0].Within)
	})
	t.Run("at once where it doesn't run", func(t *testing.T) {
		m, _ := halfWay(t, 2)
		p := plan.Compute(input(onHosts(one, web(3)), m.observe()))
		require.Equal(t, []string{"remove container production_shop_web_3_g2 on hn1"}, lines(p))
		require.False(t, p.Hosts[0].Within)
	})
}

// requireEndedByItsNode requires that node 3's operation ends a container which its node doesn't need, before
// that is removed.
func requireEndedByItsNode(t *testing.T, p plan.Plan, name string) {
	t.Helper()
	others := operation(p, 3).Others
	require.Len(t, others, 1)
	require.Equal(t, name, others[0].Name)
	require.Len(t, p.Hosts, 1)
	require.True(t, p.Hosts[0].Within)
}

func TestSupersededContainers(t *testing.T) {
	m, s := halfWay(t, 5)
	require.NotContains(t, lines(plan.Compute(input(s, m.observe()))), "remove container production_shop_web_3_g1 on hn1",
		"a stopped one stays until the rollout has ended")
	for i := range m.hosts["hn1"].state.Instances {
		if in := &m.hosts["hn1"].state.Instances[i]; in.Name == "production_shop_web_3_g1" {
			in.State = fleet.StateRunning
		}
	}
	require.Contains(t, lines(plan.Compute(input(s, m.observe()))), "remove container production_shop_web_3_g1 on hn1",
		"a running one goes at once")
}

func TestAFirstContainerThatWasNeverHealthy(t *testing.T) {
	m := newModel("hn1")
	s := onHosts(one, web(1))
	m.settle(onHosts(one))
	p := plan.Compute(input(s, m.observe()))
	for _, step := range m.steps(p)[:5] { // all but the record that it is healthy
		step()
	}
	m.tell(s, p)
	require.Equal(t, fleet.StateRunning, m.node(1).State)

	t.Run("is gated anew", func(t *testing.T) {
		p := plan.Compute(input(s, m.observe()))
		op := operation(p, 1)
		require.Equal(t, plan.Create, op.Kind)
		require.Equal(t, m.node(1).ID, op.Candidate.ID)
		require.Nil(t, op.Container)
	})
	t.Run("is replaced by a create", func(t *testing.T) {
		p := plan.Compute(input(onHosts(one, web(1, newImage)), m.observe()))
		require.Equal(t, []string{
			"create shop/web/1 on hn1; image registry.example.com/shop/web:1>registry.example.com/shop/web:2",
			"remove container production_shop_web_1_g1 on hn1",
		}, lines(p))
		require.False(t, operation(p, 1).Intrusive)
	})
	t.Run("is adopted where the keeper lost its records", func(t *testing.T) {
		records := m.hosts["hn1"].records
		defer func() { m.hosts["hn1"].records = records }()
		m.hosts["hn1"].records = map[string]any{}
		o := m.observe()
		o.Hosts[0].Keeper.Zone.Nodes[0].Out = ""
		p := plan.Compute(input(s, o))
		require.Empty(t, p.Layers)
		require.Equal(t, []plan.RecordWrite{
			{Host: "hn1", Key: "applied/shop/web", Value: fleet.AppliedOf(&s.Environments[0].Layers[0])},
			{Host: "hn1", Key: "current/shop/web/1", Value: fleet.CurrentRecord{Generation: 1}},
			{Host: "hn1", Key: "restart/shop/web/1", Value: fleet.RestartRecord{}},
		}, p.Records)
	})
}

func TestPause(t *testing.T) {
	paused := func(t *testing.T) (*model, *spec.Spec) {
		m, s := halfWay(t, 4)
		m.hosts["hn1"].records["pause/shop/web"] = fleet.PauseRecord{Hash: s.Environments[0].Layers[0].LayerHash, Node: 3, Cause: "exit status 1"}
		return m, s
	}
	t.Run("holds intrusive operations back", func(t *testing.T) {
		m, s := paused(t)
		p := plan.Compute(input(s, m.observe()))
		require.True(t, p.HasChanges)
		require.Equal(t, "node 3 failed: exit status 1", p.Layers[0].Paused)
		require.Empty(t, p.Layers[0].Operations)
		require.Len(t, p.Layers[0].Waiting, 3)
		require.Empty(t, p.Hosts, "the containers of the rollout stay")
		require.Contains(t, p.Layers[0].Waiting[0].Reason, "exit status 1")
	})
	t.Run("lets starts, creates and resizes go on", func(t *testing.T) {
		m, s := paused(t)
		m.hosts["hn1"].remove(m.node(1).ID)
		require.Contains(t, lines(plan.Compute(input(s, m.observe()))), "create shop/web/1 on hn1; node missing>running")
	})
	t.Run("lets removals go on", func(t *testing.T) {
		m, s := paused(t)
		s.Environments[0].Layers[0].Replicas = 2 // with the hash left as it was
		require.Contains(t, lines(plan.Compute(input(s, m.observe()))), "remove shop/web/3 on hn1; replicas 3>2")
	})
	t.Run("is void when what is written changes", func(t *testing.T) {
		m, _ := paused(t)
		p := plan.Compute(input(onHosts(one, web(3, newImage, func(l *spec.Layer) { l.Restart = "again" })), m.observe()))
		require.Empty(t, p.Layers[0].Paused)
		require.Equal(t, 3, p.Layers[0].Operations[0].Node)
		require.Contains(t, p.Records, plan.RecordWrite{Host: "hn1", Key: "pause/shop/web"})
	})
	for name, test := range map[string]struct {
		result fleet.ProbeResult
		engine fleet.Health
		state  fleet.State
		void   bool
	}{
		"healthy for long enough":         {fleet.ProbeResult{Healthy: true, For: 5 * time.Second}, "", "", true},
		"healthy, also to the engine":     {fleet.ProbeResult{Healthy: true, For: 5 * time.Second}, fleet.HealthHealthy, "", true},
		"healthy for a moment":            {fleet.ProbeResult{Healthy: true, For: 4999 * time.Millisecond}, "", "", false},
		"unhealthy for long":              {fleet.ProbeResult{For: time.Hour}, "", "", false},
		"healthy, to the engine not yet":  {fleet.ProbeResult{Healthy: true, For: time.Hour}, fleet.HealthStarting, "", false},
		"healthy, and it crashed since":   {fleet.ProbeResult{Healthy: true, For: time.Hour}, "", fleet.StateRestarting, false},
		"healthy to the engine, unprobed": {fleet.ProbeResult{Instance: "another"}, fleet.HealthHealthy, "", false},
	} {
		t.Run("is void once the failed node would serve: "+name, func(t *testing.T) {
			m, s := paused(t)
			in := m.node(3)
			in.Health, in.State = test.engine, cmp.Or(test.state, in.State)
			test.result.Instance = cmp.Or(test.result.Instance, in.ID)
			m.hosts["hn1"].keeper.Health = []fleet.ProbeResult{test.result}
			p := plan.Compute(input(s, m.observe()))
			if !test.void {
				require.Equal(t, "node 3 failed: exit status 1", p.Layers[0].Paused)
				return
			}
			require.Empty(t, p.Layers[0].Paused)
			require.Equal(t, in.ID, operation(p, 3).Candidate.ID)
		})
	}
	t.Run("of a first container isn't tried again", func(t *testing.T) {
		m := newModel("hn1")
		m.settle(onHosts(one))
		s := onHosts(one, web(1))
		p := plan.Compute(input(s, m.observe()))
		for _, step := range m.steps(p)[:5] {
			step()
		}
		m.tell(s, p)
		m.hosts["hn1"].records["pause/shop/web"] = fleet.PauseRecord{Hash: s.Environments[0].Layers[0].LayerHash, Node: 1, Cause: "no answer"}
		require.Equal(t, []string{"shop/web/1 failed, and is left as it is: no answer"}, lines(plan.Compute(input(s, m.observe()))))
	})
}

func TestCreatesWaitForTheLayersTheyDependOn(t *testing.T) {
	m := newModel("hn1")
	s := onHosts(one, testLayer("db", 1), web(1, func(l *spec.Layer) { l.DependsOn = []string{"db"} }))
	p := plan.Compute(input(s, m.observe()))
	require.Empty(t, p.Layers[0].Operations[0].After)
	require.Equal(t, []fleet.LayerID{{Environment: "shop", Layer: "db"}}, p.Layers[1].Operations[0].After)
	m.settle(s)
	m.hosts["hn1"].remove(m.node(1).ID)
	p = plan.Compute(input(s, m.observe()))
	require.Empty(t, p.Layers[0].Operations[0].After, "the database runs")
}

func TestImpactAndPace(t *testing.T) {
	simultaneous := func(l *spec.Layer) { l.Update.Strategy = spec.Simultaneous }
	both := func(l *spec.Layer) { l.Update.MaxUnavailable = 2 }
	quiet := func(l *spec.Layer) { l.Update.RemoveFromDNS = false }
	restart := func(l *spec.Layer) { l.Restart = "now" }
	noDelay := func(l *spec.Layer) {
		zero := time.Duration(0)
		l.Update.Operations = map[string]spec.PolicyOverride{"restart": {Delay: &zero}}
	}
	cases := []struct {
		name      string
		replicas  int
		after     []func(*spec.Layer)
		least     int
		downtime  bool
		duration  time.Duration
		withdrawn []int // nodes whose record of the layer's name goes
	}{
		{"three, one by one", 3, []func(*spec.Layer){newImage}, 2, false, 3*6*time.Second + 2*30*time.Second, []int{3, 2, 1}},
		{"three, two at a time", 3, []func(*spec.Layer){newImage, both}, 1, false, 2*6*time.Second + 30*time.Second, []int{3, 2, 1}},
		{"three at once", 3, []func(*spec.Layer){newImage, simultaneous}, 0, true, 6 * time.Second, []int{3, 2}},
		{"a single one", 1, []func(*spec.Layer){newImage}, 0, true, 5 * time.Second, nil},
		{"without withdrawal", 3, []func(*spec.Layer){newImage, quiet}, 2, false, 3*5*time.Second + 2*30*time.Second, nil},
		{"a kind of its own pace", 3, []func(*spec.Layer){restart, noDelay}, 2, false, 3 * 6 * time.Second, []int{3, 2, 1}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newModel("hn1")
			m.settle(onHosts(one, web(c.replicas)))
			l := plan.Compute(input(onHosts(one, web(c.replicas, c.after...)), m.observe())).Layers[0]
			require.Equal(t, c.least, l.MinServing)
			require.Equal(t, c.downtime, l.Downtime)
			require.Equal(t, c.duration.String(), time.Duration(l.EstimatedDuration).String())
			var withdrawn []int
			for _, op := range l.Operations {
				if op.DNS != nil {
					require.Equal(t, []string{"web.shop.internal A " + op.Instance.Address.String()}, op.DNS.Withdraw)
					withdrawn = append(withdrawn, op.Node)
				}
			}
			require.Equal(t, c.withdrawn, withdrawn)
		})
	}
}

func TestARemovedNodeLosesItsOwnNameToo(t *testing.T) {
	m := newModel("hn1")
	m.settle(onHosts(one, web(2)))
	op := operation(plan.Compute(input(onHosts(one, web(1)), m.observe())), 2)
	address := op.Instance.Address.String()
	require.Equal(t, []string{"node2.web.shop.internal A " + address, "web.shop.internal A " + address}, op.DNS.Withdraw)
}

func TestTheOnlyNodeInAKeepersViewIsNotWithdrawn(t *testing.T) {
	m := newModel("hn1", "hn2")
	m.settle(onHosts(two, web(2)))
	p := plan.Compute(input(onHosts(two, web(2, newImage)), m.observe()))
	for _, op := range p.Layers[0].Operations {
		require.Nil(t, op.DNS)
	}
	require.Equal(t, 1, p.Layers[0].MinServing)
	require.False(t, p.Layers[0].Downtime)
	require.Equal(t, []string{
		"shop/web is on 2 hosts: with network.driver bridge, nodes find and reach only those on their own host",
		"shop/web/1 is not withdrawn from the names on hn1 while it is touched: no other node of its layer would be left in them there",
		"shop/web/2 is not withdrawn from the names on hn2 while it is touched: no other node of its layer would be left in them there",
	}, p.Warnings)
}

// A node that was just started again may be in the names already: whoever was sent to it is waited for. So it may where
// nothing is known of any node: all are answered with then, and the others without it.
func TestANodeOfWhoseHealthNothingIsKnownYetLeavesTheNamesToo(t *testing.T) {
	for unknown, left := range map[string]bool{"2": true, "1 2": true, "2, and 1 is out": false} {
		t.Run(unknown, func(t *testing.T) {
			m := newModel("hn1")
			m.settle(onHosts(one, web(2)))
			o := m.observe()
			k := *o.Hosts[0].Keeper
			k.Zone.Nodes = slices.Clone(k.Zone.Nodes)
			for i := range k.Zone.Nodes {
				n := &k.Zone.Nodes[i]
				if n.Node == 2 || unknown == "1 2" {
					n.Probes = []fleet.Probe{{Port: 80}}
				} else if !left {
					n.Out = "withdrawn: redeploy"
				}
			}
			o.Hosts[0].Keeper = &k
			op := operation(plan.Compute(input(onHosts(one, web(2, newImage)), o)), 2)
			require.False(t, op.Serving)
			if !left {
				require.Nil(t, op.DNS, "it is the last one in the names")
				return
			}
			require.Equal(t, []string{"web.shop.internal A " + op.Instance.Address.String()}, op.DNS.Withdraw)
			require.Equal(t, time.Second, op.Lasts)
		})
	}
}

// Where a node is answered with since it is the only healthy one, the others are without it.
func TestANodeBesideUnhealthyOnesLeavesTheNames(t *testing.T) {
	m := newModel("hn1")
	m.settle(onHosts(one, web(2)))
	o := m.observe()
	k := *o.Hosts[0].Keeper
	k.Zone.Nodes = slices.Clone(k.Zone.Nodes)
	for i := range k.Zone.Nodes {
		k.Zone.Nodes[i].Probes = []fleet.Probe{{Port: 80}}
		k.Health = append(k.Health, fleet.ProbeResult{Instance: k.Zone.Nodes[i].Instance, Healthy: k.Zone.Nodes[i].Node == 2})
	}
	o.Hosts[0].Keeper = &k
	op := operation(plan.Compute(input(onHosts(one, web(2, newImage)), o)), 2)
	require.True(t, op.Serving)
	require.Equal(t, []string{"web.shop.internal A " + op.Instance.Address.String()}, op.DNS.Withdraw)
}

func TestOrderGoesFromTheHighestToTheLowest(t *testing.T) {
	ordered := plan.Order([]plan.Operation{{Node: 1, Serving: true}, {Node: 3, Serving: true}, {Node: 2}, {Node: 4}})
	var nodes []int
	for _, op := range ordered {
		nodes = append(nodes, op.Node)
	}
	require.Equal(t, []int{4, 2, 3, 1}, nodes)
}

func TestAMoveGoesWhereItWasPrepared(t *testing.T) {
	three := []string{"hn1", "hn2", "hn3"}
	m := newModel(three...)
	m.settle(onHosts(three, web(1)))
	moved := func(layers ...spec.Layer) *spec.Spec {
		return labelledHost(labelledHost(onHosts(three, layers...), "hn2", "a"), "hn3", "a")
	}
	s := moved(web(1, inZone("a")))
	p := plan.Compute(input(s, m.observe()))
	require.Equal(t, "hn2", operation(p, 1).Host)
	for _, step := range m.steps(p)[:3] { // the network, the keeper's part in it, the new container
		step()
	}
	require.Equal(t, "hn2", m.node(1).Host)
	// Meanwhile hn2 gets more to carry, so that hn3 would be the better place by now.
	m.hosts["hn2"].state.Instances = append(m.hosts["hn2"].state.Instances, fleet.Instance{
		NodeID: fleet.NodeID{Environment: "shop", Layer: "api", Node: 1}, Host: "hn2", Generation: 1, ID: "api", Name: "api",
		State: fleet.StateRunning, StartedAt: start,
	})
	p = plan.Compute(input(s, m.observe()))
	for _, l := range p.Layers {
		if l.Layer == "web" {
			require.Equal(t, "hn2", l.Operations[0].Host)
			require.Equal(t, m.node(1).ID, l.Operations[0].Candidate.ID)
		}
	}
}

// A removal whose reply was lost leaves what the keeper knows of a node, and nothing else of it.
func TestWhatIsKnownOfNodesThatAreGoneIsForgotten(t *testing.T) {
	m := newModel("hn1")
	s := onHosts(one, web(3))
	m.settle(s)
	records := m.hosts["hn1"].records
	records["current/shop/web/3"], records["restart/shop/web/3"] = fleet.CurrentRecord{Generation: 4}, fleet.RestartRecord{}
	m.hosts["hn1"].remove(m.node(3).ID)
	forgotten := func(s *spec.Spec) (keys []string) {
		for _, r := range plan.Compute(input(s, m.observe())).Records {
			if _, ok := fleet.RecordedNode(r.Key); ok && r.Value == nil {
				keys = append(keys, r.Key)
			}
		}
		return keys
	}
	require.Empty(t, forgotten(s), "it is wanted, and will be made anew")
	s.Environments[0].Layers[0].Replicas = 2
	require.Equal(t, []string{"current/shop/web/3", "restart/shop/web/3"}, forgotten(s))
	s.Environments[0].Layers[0].Replicas = 1
	require.Equal(t, []string{"current/shop/web/3", "restart/shop/web/3"}, forgotten(s), "node 2 is still there")
	m.hosts["hn1"].down = true
	require.Empty(t, forgotten(s), "what can't be seen may be there")
}

// What a keeper has of a node that is on another host since, and healthy there, is forgotten too: a move that was
// killed at its end leaves it.
func TestANodeThatIsElsewhereIsForgotten(t *testing.T) {
	m := newModel(two...)
	s := onHosts(two, web(2))
	m.settle(s)
	require.Equal(t, "hn2", m.node(2).Host)
	here, there := m.hosts["hn1"].records, m.hosts["hn2"].records
	there["current/shop/web/2"] = fleet.CurrentRecord{Generation: 2}
	m.node(2).Generation = 2
	m.hosts["hn2"].state.Instances[0].Generation = 2
	for _, c := range []struct {
		left int
		want []string
	}{
		{1, []string{"current/shop/web/2", "restart/shop/web/2"}},
		{2, []string{"restart/shop/web/2"}}, // which of them is right isn't known
	} {
		here["current/shop/web/2"], here["restart/shop/web/2"] = fleet.CurrentRecord{Generation: c.left}, fleet.RestartRecord{}
		var keys []string
		for _, r := range plan.Compute(input(s, m.observe())).Records {
			if r.Host == "hn1" && r.Value == nil {
				keys = append(keys, r.Key)
			}
		}
		require.Equal(t, c.want, keys)
	}
	delete(there, "current/shop/web/2") // it has never been healthy there
	here["current/shop/web/2"] = fleet.CurrentRecord{Generation: 1}
	for _, r := range plan.Compute(input(s, m.observe())).Records {
		require.NotNil(t, r.Value, r.Key)
	}
}

// While no keeper says which instance of a node is its current one, what was stopped for a newer one stays: that may not
// have been healthy yet.
func TestWhatIsSupersededStaysWhileNoKeeperSaysSo(t *testing.T) {
	m := newModel("hn1")
	s := onHosts(one, web(1))
	m.settle(s)
	old := *m.node(1)
	m.node(1).Generation, m.node(1).ID, m.node(1).Name = 2, "newer", old.Name+"-2"
	old.State = fleet.StateExited
	m.hosts["hn1"].state.Instances = append(m.hosts["hn1"].state.Instances, old)
	removed := func() (ids []string) {
		for _, op := range plan.Compute(input(s, m.observe())).Hosts {
			if op.Operation == "remove" {
				ids = append(ids, op.Instance.ID)
			}
		}
		return ids
	}
	m.hosts["hn1"].records["current/shop/web/1"] = fleet.CurrentRecord{Generation: 2}
	require.Equal(t, []string{old.ID}, removed())
	delete(m.hosts["hn1"].records, "current/shop/web/1")
	require.Empty(t, removed())
}
