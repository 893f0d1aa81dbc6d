package plan_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

func TestSubnets(t *testing.T) {
	pool := func(s *spec.Spec, p string) *spec.Spec { s.Fleet.Network.Pool = netip.MustParsePrefix(p); return s }
	foreign := func(m *model, subnet string) {
		m.hosts["hn1"].state.Networks = append(m.hosts["hn1"].state.Networks, fleet.Network{Name: "theirs", Subnet: netip.MustParsePrefix(subnet)})
	}
	cases := []struct {
		name string
		harm func(m *model)
		spec *spec.Spec
		want string // the subnet; empty: there is none
	}{
		{"the only block", nil, pool(onHosts(one, web(1)), "10.200.0.0/22"), "10.200.0.0/22"},
		{"the block that is left", func(m *model) { foreign(m, "10.200.4.0/24") }, pool(onHosts(one, web(1)), "10.200.0.0/21"), "10.200.0.0/22"},
		{"the other one", func(m *model) { foreign(m, "10.200.1.128/25") }, pool(onHosts(one, web(1)), "10.200.0.0/21"), "10.200.4.0/22"},
		{"a network larger than the pool", func(m *model) { foreign(m, "10.0.0.0/8") }, pool(onHosts(one, web(1)), "10.200.0.0/21"), ""},
		{"the hosts' own addresses", nil, pool(onHosts(one, web(1)), "10.0.0.0/22"), ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newModel("hn1")
			if c.harm != nil {
				c.harm(m)
			}
			p := plan.Compute(input(c.spec, m.observe()))
			if c.want == "" {
				require.Contains(t, p.Layers[0].Waiting[0].Reason, "has no free /22 left")
				require.Empty(t, p.Networks)
				return
			}
			require.Equal(t, c.want, p.Networks[0].Subnet.String())
		})
	}
}

func TestNoTwoEnvironmentsShareASubnet(t *testing.T) {
	s := onHosts(one)
	s.Fleet.Network.Pool = netip.MustParsePrefix("10.200.0.0/20")
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		withEnvironment(s, name, web(1))
	}
	p := plan.Compute(input(s, newModel("hn1").observe()))
	taken := map[netip.Prefix]bool{}
	for _, n := range p.Networks {
		require.False(t, taken[n.Subnet])
		taken[n.Subnet] = true
	}
	require.Len(t, taken, 4)
	require.Len(t, p.Layers[4].Waiting, 1, "the pool has four")
}

func TestThePoolChangesUnderAnEnvironment(t *testing.T) {
	m := newModel("hn1")
	s := onHosts(one, web(1))
	m.settle(s)
	s.Fleet.Network.Pool = netip.MustParsePrefix("10.200.0.0/16")
	p := plan.Compute(input(s, m.observe()))
	require.Len(t, p.Refused, 1)
	require.Contains(t, p.Refused[0], "outside network.pool 10.200.0.0/16: put the pool back")
	require.Empty(t, lines(p))
}

