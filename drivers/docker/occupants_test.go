package docker_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func TestOccupants(t *testing.T) {
	lh := lab.Host(1)
	h := open(t, lh, docker.Options{})
	fleetName := randomFleet()
	network := fleet.Network{
		Name: fleet.NetworkName(fleetName, "shop"), Fleet: fleetName, Environment: "shop",
		Subnet: netip.MustParsePrefix("10.113.12.0/24"), Gateway: netip.MustParseAddr("10.113.12.1"),
	}
	require.NoError(t, h.EnsureNetwork(t.Context(), network))
	t.Cleanup(func() { require.NoError(t, h.RemoveNetwork(context.Background(), network.Name)) })
	ours := node(fleetName, 2)
	ours.Network, ours.Address = network.Name, netip.MustParseAddr("10.113.12.9")
	ours.Ports = []fleet.Published{{Port: 80, Protocol: "tcp", HostPort: 21980}, {Port: 53, Protocol: "udp", HostPort: 21953}}
	id := start(t, h, ours)
	created := create(t, h, node(fleetName, 3))

	theirs, err := bare(t, lh).ContainerCreate(t.Context(),
		&container.Config{Image: testImage, ExposedPorts: nat.PortSet{"80/tcp": {}}},
		&container.HostConfig{PortBindings: nat.PortMap{"80/tcp": {{HostIP: "127.0.0.1", HostPort: "21981"}}}}, nil, nil, fleetName+"_theirs")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Remove(context.Background(), theirs.ID)) })
	require.NoError(t, h.Start(t.Context(), theirs.ID))

	all, err := h.Occupants(t.Context())
	require.NoError(t, err)
	found := map[string]fleet.Occupant{}
	for _, o := range all {
		found[o.ID] = o
	}
	require.NotContains(t, found, created, "what doesn't run holds nothing")
	require.Equal(t, fleet.Occupant{
		ID: id, Name: ours.Name, Fleet: fleetName, NodeID: ours.NodeID, Addresses: []netip.Addr{ours.Address},
		Ports: []fleet.Published{{Port: 53, Protocol: "udp", HostPort: 21953}, {Port: 80, Protocol: "tcp", HostPort: 21980}},
	}, found[id])
	other := found[theirs.ID]
	require.Equal(t, fleetName+"_theirs", other.Name)
	require.Empty(t, other.Fleet)
	require.Equal(t, []fleet.Published{{Port: 80, Protocol: "tcp", HostPort: 21981}}, other.Ports)

	// What an occupant holds, another can't be started with.
	second := node(fleetName, 4)
	second.Network, second.Address = network.Name, ours.Address
	require.ErrorIs(t, h.Start(t.Context(), create(t, h, second)), fleet.ErrConflict)
	third := node(fleetName, 5)
	third.Network, third.Ports = network.Name, []fleet.Published{{Port: 80, Protocol: "tcp", HostPort: 21981}}
	require.ErrorIs(t, h.Start(t.Context(), create(t, h, third)), fleet.ErrConflict)
}
