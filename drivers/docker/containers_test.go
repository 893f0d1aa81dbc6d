package docker_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// bare is the engine without the driver, for what others do there.
func bare(t testing.TB, lh *hosts.Host) *client.Client {
	t.Helper()
	c, err := client.NewClientWithOpts(client.WithHost(lh.Endpoint()), client.WithAPIVersionNegotiation())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// output runs a container to its end and returns its log.
func output(t *testing.T, h *docker.Host, c fleet.Container) []string {
	t.Helper()
	id := start(t, h, c)
	in := exited(t, h, id)
	lines, err := h.Logs(t.Context(), id, 100)
	require.NoError(t, err)
	require.Zero(t, in.ExitCode, lines)
	return lines
}

func TestFilesAreThereBeforeTheFirstStart(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	c := node(randomFleet(), 1)
	volume := fleet.VolumeName(c.Labels[fleet.LabelFleet], c.NodeID, "data")
	c.Volumes = []fleet.Mount{{Name: volume, Target: "/data", Labels: map[string]string{fleet.LabelFleet: c.Labels[fleet.LabelFleet]}}}
	t.Cleanup(func() { require.NoError(t, h.RemoveVolume(context.Background(), volume)) })
	c.Files = []spec.File{
		{Path: "/etc/app/deep/app.conf", Mode: 0o640, Content: []byte("conf")},
		{Path: "/etc/app/second", Mode: 0o600, Content: []byte("2")},
		{Path: "/tmp/inside", Mode: 0o755, Content: []byte("in")},
		{Path: "/data/sub/seed", Mode: 0o444, Content: []byte("seed")},
	}
	c.Command = []string{"stat", "/etc/app", "/etc/app/deep", "/etc/app/deep/app.conf", "/etc/app/second", "/tmp", "/tmp/inside", "/data/sub", "/data/sub/seed"}
	require.Equal(t, []string{
		"/etc/app 755", "/etc/app/deep 755", "/etc/app/deep/app.conf 640 conf", "/etc/app/second 600 2",
		"/tmp 777", "/tmp/inside 755 in", "/data/sub 755", "/data/sub/seed 444 seed",
	}, output(t, h, c))
}

func TestFilesGoIntoAVolumeOfAReadOnlyNode(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	c := node(randomFleet(), 1)
	volume := fleet.VolumeName(c.Labels[fleet.LabelFleet], c.NodeID, "data")
	c.Volumes = []fleet.Mount{{Name: volume, Target: "/data", Labels: map[string]string{fleet.LabelFleet: c.Labels[fleet.LabelFleet]}}}
	t.Cleanup(func() { require.NoError(t, h.RemoveVolume(context.Background(), volume)) })
	c.ReadOnly = true
	c.Files = []spec.File{{Path: "/data/seed", Mode: 0o444, Content: []byte("seed")}}
	c.Command = []string{"stat", "/data/seed"}
	require.Equal(t, []string{"/data/seed 444 seed"}, output(t, h, c))
}

func TestCreateThatFailsHalfWayLeavesNoContainer(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	c := node(randomFleet(), 1)
	c.Files = []spec.File{{Path: "/program/inside/a/file", Mode: 0o644}}
	_, err := h.Create(t.Context(), c)
	require.ErrorContains(t, err, "creating container "+c.Name+" on h1: copying /program/inside/a/file")
	st := h.Observe(t.Context(), c.Labels[fleet.LabelFleet])
	require.True(t, st.Reachable, st.Problem)
	require.Empty(t, st.Instances)
}

func TestNodeHasTheSafeDefaultAndItsNames(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	fleetName := randomFleet()
	network := fleet.Network{
		Name: fleet.NetworkName(fleetName, "shop"), Fleet: fleetName, Environment: "shop",
		Subnet: netip.MustParsePrefix("10.113.8.0/24"), Gateway: netip.MustParseAddr("10.113.8.1"),
	}
	require.NoError(t, h.EnsureNetwork(t.Context(), network))
	t.Cleanup(func() { require.NoError(t, h.RemoveNetwork(context.Background(), network.Name)) })
	c := node(fleetName, 1)
	c.Network, c.Hostname, c.Domainname = network.Name, "node1", "web.shop.internal"
	c.DNS = []netip.Addr{netip.MustParseAddr("10.113.8.2")}
	c.Search, c.DNSOpts = []string{"."}, []string{"timeout:1", "attempts:5"}
	c.Capabilities = []string{"CHOWN", "KILL"} // bits 0 and 5
	c.Command = []string{"env"}
	out := strings.Join(output(t, h, c), "\n")
	require.Contains(t, out, "CapEff: 0000000000000021")
	require.Contains(t, out, "NoNewPrivs: 1")
	require.Contains(t, out, "nameserver 127.0.0.11")
	require.Regexp(t, `options timeout:1 attempts:5 ndots:0|options .*attempts:5`, out)
	require.NotContains(t, out, "search .\n.")
	require.Contains(t, out, "hostname node1")
}

func TestConflictSaysWhoHasTheName(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	c := node(randomFleet(), 1)
	theirs, err := bare(t, lab.Host(1)).ContainerCreate(t.Context(), &container.Config{Image: testImage}, nil, nil, nil, c.Name)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Remove(context.Background(), theirs.ID)) })
	_, err = h.Create(t.Context(), c)
	var conflict *docker.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.ErrorIs(t, err, fleet.ErrConflict)
	require.Equal(t, theirs.ID, conflict.ID)
	require.Equal(t, testImage, conflict.Image)
	require.EqualError(t, err, "creating container "+c.Name+" on h1: the name "+c.Name+" is taken by container "+theirs.ID[:12]+
		" of image "+testImage+", which isn't evenkeel's: rename or remove that one")
	in, err := bare(t, lab.Host(1)).ContainerInspect(t.Context(), theirs.ID)
	require.NoError(t, err)
	require.Equal(t, theirs.ID, in.ID, "it is left alone")
}

