package docker

import (
	"net/netip"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

func TestContainerConfigSaysEverything(t *testing.T) {
	labels := map[string]string{fleet.LabelFleet: "production"}
	config, host, net := containerConfig(fleet.Container{
		Image: "sha256:1", Labels: labels, Command: []string{"serve"}, Entrypoint: []string{"/app"}, WorkingDir: "/srv", User: "7", Init: true,
		Env: []string{"A=1"}, Hostname: "node1", Domainname: "web.shop.internal", Network: "net", Address: netip.MustParseAddr("10.112.2.7"),
		DNS: []netip.Addr{netip.MustParseAddr("10.112.0.2")}, DNSOpts: []string{"timeout:1", "attempts:5"}, Search: []string{"."},
		Logging: spec.Logging{Driver: "json-file", Options: map[string]string{"max-size": "1m"}},
		Tmpfs:   []string{"/run", "/tmp:size=1m,mode=1777"}, Ulimits: []spec.Ulimit{{Name: "nofile", Soft: 1, Hard: 2}},
		Volumes:   []fleet.Mount{{Name: "vol", Target: "/data", Labels: labels}},
		HostPaths: []spec.HostPath{{Source: "/a", Target: "/b", ReadOnly: true}},
		Ports:     []fleet.Published{{Port: 80, Protocol: spec.TCP}, {Port: 53, Protocol: spec.UDP, HostPort: 5353}},
		Exposed:   []fleet.Published{{Port: 81, Protocol: spec.TCP}}, Capabilities: []string{"CHOWN"}, ReadOnly: true,
		Limits:     fleet.Limits{Memory: 64, MemoryReservation: 32, NanoCPUs: 5, CPUShares: 6, PidsLimit: 4096},
		StopSignal: "SIGINT", StopGrace: 1500 * time.Millisecond, Restart: "unless-stopped",
		Exec: &spec.HealthCheck{Exec: &spec.ExecCheck{Command: []string{"check", "it"}}, Interval: 1, Timeout: 2, Retries: 3, StartPeriod: 4},
	})
	grace, pids, init := 2, int64(4096), true
	require.Equal(t, &container.Config{
		Hostname: "node1", Domainname: "web.shop.internal", User: "7", Env: []string{"A=1"}, Cmd: []string{"serve"}, Entrypoint: []string{"/app"},
		Image: "sha256:1", WorkingDir: "/srv", Labels: labels, StopSignal: "SIGINT", StopTimeout: &grace,
		ExposedPorts: nat.PortSet{"80/tcp": {}, "53/udp": {}, "81/tcp": {}},
		Healthcheck:  &container.HealthConfig{Test: []string{"CMD", "check", "it"}, Interval: 1, Timeout: 2, Retries: 3, StartPeriod: 4},
	}, config)
	require.Equal(t, &container.HostConfig{
		NetworkMode: "net", PortBindings: nat.PortMap{"80/tcp": {{}}, "53/udp": {{HostPort: "5353"}}},
		RestartPolicy: container.RestartPolicy{Name: "unless-stopped"},
		LogConfig:     container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1m"}},
		DNS:           []string{"10.112.0.2"}, DNSOptions: []string{"timeout:1", "attempts:5"}, DNSSearch: []string{"."},
		CapAdd: []string{"CHOWN"}, CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"}, ReadonlyRootfs: true,
		Tmpfs: map[string]string{"/run": "", "/tmp": "size=1m,mode=1777"},
		Mounts: []mount.Mount{
			{Type: mount.TypeVolume, Source: "vol", Target: "/data", VolumeOptions: &mount.VolumeOptions{Labels: labels}},
			{Type: mount.TypeBind, Source: "/a", Target: "/b", ReadOnly: true},
		},
		Init: &init,
		Resources: container.Resources{Memory: 64, MemorySwap: 64, MemoryReservation: 32, NanoCPUs: 5, CPUShares: 6, PidsLimit: &pids,
			Ulimits: []*container.Ulimit{{Name: "nofile", Soft: 1, Hard: 2}}},
	}, host)
	require.Equal(t, map[string]*network.EndpointSettings{
		"net": {IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: "10.112.2.7"}},
	}, net.EndpointsConfig, "no aliases: Docker would serve them")
}

