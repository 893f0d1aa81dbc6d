package plan_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// TestAnAddressThatAnotherNodeHas: whoever can't have its address any more gets another one, and nobody else is touched.
func TestAnAddressThatAnotherNodeHas(t *testing.T) {
	twin := func(m *model, change func(in *fleet.Instance)) {
		for i := range m.hosts["hn1"].state.Instances {
			if in := &m.hosts["hn1"].state.Instances[i]; in.Node == 2 {
				in.Address, in.CreatedAt = m.node(1).Address, m.tick()
				change(in)
			}
		}
	}
	exited := func(in *fleet.Instance) { in.State = fleet.StateExited }
	tests := []struct {
		name   string
		change func(m *model)
		plan   []string
	}{
		{"a node that was stopped", func(m *model) { twin(m, exited) },
			[]string{"redeploy shop/web/2 on hn1; address 10.112.0.17, which another node has>"}},
		{"a node that was never healthy", func(m *model) {
			delete(m.hosts["hn1"].records, "current/shop/web/2")
			twin(m, exited)
		}, []string{
			"create shop/web/2 on hn1; address 10.112.0.17, which another node has>", "remove container production_shop_web_2_g1 on hn1",
		}},
		{"the other one was stopped too, and is older", func(m *model) {
			m.node(1).State = fleet.StateExited
			twin(m, exited)
		}, []string{"redeploy shop/web/2 on hn1; address 10.112.0.17, which another node has>", "start shop/web/1 on hn1; state exited>running"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := newModel("hn1")
			s := onHosts(one, web(2))
			m.settle(s)
			test.change(m)
			p := plan.Compute(input(s, m.observe()))
			require.ElementsMatch(t, test.plan, normal(lines(p), m.node(1).Address))
			_, last := m.settle(s)
			require.Empty(t, lines(last))
			require.NotEqual(t, m.node(1).Address, m.node(2).Address)
		})
	}
}

// normal has one address read the same wherever the environment's subnet is.
func normal(lines []string, a netip.Addr) []string {
	for i := range lines {
		lines[i] = strings.ReplaceAll(lines[i], a.String(), "10.112.0.17")
	}
	return lines
}

func TestAnAddressThatIsAboutToBeTakenIsNotGivenAgain(t *testing.T) {
	m := newModel("hn1")
	s := onHosts(one, web(1))
	in := input(s, m.observe())
	first := plan.Compute(in).Layers[0].Operations[0].Container.Address
	in.Taken = []netip.Addr{first}
	require.NotEqual(t, first, plan.Compute(in).Layers[0].Operations[0].Container.Address)
}
