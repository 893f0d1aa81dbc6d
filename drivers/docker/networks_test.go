package docker_test

import (
	"context"
	"slices"
	"testing"

	"github.com/docker/docker/api/types/network"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// A network for whose device nothing was said is named for its ID, as the engine does, and has the engine's MTU.
func TestDeviceOfANetwork(t *testing.T) {
	h, cli := open(t, lab.Host(1), docker.Options{}), bare(t, lab.Host(1))
	name := fleet.NetworkName(randomFleet(), "shop")
	made, err := cli.NetworkCreate(t.Context(), name, network.CreateOptions{Driver: "bridge"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cli.NetworkRemove(context.Background(), made.ID)) })
	st := h.Observe(t.Context(), randomFleet())
	i := slices.IndexFunc(st.Networks, func(n fleet.Network) bool { return n.Name == name })
	require.NotEqual(t, -1, i)
	require.Zero(t, st.Networks[i].MTU)
	out, err := lab.Host(1).Exec(t.Context(), "ip", "link", "show", st.Networks[i].Bridge)
	require.NoError(t, err, "%s", out)
}
