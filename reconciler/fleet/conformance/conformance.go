// Package conformance is what every engine of a host has to do alike, the real one and those that stand in
// for it in tests.
package conformance

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// Engine is what the suite asks of a host.
type Engine interface {
	Observe(ctx context.Context, fleetName string) fleet.HostState
	Inspect(ctx context.Context, id string) (fleet.Instance, error)
	Create(ctx context.Context, c fleet.Container) (id string, err error)
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id, signal string, grace time.Duration) error
	Restart(ctx context.Context, id, signal string, grace time.Duration) error
	Remove(ctx context.Context, id string) error
	Rename(ctx context.Context, id, name string) error
	Update(ctx context.Context, id string, l fleet.Limits) error
	SetRestartPolicy(ctx context.Context, id, policy string) error
	EnsureNetwork(ctx context.Context, n fleet.Network) error
	RemoveNetwork(ctx context.Context, name string) error
	RemoveVolume(ctx context.Context, name string) error
	Connect(ctx context.Context, network, container, address string) error
	Disconnect(ctx context.Context, network, container string) error
	Image(ctx context.Context, ref string) (fleet.ImageInfo, error)
}

// Site is an engine with what the suite may use on it. The suite removes what it makes.
type Site struct {
	Engine Engine
	Fleet  string       // a fleet's name that nothing there carries
	Image  string       // an image that is there; its process runs until it gets a SIGTERM
	Subnet netip.Prefix // a /24 that nothing there uses
	// Impose is what people do with `docker update`: any amount of swap, no limit of processes, and the first CPU only.
	Impose func(t *testing.T, id string)
}

// Run runs the suite; each test gets a site of its own.
func Run(t *testing.T, newSite func(t *testing.T) Site) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s *site)
	}{
		{"an empty host is reachable and empty", empty},
		{"a node's life", life},
		{"a create whose reply was lost is finished", createTwice},
		{"a name that something else has", nameTaken},
		{"what is gone already is done", goneIsDone},
		{"what isn't there is not found", notFound},
		{"limits change in place", limits},
		{"what is changed by hand is seen", byHand},
		{"limits that are changed by hand are seen", imposed},
		{"networks are made once", networks},
		{"a network of others is left alone", foreignNetwork},
		{"containers join and leave networks", joinAndLeave},
		{"a volume outlives its containers", volumes},
		{"an address that is taken", addressTaken},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, newTestSite(newSite(t))) })
	}
}

type site struct {
	Site
	network fleet.Network
}

func newTestSite(s Site) *site {
	base := s.Subnet.Addr().As4()
	base[3] = 1
	return &site{Site: s, network: fleet.Network{
		Name: fleet.NetworkName(s.Fleet, "shop"), Fleet: s.Fleet, Environment: "shop", Driver: "bridge",
		Subnet: s.Subnet, Gateway: netip.AddrFrom4(base), Bridge: fleet.BridgeName(s.Fleet, "shop"), MTU: 1400,
	}}
}

func (s *site) address(last byte) netip.Addr {
	a := s.Subnet.Addr().As4()
	a[3] = last
	return netip.AddrFrom4(a)
}

func (s *site) container(n, generation int) fleet.Container {
	id := fleet.NodeID{Environment: "shop", Layer: "web", Node: n}
	return fleet.Container{
		NodeID: id, Generation: generation, Name: fleet.ContainerName(s.Fleet, id, generation), Image: s.Image,
		Labels: map[string]string{
			fleet.LabelFleet: s.Fleet, fleet.LabelEnvironment: "shop", fleet.LabelLayer: "web",
			fleet.LabelNode: string(rune('0' + n)), fleet.LabelGeneration: string(rune('0' + generation)),
			fleet.LabelSpec: "v1:abc", fleet.LabelImage: "sha256:def", fleet.LabelWritten: `{"image":"x"}`, fleet.LabelRevision: "r1",
		},
		Hostname: fleet.Hostname(id), Network: s.network.Name, Address: s.address(byte(10*n + generation)),
		Restart: "unless-stopped", StopGrace: time.Second,
		Limits: fleet.Limits{Memory: 64 << 20, NanoCPUs: 5e8, CPUShares: 512, PidsLimit: 100},
	}
}

func (s *site) ensureNetwork(t *testing.T) {
	t.Helper()
	require.NoError(t, s.Engine.EnsureNetwork(t.Context(), s.network))
	t.Cleanup(func() { require.NoError(t, s.Engine.RemoveNetwork(context.Background(), s.network.Name)) })
}

