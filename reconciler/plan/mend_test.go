package plan_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

const (
	shopNetwork = "evenkeel_production_shop"
	webOne      = "production_shop_web_1_g1"
)

func renamed(m *model) { m.node(1).Name, m.node(1).Renamed = "mine", webOne }

func impose(m *model) { m.node(1).Imposed = []fleet.Imposed{{Field: "cpuset-cpus", Value: "0"}} }

func cutOff(m *model) { m.node(1).Network, m.node(1).Address = "", netip.Addr{} }

func TestWhatWasChangedByHandIsPutBack(t *testing.T) {
	tests := []struct {
		name   string
		change func(m *model)
		want   []string
		causes []plan.Cause
	}{
		{"renamed", renamed, []string{"rename container mine on hn1"}, []plan.Cause{{Field: "name", From: "mine", To: webOne}}},
		{"restart policy", func(m *model) { m.node(1).RestartPolicy = "no" }, []string{"update container " + webOne + " on hn1"},
			[]plan.Cause{{Field: "restart policy", From: "no", To: plan.RestartPolicy}}},
		{"on networks of others", func(m *model) { m.node(1).OtherNetworks = []string{"a", "b"} }, []string{
			"disconnect container " + webOne + " on hn1", "disconnect container " + webOne + " on hn1",
		}, []plan.Cause{{Field: "network", From: "a"}, {Field: "network", From: "b"}}},
		{"off its network", cutOff, []string{"connect container " + webOne + " on hn1"}, []plan.Cause{{Field: "network", To: shopNetwork}}},
		{"off its network and stopped", func(m *model) { cutOff(m); m.node(1).State = fleet.StateExited }, []string{
			"shop/web/1 is started once it is back on its network", "connect container " + webOne + " on hn1",
		}, []plan.Cause{{Field: "network", To: shopNetwork}}},
		{"its network was removed and made anew by hand", func(m *model) {
			m.node(1).NetworkID = "old"
			for i := range m.hosts["hn1"].state.Networks {
				m.hosts["hn1"].state.Networks[i].ID = "new"
			}
		}, []string{"connect container " + webOne + " on hn1"}, []plan.Cause{{Field: "network", To: shopNetwork}}},
		{"the keeper is off its way out", func(m *model) {
			delete(m.hosts["hn1"].state.Keepers[0].Networks, "0-evenkeel-production")
		}, []string{"connect keeper 0-evenkeel-production on hn1"}, nil},
		{"swap and processes", func(m *model) { m.node(1).Limits.Swap, m.node(1).Limits.PidsLimit = fleet.AnySwap, 0 }, []string{
			"resize shop/web/1 on hn1; limit.swap any amount>; limit.pids >4096 processes",
		}, nil},
		{"the keeper's restart policy", func(m *model) { m.hosts["hn1"].state.Keepers[0].RestartPolicy = "no" }, []string{
			"update keeper evenkeel-keeper-production on hn1",
		}, []plan.Cause{{Field: "restart policy", From: "no", To: plan.KeeperRestartPolicy}}},
		{"the keeper renamed", func(m *model) { m.hosts["hn1"].state.Keepers[0].Name = "mine" }, []string{
			"rename keeper evenkeel-keeper-production on hn1",
		}, nil},
		{"the keeper is on a network of others", func(m *model) {
			m.hosts["hn1"].state.Keepers[0].Networks["bridge"] = netip.Addr{}
		}, []string{"disconnect keeper bridge on hn1"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newModel("hn1")
			m.settle(onHosts(one, web(1)))
			id := m.node(1).ID
			tt.change(m)
			p := plan.Compute(input(onHosts(one, web(1)), m.observe()))
			require.Equal(t, tt.want, lines(p))
			var causes []plan.Cause
			for _, op := range p.Hosts {
				causes = append(causes, op.Causes...)
			}
			require.Equal(t, tt.causes, causes)
			m.settle(onHosts(one, web(1)))
			require.Equal(t, id, m.node(1).ID, "nothing is made anew for it")
			require.Empty(t, lines(plan.Compute(input(onHosts(one, web(1)), m.observe()))))
		})
	}
}

func TestWhatIsNotToBePutBack(t *testing.T) {
	all := func(m *model) {
		renamed(m)
		cutOff(m)
		m.node(1).RestartPolicy, m.node(1).OtherNetworks = "no", []string{"a"}
	}
	tests := []struct {
		name   string
		change func(m *model)
		spec   *spec.Spec
		want   []string
	}{
		{"where drift is only reported", all, reportOnly(onHosts(one, web(1))), nil},
		{"of a node that gets a new container", all, onHosts(one, web(1, newImage)), []string{
			"redeploy shop/web/1 on hn1; image registry.example.com/shop/web:1>registry.example.com/shop/web:2",
		}},
		{"of a node that goes", all, onHosts(one, testLayer("db", 0)), []string{"remove shop/web/1 on hn1; layer web>"}},
		{"while the keeper is mute", func(m *model) { all(m); m.hosts["hn1"].keeper = nil }, onHosts(one, web(1)), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newModel("hn1")
			m.settle(onHosts(one, web(1)))
			tt.change(m)
			require.Equal(t, tt.want, lines(plan.Compute(input(tt.spec, m.observe()))))
		})
	}
}

// applied is what the keeper of a host knows of the layer's last spec.
func (m *model) applied(host string) fleet.AppliedRecord {
	r, _ := m.hosts[host].records[fleet.AppliedKey(fleet.LayerID{Environment: "shop", Layer: "web"})].(fleet.AppliedRecord)
	return r
}

func TestWhatWasCarriedOutIsNoted(t *testing.T) {
	m := newModel("hn1")
	first, second := onHosts(one, web(1)), onHosts(one, web(1, func(l *spec.Layer) { l.Limit.Memory = 512 * mi }))
	// The hash is the same: it is the Fleet's cloudlet that has grown.
	m.settle(first)
	require.Equal(t, fleet.AppliedOf(&first.Environments[0].Layers[0]), m.applied("hn1"))

	for _, r := range plan.Compute(input(second, m.observe())).Records {
		m.record(r)
	}
	require.Empty(t, m.applied("hn1"), "forgotten as soon as it isn't what is wanted, else going back would look like drift")
	m.settle(second)
	require.Equal(t, fleet.AppliedOf(&second.Environments[0].Layers[0]), m.applied("hn1"))
	m.settle(onHosts(one, testLayer("db", 1)))
	require.Empty(t, m.applied("hn1"), "a layer that is gone was never carried out")
}