func TestHealthCheckOfTheImage(t *testing.T) {
	require.Nil(t, healthcheck(fleet.Container{}), "the image's counts")
	require.Equal(t, []string{"NONE"}, healthcheck(fleet.Container{NoHealthCheck: true}).Test)
}

func TestPrivilegedKeepsNothingBack(t *testing.T) {
	_, host, _ := containerConfig(fleet.Container{Privileged: true})
	require.True(t, host.Privileged)
	require.Empty(t, host.CapDrop)
	require.Empty(t, host.SecurityOpt)
}

func TestEndpoints(t *testing.T) {
	for _, test := range []struct {
		endpoint, says string
		insecure       bool
	}{
		{endpoint: "unix:///var/run/docker.sock"},
		{endpoint: "tcp://10.0.0.1:2375", insecure: true},
		{endpoint: "tcp://10.0.0.1:2375", says: "insecure: true"},
		{endpoint: "tcp://10.0.0.1", insecure: true, says: "missing port"},
		{endpoint: "ssh://deploy@10.0.0.1"},
		{endpoint: "ssh://10.0.0.1", says: "want ssh://user@host"},
		{endpoint: "https://10.0.0.1", says: "https is not supported"},
		{endpoint: "/var/run/docker.sock", says: "want unix:///path"},
		{endpoint: "unix://", says: "want unix:///path"},
	} {
		_, err := Open(spec.Host{Name: "hn1", Endpoint: test.endpoint, Insecure: test.insecure}, Options{})
		if test.says == "" {
			require.NoError(t, err, test.endpoint)
			continue
		}
		require.ErrorContains(t, err, test.says, test.endpoint)
		require.ErrorContains(t, err, "host hn1: ", test.endpoint)
	}
}

func TestVersions(t *testing.T) {
	for _, test := range []struct {
		version, than string
		older         bool
	}{
		{"1.40", "1.41", true}, {"1.41", "1.41", false}, {"1.100", "1.41", false}, {"2.0", "1.41", false},
		{"", "1.41", true}, {"nonsense", "1.41", true}, {"1", "1.41", true},
	} {
		require.Equal(t, test.older, older(test.version, test.than), test.version)
	}
}

func TestTimesOfTheEngine(t *testing.T) {
	require.True(t, parseTime("0001-01-01T00:00:00Z").IsZero())
	require.True(t, parseTime("").IsZero())
	require.Equal(t, time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), parseTime("2026-01-02T03:04:05.000000006Z"))
}

func TestNodeVolumesByName(t *testing.T) {
	id := fleet.NodeID{Environment: "shop", Layer: "web", Node: 3}
	v, ok := nodeVolume("production", fleet.VolumeName("production", id, "up-loads"))
	require.True(t, ok)
	require.Equal(t, fleet.Volume{NodeID: id, Name: "production_shop_web_3_up-loads", Volume: "up-loads"}, v)
	for _, name := range []string{fleet.KeeperVolume("production"), "other_shop_web_3_x", "production_shop_web_0_x", "production_shop_web_x_x", "production_shop_web_3"} {
		_, ok := nodeVolume("production", name)
		require.False(t, ok, name)
	}
}

func TestLastLines(t *testing.T) {
	l := &lastLines{most: 2}
	for _, p := range []string{"one\ntw", "o\r\nthr", "ee\n", "fo\xffur"} {
		n, err := l.Write([]byte(p))
		require.NoError(t, err)
		require.Equal(t, len(p), n)
	}
	require.Equal(t, []string{"three", "fo\uFFFDur"}, l.all())
	long := &lastLines{most: 1}
	_, _ = long.Write(make([]byte, 3*maxLine))
	_, _ = long.Write([]byte("\n"))
	require.Len(t, long.all()[0], maxLine)
}

func TestWhatIsTakenWhereNothingIsSaid(t *testing.T) {
	o := Options{}.withDefaults()
	require.Equal(t, []time.Duration{10 * time.Second, time.Minute}, []time.Duration{o.Timeout, o.PullStall})
}