func (s *site) create(t *testing.T, c fleet.Container) string {
	t.Helper()
	id, err := s.Engine.Create(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Engine.Remove(context.Background(), id)) })
	return id
}

func (s *site) observe(t *testing.T) fleet.HostState {
	t.Helper()
	st := s.Engine.Observe(t.Context(), s.Fleet)
	require.True(t, st.Reachable, st.Problem)
	return st
}

func empty(t *testing.T, s *site) {
	st := s.observe(t)
	require.Empty(t, st.Instances)
	require.Empty(t, st.Volumes)
	require.Empty(t, st.Keepers)
	require.Positive(t, st.Engine.CPUs)
	require.Positive(t, int64(st.Engine.Memory))
	require.NotEmpty(t, st.Engine.Arch)
}

func life(t *testing.T, s *site) {
	s.ensureNetwork(t)
	c := s.container(1, 2)
	id := s.create(t, c)

	in, err := s.Engine.Inspect(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, fleet.StateCreated, in.State)
	require.True(t, in.StartedAt.IsZero(), "it never ran")
	require.Equal(t, c.NodeID, in.NodeID)
	require.Equal(t, 2, in.Generation)
	require.Equal(t, c.Name, in.Name)
	require.Equal(t, c.Limits, in.Limits)
	require.Equal(t, c.Address, in.Address, "known before it runs")
	require.Equal(t, []string{"v1:abc", "sha256:def", `{"image":"x"}`, "r1"}, []string{in.Spec, in.Image, in.Written, in.Revision})
	require.Equal(t, "unless-stopped", in.RestartPolicy)

	require.NoError(t, s.Engine.Start(t.Context(), id))
	require.NoError(t, s.Engine.Start(t.Context(), id), "a second start changes nothing")
	running := s.observe(t)
	require.Len(t, running.Instances, 1)
	require.Equal(t, fleet.StateRunning, running.Instances[0].State)
	require.Equal(t, c.Address, running.Instances[0].Address)
	started := running.Instances[0].StartedAt
	require.False(t, started.IsZero())

	require.NoError(t, s.Engine.Restart(t.Context(), id, "", time.Second))
	in, err = s.Engine.Inspect(t.Context(), id)
	require.NoError(t, err)
	require.True(t, in.StartedAt.After(started))

	require.NoError(t, s.Engine.Stop(t.Context(), id, "", 5*time.Second))
	require.NoError(t, s.Engine.Stop(t.Context(), id, "", 5*time.Second), "a second stop changes nothing")
	in, err = s.Engine.Inspect(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, fleet.StateExited, in.State)
	require.True(t, in.FinishedAt.After(in.StartedAt))
	require.Equal(t, c.Address, in.Address, "known while it is stopped")

	require.NoError(t, s.Engine.Remove(t.Context(), id))
	require.Empty(t, s.observe(t).Instances)
}

func createTwice(t *testing.T, s *site) {
	s.ensureNetwork(t)
	c := s.container(1, 1)
	first := s.create(t, c)
	second, err := s.Engine.Create(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, first, second)
	require.NoError(t, s.Engine.Start(t.Context(), first))
	_, err = s.Engine.Create(t.Context(), c)
	require.ErrorIs(t, err, fleet.ErrConflict, "it ran: it isn't the one that was asked for")
}

func nameTaken(t *testing.T, s *site) {
	s.ensureNetwork(t)
	c := s.container(1, 1)
	s.create(t, c)
	other := s.container(1, 1)
	other.Labels[fleet.LabelSpec] = "v1:other"
	_, err := s.Engine.Create(t.Context(), other)
	require.ErrorIs(t, err, fleet.ErrConflict)
	require.ErrorContains(t, err, c.Name)

	second := s.create(t, s.container(2, 1))
	require.ErrorIs(t, s.Engine.Rename(t.Context(), second, c.Name), fleet.ErrConflict)
	require.NoError(t, s.Engine.Rename(t.Context(), second, c.Name+"-next"))
	in, err := s.Engine.Inspect(t.Context(), second)
	require.NoError(t, err)
	require.Equal(t, c.Name+"-next", in.Name)
}

func goneIsDone(t *testing.T, s *site) {
	missing := s.Fleet + "_nothing"
	require.NoError(t, s.Engine.Remove(t.Context(), missing))
	require.NoError(t, s.Engine.RemoveNetwork(t.Context(), missing))
	require.NoError(t, s.Engine.RemoveVolume(t.Context(), missing))
	require.NoError(t, s.Engine.Disconnect(t.Context(), missing, missing))
}

