package plan_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/reconciler/drift"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

func (m *model) drift(s *spec.Spec) drift.Report {
	return drift.Compute(drift.Input{Desired: s, Observed: fleet.PutAside(m.observe()), Now: m.now})
}

// What a commit explains is no drift: neither what it made, nor what it has yet to make, nor what a
// rollout of it that was cut short anywhere leaves.
func TestWhatACommitExplainsIsNoDrift(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(allHosts...)
		none := func(s *spec.Spec, when string) {
			if r := m.drift(s); len(r.Drift) > 0 {
				t.Fatalf("%s: %+v", when, r.Drift)
			}
		}
		first, second := drawSpec(t), drawSpec(t)
		none(first, "before anything was made")
		m.settle(first)
		none(first, "once it is as the commit says")
		none(second, "before the next commit is carried out")
		for range rapid.IntRange(1, 3).Draw(t, "crashes") {
			p := plan.Compute(input(second, m.observe()))
			steps := m.steps(p)
			for _, do := range steps[:rapid.IntRange(0, len(steps)).Draw(t, "done")] {
				do()
				none(second, "half way")
			}
			m.tell(second, p)
			none(second, "half way, told")
		}
		m.settle(second)
		none(second, "in the end")
		none(first, "should the commit be taken back")
	})
}

// What was broken is found, or there is nothing to heal, and nothing is found any more once it was healed.
func TestDriftIsFoundAndHealed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(allHosts...)
		s := drawSpec(t)
		m.settle(s)
		m.harm(t)
		p := plan.Compute(input(s, m.observe()))
		heals := len(p.Hosts)
		for _, l := range p.Layers {
			heals += len(l.Operations)
		}
		if found := len(m.drift(s).Drift); (heals > 0) != (found > 0) {
			t.Fatalf("%d found, %d to heal: %s", found, heals, asJSON(t, p))
		}
		m.settle(s)
		if r := m.drift(s); len(r.Drift) > 0 {
			t.Fatalf("not healed: %+v", r.Drift)
		}
	})
}
