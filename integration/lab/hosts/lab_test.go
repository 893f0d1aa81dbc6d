package hosts_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/integration/lab/image"
)

func TestHostsAreMachinesOfTheirOwn(t *testing.T) {
	t.Parallel()
	lab := hosts.Start(t, 3)
	require.Len(t, lab.Hosts(), 3)

	ids := map[any]bool{}
	for i, h := range lab.Hosts() {
		require.Same(t, h, lab.Host(i+1))
		require.True(t, lab.Network().Contains(h.Address()))
		require.Equal(t, "tcp://"+h.Address().String()+":2375", h.Endpoint())

		info := overTCP(h).must(t, http.MethodGet, "/info", nil)
		ids[info["ID"]] = true
		require.Equal(t, "overlay2", info["Driver"])
		require.Equal(t, "/var/lib/docker", info["DockerRootDir"])
		require.Equal(t, info["ID"], overSocket(h).must(t, http.MethodGet, "/info", nil)["ID"])

		out, err := h.Exec(t.Context(), "hostname")
		require.NoError(t, err)
		require.Equal(t, info["Name"].(string)+"\n", string(out))
	}
	require.Len(t, ids, 3, "every engine has an ID of its own")

	added, err := lab.Add(t.Context())
	require.NoError(t, err)
	require.Equal(t, "h4", added.Name())
	require.True(t, overTCP(added).answers())
}

func TestContainersAreReached(t *testing.T) {
	t.Parallel()
	lab := hosts.Start(t, 2)
	require.NoError(t, lab.Load(t.Context(), node(t)))
	for _, h := range lab.Hosts() {
		overTCP(h).start(t, "web", "node:1")
	}
	h1, h2 := lab.Host(1), lab.Host(2)
	var here net.Dialer

	published := "http://" + h2.Address().String() + ":18080/"
	name := requirePage(t, here.DialContext, published)
	require.Equal(t, name, requirePage(t, h1.DialContext, published), "hosts reach each other")

	settings := overTCP(h2).must(t, http.MethodGet, "/containers/web/json", nil)["NetworkSettings"].(map[string]any)
	own := "http://" + settings["IPAddress"].(string) + ":8080/"
	require.Equal(t, name, requirePage(t, h2.DialContext, own), "a container's own address is reached from its host")

	binary := filepath.Join(t.TempDir(), "node")
	require.NoError(t, os.WriteFile(binary, program, 0o755))
	cmd, err := h2.NetCommand(t.Context(), binary, "get", own)
	require.NoError(t, err)
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", said)

	pid := overTCP(h2).state(t, "web")["Pid"]
	require.NotZero(t, pid)
	_, err = h1.Exec(t.Context(), "pgrep", "docker-proxy")
	require.Error(t, err, "the userland proxy is off")
}

func TestListenersOnAHost(t *testing.T) {
	t.Parallel()
	lab := hosts.Start(t, 2)
	h1, h2 := lab.Host(1), lab.Host(2)

	listener, err := h1.Listen(t.Context(), "tcp", h1.Address().String()+":9000")
	require.NoError(t, err)
	defer listener.Close()
	conn, err := h2.DialContext(t.Context(), "tcp", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.Equal(t, h2.Address().String(), conn.LocalAddr().(*net.TCPAddr).IP.String())

	packets, err := h1.ListenPacket(t.Context(), "udp", h1.Address().String()+":9000")
	require.NoError(t, err)
	defer packets.Close()
	sender, err := h2.DialContext(t.Context(), "udp", packets.LocalAddr().String())
	require.NoError(t, err)
	defer sender.Close()
	_, err = sender.Write([]byte("hello"))
	require.NoError(t, err)
	require.NoError(t, packets.SetReadDeadline(time.Now().Add(patience)))
	buf := make([]byte, 16)
	n, from, err := packets.ReadFrom(buf)
	require.NoError(t, err)
	require.Equal(t, "hello", string(buf[:n]))
	require.Equal(t, sender.LocalAddr().String(), from.String())

	_, err = h1.DialContext(t.Context(), "tcp", "localhost:80")
	require.ErrorContains(t, err, "IP:port")
}

func TestPullFromARegistryHere(t *testing.T) {
	t.Parallel()
	lab := hosts.Start(t, 1)
	reg, err := image.StartRegistry(lab.Manager())
	require.NoError(t, err)
	defer reg.Close()
	ref, err := reg.Push(t.Context(), node(t))
	require.NoError(t, err)

	e := overTCP(lab.Host(1))
	e.must(t, http.MethodPost, "/images/create?fromImage="+ref, nil)
	e.start(t, "web", ref)
	require.Equal(t, true, e.state(t, "web")["Running"])

	// What is outside the lab fails at once instead of after a timeout.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err = e.ask(ctx, http.MethodPost, "/images/create?fromImage=192.0.2.1:5000/nothing&tag=1", nil)
	require.Error(t, err)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
}

func TestEnginesTakeArguments(t *testing.T) {
	t.Parallel()
	lab := hosts.Start(t, 1, hosts.WithEngineArgs("--label=zone=a"), hosts.WithUserlandProxy())
	h := lab.Host(1)
	require.Equal(t, []any{"zone=a"}, overTCP(h).must(t, http.MethodGet, "/info", nil)["Labels"])

	require.NoError(t, h.Load(t.Context(), node(t)))
	overTCP(h).start(t, "web", "node:1")
	_, err := h.Exec(t.Context(), "pgrep", "docker-proxy")
	require.NoError(t, err, "the userland proxy is on")

	require.NoError(t, h.StopEngine(t.Context()))
	err = h.StartEngine(t.Context(), "--no-such-flag")
	require.ErrorContains(t, err, "no-such-flag", "the engine's own words")
	require.NoError(t, h.StartEngine(t.Context(), "--label=rack=1"))
	require.ElementsMatch(t, []any{"zone=a", "rack=1"}, overTCP(h).must(t, http.MethodGet, "/info", nil)["Labels"])
	require.ErrorContains(t, h.StartEngine(t.Context()), "running")
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	_, err := hosts.New(t.Context(), 0)
	require.ErrorContains(t, err, "1 to 200 hosts")
	_, err = hosts.Open(250)
	require.ErrorIs(t, err, os.ErrNotExist)
}
