package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

func TestPrune(t *testing.T) {
	share := func(s *spec.Spec, percent int) *spec.Spec { s.Fleet.PruneMaxShare = percent; return s }
	m := newModel("hn1")
	m.settle(onHosts(one, web(2), testLayer("db", 2)))
	t.Run("exactly the share", func(t *testing.T) {
		p := plan.Compute(input(share(onHosts(one, testLayer("db", 2)), 50), m.observe()))
		require.Empty(t, p.Refused)
		require.Len(t, p.Layers[0].Operations, 2)
	})
	t.Run("beyond it none is removed, and the rest goes on", func(t *testing.T) {
		p := plan.Compute(input(share(onHosts(one, testLayer("db", 2, newImage)), 49), m.observe()))
		require.Equal(t, []string{"would remove 2 of 4 nodes, more than prune.maxShare (49%) allows: none is removed; if that is meant, raise prune.maxShare in the Fleet or remove them in several commits"}, p.Refused)
		require.Len(t, p.Layers, 1)
		require.Equal(t, plan.Redeploy, p.Layers[0].Operations[0].Kind)
		require.Empty(t, p.Hosts)
	})
}

// again is the next plan of the same revision.
func again(m *model, s *spec.Spec, before plan.Plan) plan.Plan {
	in := input(s, m.observe())
	in.Weighed = before.Weighed
	return plan.Compute(in)
}

func removals(p plan.Plan) int {
	n := 0
	for i := range p.Layers {
		for _, op := range p.Layers[i].Operations {
			if op.Kind == plan.Remove {
				n++
			}
		}
	}
	return n
}

func pruneRefused(p plan.Plan) bool {
	return slices.ContainsFunc(p.Refused, func(r string) bool { return strings.Contains(r, "prune.maxShare") })
}

func TestPruneIsWeighedOncePerRevision(t *testing.T) {
	share := func(s *spec.Spec, percent int) *spec.Spec { s.Fleet.PruneMaxShare = percent; return s }
	t.Run("what was refused stays so when other nodes have been made", func(t *testing.T) {
		m := newModel("hn1")
		m.settle(onHosts(one, web(3), testLayer("db", 1)))
		s := share(onHosts(one, testLayer("db", 5)), 50)
		first := plan.Compute(input(s, m.observe()))
		require.True(t, pruneRefused(first))
		m.apply(first)
		p := again(m, s, first)
		require.Equal(t, first.Refused, p.Refused)
		require.Zero(t, removals(p))
		require.Empty(t, plan.Compute(input(s, m.observe())).Refused, "another revision is weighed anew")
	})
	t.Run("what was allowed stays so when other nodes are lost", func(t *testing.T) {
		m := newModel("hn1")
		m.settle(onHosts(one, web(2), testLayer("db", 2)))
		s := share(onHosts(one, testLayer("db", 2)), 50)
		first := plan.Compute(input(s, m.observe()))
		require.Equal(t, 2, removals(first))
		m.hosts["hn1"].state.Instances = slices.DeleteFunc(m.hosts["hn1"].state.Instances, func(in fleet.Instance) bool { return in.Layer == "db" })
		require.Equal(t, 2, removals(again(m, s, first)))
		require.True(t, pruneRefused(plan.Compute(input(s, m.observe()))), "another revision is weighed anew")
	})
	t.Run("what is found later is weighed with what was known", func(t *testing.T) {
		m := newModel("hn1", "hn2")
		m.settle(onHosts(two, web(4), testLayer("db", 4)))
		s := share(onHosts(two, testLayer("db", 4)), 50)
		for _, h := range m.hosts {
			h.keeper.Copy = fleet.Copy{}
		}
		found := m.hosts["hn2"].state.Instances
		m.hosts["hn2"].state.Instances = nil
		first := plan.Compute(input(s, m.observe()))
		require.Equal(t, 2, removals(first))
		require.Empty(t, first.Refused)
		m.apply(first)
		m.hosts["hn2"].state.Instances = append(m.hosts["hn2"].state.Instances, found[len(found)-2:]...)
		p := again(m, s, first)
		require.Equal(t, []string{"would remove 4 of 6 nodes, more than prune.maxShare (50%) allows: none is removed; if that is meant, raise prune.maxShare in the Fleet or remove them in several commits"}, p.Refused)
		require.Zero(t, removals(p))
	})
	t.Run("nodes on hosts out of reach are nodes too", func(t *testing.T) {
		m := newModel("hn1", "hn2")
		m.settle(onHosts(two, web(4), testLayer("db", 1)))
		s := share(onHosts(two, testLayer("db", 1)), 50)
		m.hosts["hn2"].down = true
		p := plan.Compute(input(s, m.observe()))
		require.Len(t, p.Refused, 2)
		require.Contains(t, p.Refused[0], "would remove 4 of 5 nodes")
		require.Zero(t, removals(p))
	})
}

// TestPruneStaysDecided carries plans out step by step, with bad luck between them: the decision is the one
// that the revision began with.
func TestPruneStaysDecided(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(allHosts...)
		m.settle(drawSpec(t))
		s := drawSpec(t)
		first := plan.Compute(input(s, m.observe()))
		p := first
		check := func() {
			next := again(m, s, p)
			require.Equal(t, first.Weighed, next.Weighed)
			if pruneRefused(first) {
				require.Zero(t, removals(next))
			} else {
				require.False(t, pruneRefused(next))
			}
		}
		for range rapid.IntRange(1, 2).Draw(t, "plans") {
			for _, do := range m.steps(p) {
				do()
				check()
			}
			m.harm(t)
			lost := m.hosts[rapid.SampledFrom(allHosts).Draw(t, "lost")]
			lost.down = true
			check()
			lost.down = false
			p = again(m, s, p)
		}
	})
}

func TestPruneIsNeverExceededAndNothingForeignTouched(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(allHosts...)
		for _, h := range m.hosts {
			h.state.Networks = append(h.state.Networks,
				fleet.Network{Name: "evenkeel_other_shop", Fleet: "other", Environment: "shop"}, fleet.Network{Name: "mine"})
			h.state.OtherFleets = map[string]int{"other": 2}
		}
		m.settle(drawSpec(t))
		s := drawSpec(t)
		o := m.observe()
		nodes := len(fleet.Nodes(o))
		p := plan.Compute(input(s, o))
		removals := 0
		for _, l := range p.Layers {
			for _, op := range l.Operations {
				if op.Kind == plan.Remove {
					removals++
				}
			}
		}
		require.LessOrEqual(t, removals*100, nodes*s.Fleet.PruneMaxShare)
		for _, op := range p.Hosts {
			require.NotContains(t, []string{"evenkeel_other_shop", "mine", "bridge"}, op.Name)
		}
	})
}
