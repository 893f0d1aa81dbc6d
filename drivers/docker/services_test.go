package docker_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func helper(fleetName string, command ...string) fleet.Service {
	return fleet.Service{
		Name: "evenkeel-helper-" + fleetName, Image: testImage, Command: command,
		Labels: map[string]string{fleet.LabelFleet: fleetName, fleet.LabelRole: fleet.RoleHelper},
	}
}

func requireNothingOf(t *testing.T, lh *hosts.Host, fleetName string) {
	t.Helper()
	cli := bare(t, lh)
	require.Eventually(t, func() bool {
		list, err := cli.ContainerList(context.Background(), container.ListOptions{All: true,
			Filters: filters.NewArgs(filters.Arg("label", fleet.LabelFleet+"="+fleetName))})
		return err == nil && len(list) == 0
	}, 10*time.Second, 20*time.Millisecond)
}

func TestHelperLooksInsideANodesNetwork(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	fleetName := randomFleet()
	network := fleet.Network{Name: fleet.NetworkName(fleetName, "shop"), Fleet: fleetName, Environment: "shop",
		Subnet: netip.MustParsePrefix("10.113.9.0/24"), Gateway: netip.MustParseAddr("10.113.9.1")}
	require.NoError(t, h.EnsureNetwork(t.Context(), network))
	t.Cleanup(func() { require.NoError(t, h.RemoveNetwork(context.Background(), network.Name)) })
	c := node(fleetName, 1)
	c.Network, c.Address = network.Name, netip.MustParseAddr("10.113.9.77")
	id := start(t, h, c)

	v := helper(fleetName, "addresses")
	v.InNetworkOf = id
	out, err := h.RunHelper(t.Context(), v)
	require.NoError(t, err)
	require.Contains(t, out, "10.113.9.77/24")
	require.NoError(t, h.Remove(t.Context(), id))
	requireNothingOf(t, lab.Host(1), fleetName)
}

func TestHelperThatFails(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	fleetName := randomFleet()
	_, err := h.RunHelper(t.Context(), helper(fleetName, "fail"))
	require.EqualError(t, err, "fail on h1 ended with status 7: there is no socket")
	requireNothingOf(t, lab.Host(1), fleetName)

	v := helper(fleetName, "addresses")
	v.InNetworkOf = create(t, h, node(fleetName+"n", 1))
	_, err = h.RunHelper(t.Context(), v)
	require.ErrorIs(t, err, fleet.ErrConflict, "the node doesn't run")
	requireNothingOf(t, lab.Host(1), fleetName)
}

func TestHelperIsRemovedWhenItsCallerGivesUp(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	fleetName := randomFleet()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := h.RunHelper(ctx, helper(fleetName)) // runs until it gets a signal
	require.ErrorIs(t, err, context.DeadlineExceeded)
	requireNothingOf(t, lab.Host(1), fleetName)
}

func TestHelperThatWasLeftGivesWay(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	fleetName := randomFleet()
	left, err := h.CreateService(t.Context(), helper(fleetName))
	require.NoError(t, err)
	require.NoError(t, h.Start(t.Context(), left))
	out, err := h.RunHelper(t.Context(), helper(fleetName, "stat", "/program/no"))
	require.NoError(t, err)
	require.NotEmpty(t, out)
	requireNothingOf(t, lab.Host(1), fleetName)
}

// What looks something up inside a node comes and goes: it is nobody's node, and nothing that evenkeel doesn't know.
func TestHelperIsNotSeen(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	fleetName := randomFleet()
	id, err := h.CreateService(t.Context(), helper(fleetName))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Remove(context.Background(), id)) })
	for range 2 { // created, and running
		st := h.Observe(t.Context(), fleetName)
		require.True(t, st.Reachable, st.Problem)
		require.Empty(t, st.Instances)
		require.Empty(t, st.Keepers)
		require.Empty(t, st.Strangers)
		require.NoError(t, h.Start(t.Context(), id))
	}
}

func TestKeeperIsSeen(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	fleetName := randomFleet()
	uplink := fleet.Network{Name: fleet.UplinkName(fleetName), Fleet: fleetName, Role: fleet.RoleKeeper,
		Subnet: netip.MustParsePrefix("10.113.10.0/24"), Gateway: netip.MustParseAddr("10.113.10.1")}
	require.NoError(t, h.EnsureNetwork(t.Context(), uplink))
	t.Cleanup(func() { require.NoError(t, h.RemoveNetwork(context.Background(), uplink.Name)) })
	labels := map[string]string{fleet.LabelFleet: fleetName, fleet.LabelRole: fleet.RoleKeeper, fleet.LabelVersion: "7"}
	v := fleet.Service{
		Name: fleet.KeeperName(fleetName), Image: testImage, Labels: labels, Network: uplink.Name, Address: netip.MustParseAddr("10.113.10.2"),
		Sysctls: map[string]string{"net.ipv4.ip_forward": "0"}, Restart: "always", LogMaxSize: "1m",
		Volumes:      []fleet.Mount{{Name: fleet.KeeperVolume(fleetName), Target: "/var/lib/keeper", Labels: map[string]string{fleet.LabelFleet: fleetName}}},
		Capabilities: []string{"NET_BIND_SERVICE"},
	}
	id, err := h.CreateService(t.Context(), v)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.RemoveVolume(context.Background(), fleet.KeeperVolume(fleetName))) })
	t.Cleanup(func() { require.NoError(t, h.Remove(context.Background(), id)) })
	again, err := h.CreateService(t.Context(), v)
	require.NoError(t, err)
	require.Equal(t, id, again)
	require.NoError(t, h.Start(t.Context(), id))

	st := h.Observe(t.Context(), fleetName)
	require.True(t, st.Reachable, st.Problem)
	require.Empty(t, st.Instances)
	require.Len(t, st.Keepers, 1)
	k := st.Keepers[0]
	require.False(t, k.CreatedAt.IsZero())
	require.Equal(t, id, k.ID)
	require.Equal(t, v.Name, k.Name)
	require.Equal(t, 7, k.Version)
	require.Equal(t, fleet.StateRunning, k.State)
	require.Equal(t, map[string]netip.Addr{uplink.Name: v.Address}, k.Networks)
	_, err = h.Inspect(t.Context(), id)
	require.ErrorIs(t, err, fleet.ErrConflict, "it is no node's")
}