func TestVolumeOfOthersIsLeftAlone(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	c := node(randomFleet(), 1)
	name := fleet.VolumeName(c.Labels[fleet.LabelFleet], c.NodeID, "data")
	theirs := fleet.Container{Name: randomFleet(), Image: testImage, Labels: map[string]string{fleet.LabelFleet: "other"}, Network: "none",
		Volumes: []fleet.Mount{{Name: name, Target: "/data", Labels: map[string]string{fleet.LabelFleet: "other"}}}}
	id := create(t, h, theirs)
	c.Volumes = []fleet.Mount{{Name: name, Target: "/data", Labels: map[string]string{fleet.LabelFleet: c.Labels[fleet.LabelFleet]}}}
	_, err := h.Create(t.Context(), c)
	require.ErrorIs(t, err, fleet.ErrConflict)
	require.ErrorContains(t, err, "which is fleet other's")
	require.NoError(t, h.Remove(t.Context(), id))
	require.NoError(t, h.RemoveVolume(t.Context(), name))
}

func TestPublishedPortsAreKnown(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	c := node(randomFleet(), 1)
	c.Network = "bridge"
	c.Ports = []fleet.Published{{Port: 8080, Protocol: spec.TCP}, {Port: 53, Protocol: spec.UDP, HostPort: 5353}}
	id := create(t, h, c)
	in, err := h.Inspect(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, []fleet.Published{{Port: 53, Protocol: spec.UDP, HostPort: 5353}, {Port: 8080, Protocol: spec.TCP}}, in.Published)
	require.NoError(t, h.Start(t.Context(), id))
	in, err = h.Inspect(t.Context(), id)
	require.NoError(t, err)
	require.Len(t, in.Published, 2)
	require.NotZero(t, in.Published[1].HostPort)

	second := node(c.Labels[fleet.LabelFleet], 2)
	second.Network, second.Ports = "bridge", []fleet.Published{{Port: 53, Protocol: spec.UDP, HostPort: 5353}}
	require.ErrorIs(t, h.Start(t.Context(), create(t, h, second)), fleet.ErrConflict)
}

