package plan_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

var allHosts = []string{"hn1", "hn2", "hn3"}

// drawLayer draws a layer from few values, so that two draws are often alike.
func drawLayer(t *rapid.T, name string, hosts int) spec.Layer {
	return testLayer(name, rapid.IntRange(0, 4).Draw(t, "replicas"), func(l *spec.Layer) {
		l.Image = fmt.Sprintf("registry.example.com/shop/%s:%d", name, rapid.IntRange(1, 2).Draw(t, "image"))
		l.Env["LEVEL"] = rapid.SampledFrom([]string{"info", "debug"}).Draw(t, "env")
		l.Restart = rapid.SampledFrom([]string{"", "again"}).Draw(t, "restart")
		l.Limit.Memory = rapid.SampledFrom([]spec.Bytes{0, 256 * mi, 512 * mi}).Draw(t, "memory")
		l.Limit.CPU = rapid.SampledFrom([]spec.MilliCPU{0, 500, 64000}).Draw(t, "cpu")
		l.Update.MaxUnavailable = rapid.IntRange(1, 2).Draw(t, "maxUnavailable")
		if rapid.Bool().Draw(t, "volumes") {
			l.Volumes = []spec.Volume{{Name: "data", Path: "/data", OnRemove: rapid.SampledFrom([]spec.OnRemove{spec.OnRemoveKeep, spec.OnRemoveDelete}).Draw(t, "onRemove")}}
		}
		if l.Replicas <= hosts && rapid.Bool().Draw(t, "antiAffinity") {
			l.Placement.AntiAffinity = spec.AntiAffinityRequired
		}
		if rapid.IntRange(0, 3).Draw(t, "labels") == 0 {
			l.Placement.Hosts = map[string]string{"zone": "a"}
			l.Placement.AntiAffinity = spec.AntiAffinityPreferred
		}
	})
}

func drawSpec(t *rapid.T) *spec.Spec {
	s := testSpec(allHosts)
	s.Fleet.PruneMaxShare = rapid.SampledFrom([]int{0, 30, 50, 100, 100, 100}).Draw(t, "maxShare")
	s.Fleet.Hosts[0].Labels = map[string]string{"zone": "a"}
	if rapid.Bool().Draw(t, "second in zone") {
		s.Fleet.Hosts[1].Labels = map[string]string{"zone": "a"}
	}
	if rapid.IntRange(0, 3).Draw(t, "cordon") == 0 {
		s.Fleet.Hosts[2].State = spec.HostCordoned
	}
	for _, env := range []string{"bank", "shop"} {
		if rapid.IntRange(0, 4).Draw(t, env+" absent") == 0 {
			continue
		}
		e := spec.Environment{Name: env}
		for _, name := range []string{"db", "web"} {
			if rapid.IntRange(0, 4).Draw(t, name+" absent") > 0 {
				e.Layers = append(e.Layers, drawLayer(t, name, 2))
				withConf(&e.Layers[len(e.Layers)-1])
			}
		}
		if len(e.Layers) > 0 {
			s.Environments = append(s.Environments, e)
		}
	}
	return s
}

