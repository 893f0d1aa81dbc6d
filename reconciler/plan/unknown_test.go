package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// TestUnknownIsNotAbsent: hn2 carries shop/web/2 and doesn't answer.
func TestUnknownIsNotAbsent(t *testing.T) {
	cases := []struct {
		name    string
		harm    func(m *model)
		after   *spec.Spec
		want    []string
		refused string
	}{
		{"its node isn't created elsewhere", nil, onHosts(two, web(2)), []string{"shop/web/2 is on hn2, which doesn't answer"}, "hn2 doesn't answer"},
		{"nor is it removed", nil, onHosts(two, web(1)), []string{"shop/web/2 is on hn2, which doesn't answer"}, "hn2 doesn't answer"},
		{"the rest goes on", nil, onHosts(two, web(3)), []string{
			"create shop/web/3 on hn1; replicas 2>3", "shop/web/2 is on hn2, which doesn't answer",
		}, "hn2 doesn't answer"},
		{"without a copy what isn't seen may be there", func(m *model) { m.hosts["hn1"].keeper.Copy = fleet.Copy{} }, onHosts(two, web(2)), []string{
			"shop/web/2 may be on hn2, which doesn't answer",
		}, "hn2 doesn't answer"},
		{"without a copy no new environment gets a subnet", func(m *model) { m.hosts["hn1"].keeper.Copy = fleet.Copy{} },
			withEnvironment(onHosts(two, web(1)), "bank", web(1)), []string{
				"bank/web/1 may be on hn2, which doesn't answer",
			}, "hn2 doesn't answer"},
		{"with a copy a new environment gets one", nil, withEnvironment(onHosts(two, web(1)), "bank", web(1)), []string{
			"create bank/web/1 on hn1; environment >bank", "shop/web/2 is on hn2, which doesn't answer",
			"create network evenkeel_production_bank on hn1", "connect keeper evenkeel_production_bank on hn1",
		}, "hn2 doesn't answer"},
		{"an older container of it isn't started", func(m *model) {
			old := *m.node(2)
			old.Host, old.Generation, old.State = "hn1", 1, fleet.StateExited
			m.hosts["hn2"].state.Instances[0].Generation = 2
			m.hosts["hn1"].state.Instances = append(m.hosts["hn1"].state.Instances, old)
			for i := range m.hosts["hn1"].keeper.Copy.Nodes {
				if n := &m.hosts["hn1"].keeper.Copy.Nodes[i]; n.Node == 2 {
					n.Generation = 2
				}
			}
		}, onHosts(two, web(2)), []string{"shop/web/2 is on hn2, which doesn't answer"}, "hn2 doesn't answer"},
		{"a host taken out is gone for good", nil, onHosts(one, web(2)), []string{"create shop/web/2 on hn1; host hn2>hn1"}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newModel(two...)
			m.settle(onHosts(two, web(2)))
			require.Equal(t, "hn2", m.node(2).Host)
			if c.harm != nil {
				c.harm(m)
			}
			m.hosts["hn2"].down = true
			p := plan.Compute(input(c.after, m.observe()))
			require.Equal(t, c.want, lines(p))
			if c.refused == "" {
				require.Empty(t, p.Refused)
				return
			}
			require.Len(t, p.Refused, 1)
			require.Contains(t, p.Refused[0], c.refused)
		})
	}
}

func withEnvironment(s *spec.Spec, name string, layers ...spec.Layer) *spec.Spec {
	s.Environments = append(s.Environments, spec.Environment{Name: name, Layers: layers})
	return s
}

func TestANewFleetStartsWithoutAHostThatDoesNotAnswer(t *testing.T) {
	m := newModel(two...)
	m.hosts["hn2"].down = true
	p := plan.Compute(input(onHosts(two, web(1)), m.observe()))
	require.Contains(t, lines(p), "create shop/web/1 on hn1; environment >shop")
	require.Equal(t, []string{"hn2 doesn't answer and nothing of the fleet is known: what is on it is taken for empty"}, p.Warnings)
}