func TestStopKillsAfterTheGracePeriod(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	c := node(randomFleet(), 1)
	c.Env = []string{"IGNORE_TERM=1"}
	id := start(t, h, c)
	require.Eventually(t, func() bool {
		lines, err := h.Logs(t.Context(), id, 1)
		return err == nil && len(lines) == 1
	}, 5*time.Second, 10*time.Millisecond, "it ignores the signal from when it says that it is up")
	began := time.Now()
	require.NoError(t, h.Stop(t.Context(), id, "", 500*time.Millisecond))
	require.GreaterOrEqual(t, time.Since(began), 500*time.Millisecond)
	in, err := h.Inspect(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, 137, in.ExitCode)
	require.False(t, in.FinishedAt.IsZero())
}

func TestStopUsesTheSignalOfTheContainer(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	c := node(randomFleet(), 1)
	c.StopSignal = "SIGINT"
	id := start(t, h, c)
	require.Eventually(t, func() bool { lines, err := h.Logs(t.Context(), id, 1); return err == nil && len(lines) == 1 }, 5*time.Second, 10*time.Millisecond)
	require.NoError(t, h.Stop(t.Context(), id, "SIGINT", 5*time.Second))
	lines, err := h.Logs(t.Context(), id, 10)
	require.NoError(t, err)
	require.Equal(t, []string{"up", "bye: interrupt"}, lines)
}

func TestLastLinesOfACrashedContainer(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	c := node(randomFleet(), 1)
	c.Command = []string{"crash", "25"}
	id := start(t, h, c)
	in := exited(t, h, id)
	require.Equal(t, 3, in.ExitCode)
	require.False(t, in.OOMKilled)
	// The two streams are two pipes: the engine may take their lines in another order.
	lines, err := h.Logs(t.Context(), id, 100)
	require.NoError(t, err)
	var all []string
	for i := range 25 {
		all = append(all, fmt.Sprintf("line %d", i+1))
	}
	require.ElementsMatch(t, all, lines)
	last, err := h.Logs(t.Context(), id, 10)
	require.NoError(t, err)
	require.Equal(t, lines[15:], last)
}

func TestLogThatNobodyKeepsIsEmpty(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	c := node(randomFleet(), 1)
	c.Logging = spec.Logging{Driver: "none"}
	id := start(t, h, c)
	lines, err := h.Logs(t.Context(), id, 10)
	require.NoError(t, err)
	require.Empty(t, lines)
}

func TestHealthOfTheEnginesOwnCheck(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	check := func(n int, argv ...string) string {
		c := node(randomFleet(), n)
		c.Exec = &spec.HealthCheck{Exec: &spec.ExecCheck{Command: argv}, Interval: 100 * time.Millisecond, Timeout: time.Second, Retries: 1}
		return start(t, h, c)
	}
	well, sick := check(1, "/program", "stat", "/"), check(2, "/program", "fail")
	for id, want := range map[string]fleet.Health{well: fleet.HealthHealthy, sick: fleet.HealthUnhealthy} {
		require.Eventually(t, func() bool {
			in, err := h.Inspect(t.Context(), id)
			return err == nil && in.Health == want
		}, 10*time.Second, 20*time.Millisecond, want)
	}
	in, err := h.Inspect(t.Context(), start(t, h, node(randomFleet(), 3)))
	require.NoError(t, err)
	require.Equal(t, fleet.HealthNone, in.Health)
}

func TestHostPathThatIsMissingIsRefused(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	c := node(randomFleet(), 1)
	c.HostPaths = []spec.HostPath{{Source: filepath.Join(os.TempDir(), "no", "such"), Target: "/x"}}
	_, err := h.Create(t.Context(), c)
	require.ErrorContains(t, err, "no/such")
}

func TestStartOfAPausedContainerLetsItGoOn(t *testing.T) {
	lh := lab.Host(1)
	h := open(t, lh, docker.Options{})
	c := node(randomFleet(), 1)
	id := start(t, h, c)
	before, err := h.Inspect(t.Context(), id)
	require.NoError(t, err)
	require.NoError(t, bare(t, lh).ContainerPause(t.Context(), id))
	require.NoError(t, h.Start(t.Context(), id))
	after, err := h.Inspect(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, fleet.StateRunning, after.State)
	require.Equal(t, before.StartedAt, after.StartedAt, "it wasn't restarted")
}
