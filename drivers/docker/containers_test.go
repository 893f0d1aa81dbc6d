package docker_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
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
func bare(t testing.TB, lh *hosts.Host, opts ...client.Opt) *client.Client {
	t.Helper()
	c, err := client.NewClientWithOpts(append(opts, client.WithHost(lh.Endpoint()), client.WithAPIVersionNegotiation())...)
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

// An engine that was restarted answers the create of a volume that is there, and that nobody has used since, without
// its labels.
func TestVolumeIsKnownAgainAfterTheEngineWasRestarted(t *testing.T) {
	lh := lab.Host(2)
	h := open(t, lh, docker.Options{})
	c := node(randomFleet(), 1)
	name := fleet.VolumeName(c.Labels[fleet.LabelFleet], c.NodeID, "data")
	c.Volumes = []fleet.Mount{{Name: name, Target: "/data", Labels: map[string]string{fleet.LabelFleet: c.Labels[fleet.LabelFleet]}}}
	id, err := h.Create(t.Context(), c)
	require.NoError(t, err)
	require.NoError(t, h.Remove(t.Context(), id))
	require.NoError(t, lh.StopEngine(t.Context()))
	require.NoError(t, lh.StartEngine(t.Context()))
	t.Cleanup(func() { require.NoError(t, h.RemoveVolume(context.Background(), name)) })
	create(t, h, c)
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
	var after fleet.Instance
	require.Eventually(t, func() bool { // the engine may hear late that it was paused, and then that it goes on
		after, err = h.Inspect(t.Context(), id)
		return err == nil && after.State == fleet.StateRunning
	}, 10*time.Second, 20*time.Millisecond)
	require.Equal(t, before.StartedAt, after.StartedAt, "it wasn't restarted")
}

// What is looked at in a container is told with its size, mode and time: a file that nobody has touched has
// the time that follows from its container's.
func TestFilesAreLookedAt(t *testing.T) {
	h, cli := open(t, lab.Host(1), docker.Options{}), bare(t, lab.Host(1))
	c := node(randomFleet(), 1)
	volume := fleet.VolumeName(c.Labels[fleet.LabelFleet], c.NodeID, "data")
	c.Volumes = []fleet.Mount{{Name: volume, Target: "/data", Labels: map[string]string{fleet.LabelFleet: c.Labels[fleet.LabelFleet]}}}
	t.Cleanup(func() { require.NoError(t, h.RemoveVolume(context.Background(), volume)) })
	c.ReadOnly = true
	c.Tmpfs = []string{"/data/fast"}
	c.Files = []spec.File{
		{Path: "/data/seed", Mode: 0o440, Content: []byte("seed")},
		{Path: "/data/none", Mode: 0o644},
	}
	id := start(t, h, c)
	in, err := h.Inspect(t.Context(), id)
	require.NoError(t, err)
	for _, want := range c.Files {
		f, err := h.StatFile(t.Context(), id, want.Path)
		require.NoError(t, err)
		require.Equal(t, fleet.File{Path: want.Path, Mode: fs.FileMode(want.Mode), Size: int64(len(want.Content)), ModTime: f.ModTime}, f)
		require.True(t, f.ModTime.Equal(fleet.PutAt(in.CreatedAt)), "%s, created %s", f.ModTime, in.CreatedAt)
	}
	put := func(h tar.Header, content string) {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		h.Size = int64(len(content))
		require.NoError(t, w.WriteHeader(&h))
		_, err := w.Write([]byte(content))
		require.NoError(t, errors.Join(err, w.Close()))
		require.NoError(t, cli.CopyToContainer(t.Context(), id, "/data", &buf, container.CopyToContainerOptions{}))
	}
	read := func(path string, most int64) (fleet.File, string) {
		f, content, err := h.ReadFile(t.Context(), id, path, most)
		require.NoError(t, err)
		require.Equal(t, f.Mode.IsRegular() && f.Size <= most && !f.Missing, content != nil)
		return f, string(content)
	}
	_, content := read("/data/seed", 4)
	require.Equal(t, "seed", content)
	_, content = read("/data/none", 4)
	require.Empty(t, content)
	put(tar.Header{Name: "seed", Mode: 0o600, ModTime: time.Unix(1e9, 0)}, "other")
	f, content := read("/data/seed", 5)
	require.Equal(t, "other", content)
	require.Equal(t, fs.FileMode(0o600), f.Mode)
	require.Equal(t, int64(1e9), f.ModTime.Unix())
	f, _ = read("/data/seed", 4)
	require.Equal(t, int64(5), f.Size, "longer than is wanted: not read")

	put(tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "seed"}, "")
	f, err = h.StatFile(t.Context(), id, "/data/link")
	require.NoError(t, err)
	require.NotZero(t, f.Mode&fs.ModeSymlink)
	require.Equal(t, "/data/seed", f.Target)
	f, _ = read("/data", 1<<20)
	require.True(t, f.Mode.IsDir())
	for _, path := range []string{"/data/nothing", "/nothing/at/all"} {
		f, err = h.StatFile(t.Context(), id, path)
		require.NoError(t, err)
		require.Equal(t, fleet.File{Path: path, Missing: true}, f)
		f, _ = read(path, 9)
		require.True(t, f.Missing)
	}
	require.NoError(t, h.Remove(t.Context(), id))
	_, err = h.StatFile(t.Context(), id, "/data/seed")
	require.ErrorIs(t, err, fleet.ErrNotFound)
	_, _, err = h.ReadFile(t.Context(), id, "/data/seed", 9)
	require.ErrorIs(t, err, fleet.ErrNotFound)
}