func TestAHostTakenOutOfTheSpec(t *testing.T) {
	t.Run("answers and carries nodes: refused as a whole", func(t *testing.T) {
		m := newModel(two...)
		m.settle(onHosts(two, web(2)))
		p := plan.Compute(input(onHosts(one, web(2, newImage)), m.observe()))
		require.Empty(t, lines(p))
		require.True(t, p.HasChanges)
		require.Equal(t, []string{"host hn2 was taken out of the spec and still carries shop/web/2: evacuate it first, or send its layers elsewhere with placement.hosts, then take it out"}, p.Refused)
		require.NotEmpty(t, p.Networks, "its keepers go on serving")
	})
	t.Run("answers and is empty", func(t *testing.T) {
		m := newModel(two...)
		m.settle(onHosts(two, web(1)))
		p := plan.Compute(input(onHosts(one, web(1)), m.observe()))
		require.Empty(t, p.Refused)
		require.False(t, p.HasChanges)
	})
	t.Run("is lost with volumes: its nodes wait", func(t *testing.T) {
		m := newModel(two...)
		data := func(l *spec.Layer) { l.Volumes = []spec.Volume{{Name: "data", Path: "/data"}} }
		m.settle(onHosts(two, web(2, data)))
		m.hosts["hn2"].down = true
		s := onHosts(one, web(2, data))
		m.settle(s)
		require.Equal(t, []string{
			"shop/web/2 was on hn2, which is gone, with its volumes (production_shop_web_2_data): bring the host back, or take the volumes out of the layer",
		}, lines(plan.Compute(input(s, m.observe()))))
	})
	t.Run("comes back after its nodes were placed elsewhere", func(t *testing.T) {
		m := newModel(two...)
		m.settle(onHosts(two, web(2)))
		m.hosts["hn2"].down = true
		s := onHosts(one, web(2))
		m.settle(s)
		require.Equal(t, "hn1", m.node(2).Host)
		require.Equal(t, 2, m.node(2).Generation)
		m.hosts["hn2"].down = false
		p := plan.Compute(input(s, m.observe()))
		require.Empty(t, lines(p))
		require.Empty(t, p.Refused)
	})
}

func TestVolumes(t *testing.T) {
	with := func(onRemove spec.OnRemove) func(*spec.Layer) {
		return func(l *spec.Layer) { l.Volumes = []spec.Volume{{Name: "data", Path: "/data", OnRemove: onRemove}} }
	}
	const removal = "remove volume production_shop_web_2_data on "
	t.Run("hold their node", func(t *testing.T) {
		m := newModel(two...)
		m.settle(onHosts(two, web(2, with(spec.OnRemoveKeep))))
		m.hosts["hn2"].state.Instances = nil
		require.Equal(t, []string{"create shop/web/2 on hn2; node missing>running"}, lines(plan.Compute(input(cordoned(onHosts(two, web(2, with(spec.OnRemoveKeep))), "hn2"), m.observe()))))
	})
	t.Run("on two hosts leave the choice to people", func(t *testing.T) {
		m := newModel(two...)
		s := onHosts(two, web(2, with(spec.OnRemoveKeep)))
		m.settle(s)
		m.hosts["hn2"].state.Instances = nil
		m.hosts["hn1"].state.Volumes = append(m.hosts["hn1"].state.Volumes, m.hosts["hn2"].state.Volumes...)
		require.Contains(t, lines(plan.Compute(input(s, m.observe()))), "shop/web/2 has volumes on hn1 and hn2: remove those that aren't the right ones")
	})
	cases := []struct {
		name    string
		commits []*spec.Spec
		removed bool
	}{
		{"are kept", []*spec.Spec{onHosts(one, web(2, with(spec.OnRemoveKeep))), onHosts(one, web(1, with(spec.OnRemoveKeep)))}, false},
		{"go with a node that is scaled away", []*spec.Spec{onHosts(one, web(2, with(spec.OnRemoveDelete))), onHosts(one, web(1, with(spec.OnRemoveDelete)))}, true},
		{"go with their environment", []*spec.Spec{onHosts(one, web(2, with(spec.OnRemoveDelete))), onHosts(one)}, true},
		{"are kept where that was the last wish", []*spec.Spec{onHosts(one, web(2, with(spec.OnRemoveDelete))), onHosts(one, web(2, with(spec.OnRemoveKeep))), onHosts(one)}, false},
		{"go where that was the last wish", []*spec.Spec{onHosts(one, web(2, with(spec.OnRemoveKeep))), onHosts(one, web(2, with(spec.OnRemoveDelete))), onHosts(one)}, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newModel("hn1")
			for _, s := range c.commits[:len(c.commits)-1] {
				m.settle(s)
			}
			last := c.commits[len(c.commits)-1]
			require.NotContains(t, lines(plan.Compute(input(last, m.observe()))), removal+"hn1", "not before its node is gone")
			m.pass(last)
			require.Nil(t, m.node(2))
			if c.removed {
				require.Contains(t, lines(plan.Compute(input(last, m.observe()))), removal+"hn1")
			} else {
				require.NotContains(t, lines(plan.Compute(input(last, m.observe()))), removal+"hn1")
			}
		})
	}
}