func TestAddresses(t *testing.T) {
	m := newModel(two...)
	s := onHosts(two, web(4))
	s.Fleet.Network.Pool = netip.MustParsePrefix("10.200.0.0/22")
	m.settle(s)
	p := plan.Compute(input(s, m.observe()))
	require.Equal(t, []plan.EnvironmentNetwork{
		{
			Environment: "shop", Host: "hn1", Subnet: netip.MustParsePrefix("10.200.0.0/22"), Gateway: netip.MustParseAddr("10.200.0.1"),
			Keeper: netip.MustParseAddr("10.200.1.1"), IPRange: netip.MustParsePrefix("10.200.3.192/26"),
		},
		{
			Environment: "shop", Host: "hn2", Subnet: netip.MustParsePrefix("10.200.0.0/22"), Gateway: netip.MustParseAddr("10.200.0.2"),
			Keeper: netip.MustParseAddr("10.200.1.2"), IPRange: netip.MustParsePrefix("10.200.3.192/26"),
		},
	}, p.Networks)
	var addresses []string
	for n := 1; n <= 4; n++ {
		addresses = append(addresses, m.node(n).Address.String())
	}
	require.ElementsMatch(t, []string{"10.200.2.1", "10.200.2.2", "10.200.2.3", "10.200.2.4"}, addresses)

	t.Run("a redeploy keeps its node's", func(t *testing.T) {
		changed := onHosts(two, web(4, newImage))
		changed.Fleet.Network.Pool = s.Fleet.Network.Pool
		for _, op := range plan.Compute(input(changed, m.observe())).Layers[0].Operations {
			require.Equal(t, op.Instance.Address, op.Container.Address)
		}
	})
	t.Run("a new node doesn't get that of a node out of reach", func(t *testing.T) {
		m.hosts["hn2"].down = true
		more := onHosts(two, web(6))
		more.Fleet.Network.Pool = s.Fleet.Network.Pool
		for _, op := range plan.Compute(input(more, m.observe())).Layers[0].Operations {
			require.NotContains(t, addresses, op.Container.Address.String())
		}
		m.hosts["hn2"].down = false
	})
	t.Run("a new host doesn't get the place of one out of reach", func(t *testing.T) {
		m.hosts["hn1"].down = true
		m.hosts["hn3"] = newModel("hn3").hosts["hn3"]
		more := onHosts([]string{"hn1", "hn2", "hn3"}, web(6))
		more.Fleet.Network.Pool = s.Fleet.Network.Pool
		p := plan.Compute(input(more, m.observe()))
		at := slices.IndexFunc(p.Networks, func(n plan.EnvironmentNetwork) bool { return n.Host == "hn3" })
		require.Equal(t, "10.200.0.3", p.Networks[at].Gateway.String())
		require.Equal(t, "10.200.1.3", p.Networks[at].Keeper.String())
		m.hosts["hn1"].down = false
		delete(m.hosts, "hn3")
	})
	t.Run("a host keeps its index when another is added before it", func(t *testing.T) {
		m.hosts["hn0"] = newModel("hn0").hosts["hn0"]
		more := onHosts([]string{"hn0", "hn1", "hn2"}, web(6))
		more.Fleet.Network.Pool = s.Fleet.Network.Pool
		p := plan.Compute(input(more, m.observe()))
		require.Equal(t, "10.200.0.3", p.Networks[0].Gateway.String())
		require.Equal(t, "10.200.0.1", p.Networks[1].Gateway.String())
	})
}

func TestASubnetThatIsFull(t *testing.T) {
	m := newModel("hn1")
	m.hosts["hn1"].state.Engine = fleet.Engine{CPUs: 1000, Memory: 1000 * gi}
	p := plan.Compute(input(onHosts(one, web(460)), m.observe()))
	require.Len(t, p.Layers[0].Operations, 447)
	require.Len(t, p.Layers[0].Waiting, 13)
	require.Contains(t, p.Layers[0].Waiting[0].Reason, "no address is free in ")
}

func TestANetworkOfSomebodyElsesIsSaidOnce(t *testing.T) {
	m := newModel("hn1")
	m.hosts["hn1"].state.Networks = append(m.hosts["hn1"].state.Networks, fleet.Network{Name: "evenkeel_production_shop"})
	p := plan.Compute(input(onHosts(one, web(2), testLayer("db", 1)), m.observe()))
	require.Equal(t, []string{
		"hn1 has a network evenkeel_production_shop that isn't this fleet's, so environment shop can't have its own there: remove it (docker network rm evenkeel_production_shop), or give the environment another name",
	}, p.Refused)
	const wait = "the network of shop can't be made on hn1"
	require.Equal(t, []plan.Waits{{Nodes: []int{1}, Reason: wait}}, p.Layers[0].WaitingAlike())
	require.Equal(t, []plan.Waits{{Nodes: []int{1, 2}, Reason: wait}}, p.Layers[1].WaitingAlike())
}

// Where no subnet can be chosen, for an environment of several layers, that is said, and nothing of the pool.
func TestNoSubnetForSeveralLayers(t *testing.T) {
	m := newModel(two...)
	m.settle(onHosts(two)) // there is a keeper
	for _, h := range m.hosts {
		h.keeper.Copy = fleet.Copy{} // which knows of nothing
	}
	m.hosts["hn2"].down = true
	p := plan.Compute(input(onHosts(two, testLayer("db", 1), web(1)), m.observe()))
	for _, text := range p.Refused {
		require.NotContains(t, text, "network.pool")
	}
	require.Len(t, p.Layers, 2)
	for _, l := range p.Layers {
		require.Equal(t, "may be on hn2, which doesn't answer", l.Waiting[0].Reason)
	}
}