func notFound(t *testing.T, s *site) {
	missing := s.Fleet + "_nothing"
	_, err := s.Engine.Inspect(t.Context(), missing)
	require.ErrorIs(t, err, fleet.ErrNotFound)
	require.ErrorIs(t, s.Engine.Start(t.Context(), missing), fleet.ErrNotFound)
	require.ErrorIs(t, s.Engine.Stop(t.Context(), missing, "", time.Second), fleet.ErrNotFound)
	_, err = s.Engine.Image(t.Context(), missing+":1")
	require.ErrorIs(t, err, fleet.ErrNoImage)
	s.ensureNetwork(t)
	c := s.container(1, 1)
	c.Image = missing + ":1"
	_, err = s.Engine.Create(t.Context(), c)
	require.ErrorIs(t, err, fleet.ErrNoImage)
	require.Empty(t, s.observe(t).Instances)
}

func limits(t *testing.T, s *site) {
	s.ensureNetwork(t)
	id := s.create(t, s.container(1, 1))
	require.NoError(t, s.Engine.Start(t.Context(), id))
	before, err := s.Engine.Inspect(t.Context(), id)
	require.NoError(t, err)
	want := fleet.Limits{Memory: 256 << 20, MemoryReservation: 128 << 20, NanoCPUs: 1e9, CPUShares: 1024, PidsLimit: 200}
	require.NoError(t, s.Engine.Update(t.Context(), id, want))
	after, err := s.Engine.Inspect(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, want, after.Limits)
	require.Equal(t, before.StartedAt, after.StartedAt, "in place")
	require.Equal(t, before.RestartPolicy, after.RestartPolicy)
	want.Memory = 0
	require.Error(t, s.Engine.Update(t.Context(), id, want), "a limit can't be lifted in place")

	host := s.observe(t).Engine
	want.Memory, want.NanoCPUs = 256<<20, int64(host.CPUs+3)*1e9
	require.NoError(t, s.Engine.Update(t.Context(), id, want))
	after, err = s.Engine.Inspect(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, want.Within(host), after.Limits, "no more CPUs than the host has")
}

func byHand(t *testing.T, s *site) {
	s.ensureNetwork(t)
	other := s.network
	other.Name, other.Environment, other.Subnet, other.Gateway, other.Bridge = s.network.Name+"2", "shop2", netip.Prefix{}, netip.Addr{}, ""
	require.NoError(t, s.Engine.EnsureNetwork(t.Context(), other))
	t.Cleanup(func() { require.NoError(t, s.Engine.RemoveNetwork(context.Background(), other.Name)) })
	c := s.container(1, 1)
	id := s.create(t, c)
	require.NoError(t, s.Engine.Start(t.Context(), id))
	before, err := s.Engine.Inspect(t.Context(), id)
	require.NoError(t, err)
	require.Empty(t, before.Renamed)
	require.Empty(t, before.OtherNetworks)
	require.False(t, before.CreatedAt.IsZero())

	require.NoError(t, s.Engine.Rename(t.Context(), id, c.Name+"x"))
	require.NoError(t, s.Engine.Connect(t.Context(), other.Name, id, ""))
	require.NoError(t, s.Engine.SetRestartPolicy(t.Context(), id, "no"))
	after, err := s.Engine.Inspect(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, c.Name, after.Renamed)
	require.Equal(t, []string{other.Name}, after.OtherNetworks)
	require.Equal(t, "no", after.RestartPolicy)
	require.Equal(t, before.Limits, after.Limits)
	require.Equal(t, before.StartedAt, after.StartedAt, "in place")
	i := slices.IndexFunc(s.observe(t).Networks, func(n fleet.Network) bool { return n.ID == after.NetworkID })
	require.GreaterOrEqual(t, i, 0, "it is on the network that is there")

	require.NoError(t, s.Engine.Disconnect(t.Context(), s.network.Name, id))
	after, err = s.Engine.Inspect(t.Context(), id)
	require.NoError(t, err)
	require.Empty(t, after.Network)
	require.False(t, after.Address.IsValid())
}

