package integration

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// asMade says why a node's container isn't as it was made.
func (s *site) asMade(was, is fleet.Instance) error {
	switch {
	case is.ID != was.ID || !is.StartedAt.Equal(was.StartedAt):
		return fmt.Errorf("it was touched: %+v", is)
	case is.Name != was.Name, is.RestartPolicy != was.RestartPolicy, is.Network != was.Network, is.Limits != was.Limits,
		is.State != was.State, len(is.OtherNetworks) > 0, !is.Address.IsValid():
		return fmt.Errorf("not put back: %+v", is)
	}
	return nil
}

func TestRunPutsBackWhatWasChangedByHand(t *testing.T) {
	t.Parallel()
	h := lab.Host(3)
	s := newSite(t, h)
	s.environment("shop", webAndClient(1, "", "minHealthy: 0s, delay: 0s"))
	l := s.run("--interval", "10m") // what is seen, is seen by events
	l.converged()
	s.answered(h, 3)
	victim := s.node(h, "web", 2)
	for _, hand := range [][]string{
		{"rename", victim.ID, s.fleet + "-mine"},
		{"update", "--restart", "no", victim.ID},
		{"network", "connect", "bridge", victim.ID},
		{"network", "disconnect", s.network("shop"), victim.ID},
		{"pause", victim.ID},
	} {
		byHand(t, h, hand...)
		eventually(t, patience, func() error { return s.asMade(victim, s.node(h, "web", 2)) })
		l.until(patience, func(st reconciler.Status) error { return unless(st.Converged, "not converged") })
		s.answered(h, 3)
		t.Logf("docker %v: put back", hand)
	}

	keeper := fleet.KeeperName(s.fleet)
	byHand(t, h, "network", "connect", "bridge", keeper)
	byHand(t, h, "network", "disconnect", fleet.UplinkName(s.fleet), keeper)
	byHand(t, h, "network", "disconnect", s.network("shop"), keeper)
	eventually(t, patience, func() error {
		networks := s.observe(h).Keepers[0].Networks
		_, way := networks[fleet.UplinkName(s.fleet)]
		return unless(way && networks[s.network("shop")].IsValid() && len(networks) == 2, fmt.Sprint(networks))
	})
	s.answered(h, 3)
}

func TestANetworkThatWasRemovedIsMadeAnew(t *testing.T) {
	t.Parallel()
	h := lab.Host(2)
	s := newSite(t, h)
	s.environment("shop", webAndClient(1, "", "minHealthy: 0s, delay: 0s"))
	s.apply()
	before := s.observe(h).Instances
	for _, in := range before {
		byHand(t, h, "stop", "-t", "0", in.ID)
	}
	byHand(t, h, "network", "disconnect", s.network("shop"), fleet.KeeperName(s.fleet))
	byHand(t, h, "network", "rm", s.network("shop"))
	s.apply()
	for i, in := range s.observe(h).Instances {
		require.Equal(t, before[i].ID, in.ID, "nothing was made anew but the network")
		require.Equal(t, before[i].Address, in.Address)
	}
	s.answered(h, 3)
}

func TestStrangersAreLeftAlone(t *testing.T) {
	t.Parallel()
	h := lab.Host(1)
	s := newSite(t, h)
	s.environment("shop", fmt.Sprintf(oneWeb, 1))
	s.apply()
	node := s.node(h, "web", 1)
	labels := []string{}
	for _, label := range []string{fleet.LabelFleet + "=" + s.fleet, fleet.LabelEnvironment + "=shop", fleet.LabelLayer + "=web", fleet.LabelNode + "=1",
		fleet.LabelSpec + "=" + node.Spec} {
		labels = append(labels, "--label", label)
	}
	run := func(name string, more ...string) {
		byHand(t, h, append(append(append([]string{"run", "-d", "--name", s.fleet + name}, labels...), more...), "node:1")...)
		t.Cleanup(func() { byHand(t, h, "rm", "-f", s.fleet+name) })
	}
	run("-without-generation")
	run("-like-the-node", "--label", fleet.LabelGeneration+"="+fmt.Sprint(node.Generation))
	before := len(s.observe(h).Strangers)
	require.Equal(t, 1, before)
	s.apply()
	require.Equal(t, "true", byHand(t, h, "inspect", "-f", "{{.State.Running}}", s.fleet+"-without-generation"))
	require.Equal(t, "true", byHand(t, h, "inspect", "-f", "{{.State.Running}}", s.fleet+"-like-the-node"))
	now := s.status()
	require.True(t, now.Converged)
	require.Len(t, layer(t, now, "shop", "web").Nodes, 1)
	eventually(t, 0, func() error { return s.asMade(node, named(t, s.observe(h).Instances, node.Name)) })
}

func named(t *testing.T, instances []fleet.Instance, name string) fleet.Instance {
	t.Helper()
	for _, in := range instances {
		if in.Name == name {
			return in
		}
	}
	require.Failf(t, "no such container", "%s", name)
	return fleet.Instance{}
}