// harm does what people, crashes and bad luck do to a fleet.
func (m *model) harm(t *rapid.T) {
	h := m.hosts[rapid.SampledFrom(allHosts).Draw(t, "harmed")]
	if h.down {
		return
	}
	switch rapid.IntRange(0, 12).Draw(t, "harm") {
	case 0:
		for i := range h.state.Instances {
			h.state.Instances[i].State = fleet.StateExited
		}
	case 1:
		if len(h.state.Instances) > 0 {
			h.remove(h.state.Instances[rapid.IntRange(0, len(h.state.Instances)-1).Draw(t, "removed")].ID)
		}
	case 2:
		h.records = map[string]any{} // the keeper's volume is lost
		if h.keeper != nil {
			h.keeper.Copy = fleet.Copy{}
		}
	case 3:
		h.state.Keepers, h.keeper = nil, nil
	case 4:
		if len(h.state.Keepers) > 0 {
			h.state.Keepers[0].State, h.keeper = fleet.StateExited, nil
		}
	case 5:
		for i := range h.state.Instances {
			in := &h.state.Instances[i]
			in.Name, in.Renamed = "other"+in.ID, in.Name
		}
	case 6:
		for i := range h.state.Instances {
			h.state.Instances[i].RestartPolicy, h.state.Instances[i].OtherNetworks = "no", []string{"b", "c"}
		}
	case 7: // also while they don't run: they are started on their network
		for i := range h.state.Instances {
			h.state.Instances[i].Network, h.state.Instances[i].Address = "", netip.Addr{}
			h.state.Instances[i].State = rapid.SampledFrom([]fleet.State{fleet.StateRunning, fleet.StateExited}).Draw(t, "state")
		}
	case 8:
		for i := range h.state.Instances {
			h.state.Instances[i].Limits.Memory += 64 * mi
		}
	case 9:
		if len(h.state.Keepers) > 0 {
			delete(h.state.Keepers[0].Networks, fleet.UplinkName(m.name))
		}
	case 11:
		if len(h.state.Keepers) > 0 {
			h.state.Keepers[0].Name = "mine"
		}
	case 10:
		for i := range h.state.Instances {
			m.changeFile(&h.state.Instances[i], fleet.File{Missing: true})
		}
	}
}

// alike is what must be the same however the model came to it. Where a new node is isn't: what a crash left
// undone is placed by what is there by then.
func (m *model) alike() []string {
	var all []string
	for _, h := range m.hosts {
		for _, in := range h.state.Instances {
			all = append(all, fmt.Sprintf("%s %s %s %+v", in.NodeID, in.Spec, in.State, in.Limits))
		}
	}
	slices.Sort(all)
	return all
}

// noSecondCopies checks that of no node two instances run, also on hosts that don't answer.
func (m *model) noSecondCopies(t require.TestingT) {
	running := map[fleet.NodeID]string{}
	for _, name := range m.names() {
		for _, in := range m.hosts[name].state.Instances {
			if in.Running() {
				require.Empty(t, running[in.NodeID], "%s runs twice", in.NodeID)
				running[in.NodeID] = in.Name
			}
		}
	}
}

func TestPassesConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(allHosts...)
		for range rapid.IntRange(1, 4).Draw(t, "commits") {
			s := drawSpec(t)
			passes, last := m.settle(s)
			if passes > 4 {
				t.Fatalf("not converged after %d passes: %s", passes, asJSON(t, last))
			}
			checkWanted(t, m, s, last)
			m.harm(t)
		}
	})
}

// checkWanted checks that what is wanted is there, and nothing else unless the plan said so.
func checkWanted(t *rapid.T, m *model, s *spec.Spec, last plan.Plan) {
	m.noSecondCopies(t)
	waiting := map[fleet.NodeID]bool{}
	for _, l := range last.Layers {
		for _, w := range l.Waiting {
			waiting[fleet.NodeID{Environment: l.Environment, Layer: l.Layer, Node: w.Node}] = true
		}
	}
	wanted := map[fleet.NodeID]string{}
	for _, e := range s.Environments {
		for _, l := range e.Layers {
			for n := 1; n <= l.Replicas; n++ {
				wanted[fleet.NodeID{Environment: e.Name, Layer: l.Name, Node: n}] = l.Hash
			}
		}
	}
	for _, h := range m.hosts {
		for _, in := range h.state.Instances {
			if hash, ok := wanted[in.NodeID]; ok {
				require.Equal(t, hash, in.Spec, "%s isn't what is written", in.Name)
				require.Equal(t, fleet.StateRunning, in.State, in.Name)
				require.Equal(t, fleet.ContainerName(m.name, in.NodeID, in.Generation), in.Name)
				require.Equal(t, plan.RestartPolicy, in.RestartPolicy, in.Name)
				require.Equal(t, fleet.NetworkName(m.name, in.Environment), in.Network, in.Name)
				require.Empty(t, in.OtherNetworks, in.Name)
				delete(wanted, in.NodeID)
			} else if !strings.Contains(strings.Join(last.Refused, ""), "prune.maxShare") {
				t.Fatalf("%s is left over: %s", in.Name, asJSON(t, last))
			}
		}
	}
	for id := range wanted {
		if !waiting[id] {
			t.Fatalf("%s is neither there nor does it wait: %s", id, asJSON(t, last))
		}
	}
}