func imposed(t *testing.T, s *site) {
	s.ensureNetwork(t)
	c := s.container(1, 1)
	id := s.create(t, c)
	require.NoError(t, s.Engine.Start(t.Context(), id))
	before, err := s.Engine.Inspect(t.Context(), id)
	require.NoError(t, err)
	engine := s.observe(t).Engine
	require.Equal(t, c.Limits.Within(engine), before.Limits)
	require.Empty(t, before.Imposed)

	s.Impose(t, id)
	want := before.Limits
	want.Swap, want.PidsLimit = fleet.AnySwap, 0
	after, err := s.Engine.Inspect(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, want.Held(engine), after.Limits)
	require.Equal(t, []fleet.Imposed{{Field: "cpuset-cpus", Value: "0"}}, after.Imposed)
	require.Equal(t, after.Limits, s.observe(t).Instances[0].Limits)

	require.NoError(t, s.Engine.Update(t.Context(), id, c.Limits))
	after, err = s.Engine.Inspect(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, before.Limits, after.Limits, "put back in place")
	require.Equal(t, before.StartedAt, after.StartedAt)
	require.Len(t, after.Imposed, 1, "an update doesn't lift it")
}

func networks(t *testing.T, s *site) {
	s.ensureNetwork(t)
	require.NoError(t, s.Engine.EnsureNetwork(t.Context(), s.network))
	var found []fleet.Network
	for _, n := range s.observe(t).Networks {
		if n.Name == s.network.Name {
			n.ID = ""
			found = append(found, n)
		}
	}
	require.Equal(t, []fleet.Network{s.network}, found)
	moved := s.network
	moved.Gateway = s.address(2)
	require.ErrorIs(t, s.Engine.EnsureNetwork(t.Context(), moved), fleet.ErrConflict)
}

func foreignNetwork(t *testing.T, s *site) {
	s.ensureNetwork(t)
	other := s.network
	other.Fleet = s.Fleet + "2"
	err := s.Engine.EnsureNetwork(t.Context(), other)
	require.ErrorIs(t, err, fleet.ErrConflict)
	require.ErrorContains(t, err, s.Fleet)
}

func joinAndLeave(t *testing.T, s *site) {
	s.ensureNetwork(t)
	c := s.container(1, 1)
	c.Network, c.Address = "", netip.Addr{}
	id := s.create(t, c)
	require.NoError(t, s.Engine.Start(t.Context(), id))
	addr := s.address(99)
	for range 2 {
		require.NoError(t, s.Engine.Connect(t.Context(), s.network.Name, id, addr.String()))
		in, err := s.Engine.Inspect(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, addr, in.Address)
	}
	require.ErrorIs(t, s.Engine.Connect(t.Context(), s.network.Name, id, s.address(98).String()), fleet.ErrConflict)
	for range 2 {
		require.NoError(t, s.Engine.Disconnect(t.Context(), s.network.Name, id))
		in, err := s.Engine.Inspect(t.Context(), id)
		require.NoError(t, err)
		require.Empty(t, in.Network)
	}
}

func volumes(t *testing.T, s *site) {
	s.ensureNetwork(t)
	c := s.container(1, 1)
	name := fleet.VolumeName(s.Fleet, c.NodeID, "data")
	c.Volumes = []fleet.Mount{{Name: name, Target: "/data", Labels: map[string]string{
		fleet.LabelFleet: s.Fleet, fleet.LabelEnvironment: "shop",
	}}}
	c.Files = []spec.File{{Path: "/data/conf/x", Mode: 0o600, Content: []byte("x")}}
	t.Cleanup(func() { require.NoError(t, s.Engine.RemoveVolume(context.Background(), name)) })
	id := s.create(t, c)
	require.Equal(t, []string{name}, s.observe(t).Instances[0].Volumes)
	require.ErrorIs(t, s.Engine.RemoveVolume(t.Context(), name), fleet.ErrConflict, "a container has it")
	require.NoError(t, s.Engine.Remove(t.Context(), id))
	st := s.observe(t)
	require.Len(t, st.Volumes, 1)
	require.Equal(t, fleet.Volume{NodeID: c.NodeID, Host: st.Name, Name: name, Volume: "data"}, st.Volumes[0])
	require.NoError(t, s.Engine.RemoveVolume(t.Context(), name))
	require.Empty(t, s.observe(t).Volumes)
}

func addressTaken(t *testing.T, s *site) {
	s.ensureNetwork(t)
	first, second := s.container(1, 1), s.container(1, 2)
	second.Address = first.Address
	one, two := s.create(t, first), s.create(t, second)
	require.NoError(t, s.Engine.Start(t.Context(), one))
	require.ErrorIs(t, s.Engine.Start(t.Context(), two), fleet.ErrConflict)
	require.NoError(t, s.Engine.Stop(t.Context(), one, "", 5*time.Second))
	require.NoError(t, s.Engine.Start(t.Context(), two))
}
