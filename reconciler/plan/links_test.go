package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

func TestLinks(t *testing.T) {
	running := fleet.LinksContainer{ID: "l", Name: "evenkeel-links-production", Version: 3, State: fleet.StateRunning, RestartPolicy: "always"}
	with := func(change func(*fleet.LinksContainer)) *fleet.LinksContainer {
		l := running
		change(&l)
		return &l
	}
	for _, test := range []struct {
		name   string
		driver spec.NetworkDriver
		there  *fleet.LinksContainer
		want   string // what is done with it; empty: nothing
	}{
		{"hosts that aren't joined", spec.NetworkBridge, nil, ""},
		{"hosts that aren't to be joined any more", spec.NetworkBridge, &running, "remove"},
		{"none yet", spec.NetworkVXLAN, nil, "create"},
		{"all is well", spec.NetworkVXLAN, &running, ""},
		{"stopped", spec.NetworkVXLAN, with(func(l *fleet.LinksContainer) { l.State = fleet.StateExited }), "start"},
		{"paused", spec.NetworkVXLAN, with(func(l *fleet.LinksContainer) { l.State = fleet.StatePaused }), "start"},
		{"coming back", spec.NetworkVXLAN, with(func(l *fleet.LinksContainer) { l.State = fleet.StateRestarting }), ""},
		{"older", spec.NetworkVXLAN, with(func(l *fleet.LinksContainer) { l.Version = 2 }), "replace"},
		{"newer", spec.NetworkVXLAN, with(func(l *fleet.LinksContainer) { l.Version = 4 }), ""},
		{"not back with its host", spec.NetworkVXLAN, with(func(l *fleet.LinksContainer) { l.RestartPolicy = "no" }), "update"},
		{"under another name", spec.NetworkVXLAN, with(func(l *fleet.LinksContainer) { l.Name = "mine" }), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newModel("hn1")
			s := onHosts(one, web(1))
			m.settle(s)
			s.Fleet.Network.Driver = test.driver
			m.hosts["hn1"].state.Links = test.there
			var want []string
			if test.want != "" {
				want = []string{test.want + " links evenkeel-links-production on hn1"}
			}
			require.Equal(t, want, lines(plan.Compute(input(s, m.observe()))))
		})
	}
}

func TestNetworkMTU(t *testing.T) {
	there := fleet.Observed{Hosts: []fleet.HostState{{Name: "hn1", Networks: []fleet.Network{
		{Name: fleet.NetworkName("production", "shop"), Fleet: "production", Environment: "shop", MTU: 1350},
		{Name: fleet.NetworkName("production", "old"), Fleet: "production", Environment: "old"},
	}}}}
	for _, test := range []struct {
		environment string
		carries     []int
		want        int
	}{
		{"shop", []int{9000}, 1350},
		{"old", []int{1500}, 1500},
		{"blog", nil, 1450},
		{"blog", []int{0, 1400, 1500}, 1350},
		{"blog", []int{9000, 9000}, 1450},
	} {
		require.Equal(t, test.want, plan.NetworkMTU(there, "production", test.environment, test.carries), "%+v", test)
	}
}