func asJSON(t require.TestingT, p plan.Plan) string {
	raw, err := json.MarshalIndent(p, "", " ")
	require.NoError(t, err)
	return string(raw)
}

func TestACrashAnywhereLeadsToTheSameEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole, cut := newModel(allHosts...), newModel(allHosts...)
		first, second := drawSpec(t), drawSpec(t)
		first.Fleet.PruneMaxShare, second.Fleet.PruneMaxShare = 100, 100
		whole.settle(first)
		cut.settle(first)
		whole.settle(second)
		for range rapid.IntRange(1, 3).Draw(t, "crashes") {
			steps := cut.steps(plan.Compute(input(second, cut.observe())))
			for _, do := range steps[:rapid.IntRange(0, len(steps)).Draw(t, "done")] {
				do()
			}
		}
		passes, last := cut.settle(second)
		if passes > 4 {
			t.Fatalf("not converged after %d passes: %s", passes, asJSON(t, last))
		}
		require.Equal(t, whole.alike(), cut.alike())
		cut.noSecondCopies(t)
	})
}

// TestWhatARolloutLeftRunningIsNoHindrance: whatever candidates of other revisions run when a commit comes, the
// containers that it asks for find their addresses free. The model panics where one doesn't.
func TestWhatARolloutLeftRunningIsNoHindrance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(allHosts...)
		m.settle(drawSpec(t))
		for range rapid.IntRange(1, 3).Draw(t, "overtaken") {
			s := drawSpec(t)
			p := plan.Compute(input(s, m.observe()))
			steps := m.steps(p)
			for _, do := range steps[:rapid.IntRange(0, len(steps)).Draw(t, "done")] {
				do()
			}
			m.tell(s, p)
		}
		s := drawSpec(t)
		passes, last := m.settle(s)
		if passes > 4 {
			t.Fatalf("not converged after %d passes: %s", passes, asJSON(t, last))
		}
		checkWanted(t, m, s, last)
	})
}

func TestHostsOutOfReachAreLeftAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(allHosts...)
		m.settle(drawSpec(t))
		down := m.hosts[rapid.SampledFrom(allHosts).Draw(t, "down")]
		down.down = true
		before := asText(t, down.state)
		// The model panics where anything touches the host.
		for range rapid.IntRange(1, 3).Draw(t, "commits") {
			s := drawSpec(t)
			m.settle(s)
			m.noSecondCopies(t)
		}
		require.Equal(t, before, asText(t, down.state))
		down.down = false
		s := drawSpec(t)
		if passes, last := m.settle(s); passes > 4 {
			t.Fatalf("not converged after %d passes: %s", passes, asJSON(t, last))
		}
		m.noSecondCopies(t)
	})
}

func asText(t require.TestingT, v any) string {
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return string(raw)
}

func TestPermutedInputGivesTheSamePlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(allHosts...)
		m.settle(drawSpec(t))
		m.harm(t)
		in := input(drawSpec(t), m.observe())
		want := asText(t, plan.Compute(in))
		other := in
		s := *in.Desired
		s.Fleet.Hosts = rapid.Permutation(s.Fleet.Hosts).Draw(t, "hosts")
		s.Environments = rapid.Permutation(s.Environments).Draw(t, "environments")
		for i := range s.Environments {
			s.Environments[i].Layers = rapid.Permutation(s.Environments[i].Layers).Draw(t, "layers")
		}
		other.Desired = &s
		other.Observed.Hosts = rapid.Permutation(in.Observed.Hosts).Draw(t, "observed")
		for i := range other.Observed.Hosts {
			h := &other.Observed.Hosts[i]
			h.Instances = rapid.Permutation(h.Instances).Draw(t, "instances")
			h.Networks = rapid.Permutation(h.Networks).Draw(t, "networks")
			h.Volumes = rapid.Permutation(h.Volumes).Draw(t, "volumes")
		}
		require.Equal(t, want, asText(t, plan.Compute(other)))
	})
}

func TestServingNodesNeverFallBelowTheGuard(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(allHosts...)
		first := drawSpec(t)
		m.settle(first)
		o := m.observe()
		p := plan.Compute(input(drawSpec(t), o))
		for i := range p.Layers {
			checkGuard(t, o, &p.Layers[i])
		}
	})
}

func checkGuard(t *rapid.T, o fleet.Observed, l *plan.Layer) {
	serving := map[int]bool{}
	nodes := fleet.Nodes(o)
	for i := range nodes {
		if nodes[i].LayerID() == l.ID() && fleet.Serving(o, &nodes[i]) == "" {
			serving[nodes[i].Node] = true
		}
	}
	if l.Spec == nil {
		require.Zero(t, l.MinServing)
		return
	}
	before := len(serving)
	for _, op := range plan.Order(l.Operations) {
		require.Equal(t, serving[op.Node], op.Serving, "%s", op.ID)
		if op.Intrusive {
			delete(serving, op.Node)
			require.GreaterOrEqual(t, len(serving), l.MinServing)
		}
		if op.Kind != plan.Remove {
			serving[op.Node] = true
		}
	}
	if l.Spec.Replicas > 1 && before > 1 {
		require.Positive(t, l.MinServing, "%s/%s", l.Environment, l.Layer)
	}
	require.Equal(t, before > 0 && l.MinServing == 0, l.Downtime)
}

// Of a layer that serves with all its nodes, and changes all of them, as many go on serving as its policy
// leaves, and never none of several; worked out here in another way than the plan does.
func TestAsManyServeAsThePolicyLeaves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.IntRange(1, 7).Draw(t, "nodes")
		most := rapid.IntRange(1, 8).Draw(t, "maxUnavailable")
		strategy := rapid.SampledFrom([]spec.Strategy{spec.Sequential, spec.Simultaneous}).Draw(t, "strategy")
		policy := func(l *spec.Layer) { l.Update.Strategy, l.Update.MaxUnavailable = strategy, most }
		m := newModel("hn1")
		m.settle(onHosts(one, web(nodes, policy)))
		p := plan.Compute(input(onHosts(one, web(nodes, policy, newImage)), m.observe()))
		require.Len(t, p.Layers[0].Operations, nodes)

		left := 0
		if strategy == spec.Sequential && nodes > 1 {
			left = max(1, nodes-most)
		}
		require.Equal(t, left, p.Layers[0].MinServing)
		require.Equal(t, left == 0, p.Layers[0].Downtime)
	})
}

func TestTheLastNodeThatServesIsNotCountedOn(t *testing.T) {
	m, s := newModel("hn1"), onHosts(one, web(2))
	m.settle(s)
	m.node(1).Spec, m.node(1).Written = "v1:old", `{"image":"older"}`
	m.node(2).Health = fleet.HealthUnhealthy
	p := plan.Compute(input(s, m.observe()))
	require.Len(t, p.Layers[0].Operations, 1)
	require.True(t, operation(p, 1).Serving)
	require.Equal(t, 1, p.Layers[0].MinServing, "it isn't touched before the other one serves")
	require.False(t, p.Layers[0].Downtime)
}
