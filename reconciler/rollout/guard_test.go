package rollout

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

func TestGuard(t *testing.T) {
	layer := plan.Layer{Spec: &spec.Layer{Update: spec.UpdatePolicy{MaxUnavailable: 1}}}
	two := plan.Layer{Spec: &spec.Layer{Update: spec.UpdatePolicy{MaxUnavailable: 2}}}
	tests := []struct {
		name    string
		layer   plan.Layer
		serving map[int]bool
		busy    map[int]bool
		node    int
		gentle  bool
		want    string
	}{
		{"one node has no guard", layer, map[int]bool{1: true}, nil, 1, false, ""},
		{"a node that doesn't serve has none", layer, map[int]bool{1: false, 2: false}, nil, 1, false, ""},
		{"another serves", layer, map[int]bool{1: true, 2: true}, nil, 1, false, ""},
		{"the only one that serves waits", layer, map[int]bool{1: true, 2: false}, nil, 1, false, "only one"},
		{"too many would be down", layer, map[int]bool{1: true, 2: true, 3: false}, nil, 1, false, "2 of 3"},
		{"a node at hand counts as down", layer, map[int]bool{1: true, 2: true, 3: true}, map[int]bool{3: true}, 1, false, "2 of 3"},
		{"two may be down", two, map[int]bool{1: true, 2: true, 3: false}, nil, 1, false, ""},
		{"two may be down, but never the last", two, map[int]bool{1: true, 2: false}, nil, 1, false, "only one"},
		{"a removed layer has none", plan.Layer{Removed: true}, map[int]bool{1: true, 2: false}, nil, 1, false, ""},
		{"what interrupts nothing has none", layer, map[int]bool{1: true, 2: false}, nil, 1, true, ""},
	}
	unknown := View{Plan: layer, Serving: map[int]bool{1: true, 2: false}, Unknown: map[int]bool{2: true}}
	require.Contains(t, guard(unknown, plan.Operation{Node: 1, Intrusive: true}, nil), "only one", "another of which nothing is known doesn't count")
	require.Contains(t, guard(unknown, plan.Operation{Node: 2, Intrusive: true}, map[int]bool{1: true}), "only one", "one of which nothing is known may serve")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := guard(View{Plan: test.layer, Serving: test.serving}, plan.Operation{Node: test.node, Intrusive: !test.gentle}, test.busy)
			if test.want == "" {
				require.Empty(t, got)
				return
			}
			require.Contains(t, got, test.want)
		})
	}
}

// TestANodeOfWhichNothingIsKnownHoldsUpNoOther that may go.
func TestANodeOfWhichNothingIsKnownHoldsUpNoOther(t *testing.T) {
	l := plan.Layer{Spec: &spec.Layer{LayerHash: "h1", Update: spec.UpdatePolicy{Strategy: spec.Sequential, MaxUnavailable: 1}}}
	for n := 1; n <= 3; n++ {
		l.Operations = append(l.Operations, plan.Operation{Node: n, Kind: plan.Redeploy, Intrusive: true, Serving: n == 1})
	}
	turns := &turn{worker: &Worker{}}
	view := View{Plan: l, Serving: map[int]bool{1: true, 2: false, 3: false}, Unknown: map[int]bool{3: true}}
	op, _ := turns.pick(view)
	require.Equal(t, 2, op.Node)
	view.Plan.Operations = slices.Delete(l.Operations, 1, 2)
	op, reason := turns.pick(view)
	require.Nil(t, op)
	require.Contains(t, reason, "2 of 3 nodes would not serve")
}
