package hosts_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
)

func TestCutAndHeal(t *testing.T) {
	t.Parallel()
	lab := hosts.Start(t, 2)
	h := lab.Host(1)
	require.NoError(t, h.Cut(t.Context()))
	overTCP(h).requireHang(t)
	require.True(t, overSocket(h).answers(), "the engine itself is well")
	require.True(t, overTCP(lab.Host(2)).answers(), "the other host is well")
	require.NoError(t, h.Heal(t.Context()))
	require.Eventually(t, overTCP(h).answers, patience, 10*time.Millisecond)
}

func TestDropOnlyBetweenManagerAndHost(t *testing.T) {
	t.Parallel()
	lab := hosts.Start(t, 2)
	h1, h2 := lab.Host(1), lab.Host(2)
	require.NoError(t, h1.Load(t.Context(), node(t)))
	overTCP(h1).start(t, "web", "node:1")
	page := "http://" + h1.Address().String() + ":18080/"
	var here net.Dialer
	requirePage(t, here.DialContext, page)

	require.NoError(t, h1.Drop(t.Context()))
	require.NoError(t, h1.Drop(t.Context()))
	overTCP(h1).requireHang(t)
	_, err := get(t.Context(), here.DialContext, page)
	require.ErrorIs(t, err, context.DeadlineExceeded, "containers are out of reach too")
	requirePage(t, h2.DialContext, page)

	require.NoError(t, h1.Undrop(t.Context()))
	require.NoError(t, h1.Undrop(t.Context()))
	require.Eventually(t, overTCP(h1).answers, patience, 10*time.Millisecond)
	requirePage(t, here.DialContext, page)
}

func TestContainersSurviveAKilledEngine(t *testing.T) {
	t.Parallel()
	lab := hosts.Start(t, 1, hosts.WithEngineArgs("--live-restore"))
	h := lab.Host(1)
	require.NoError(t, h.Load(t.Context(), node(t)))
	e := overTCP(h)
	e.start(t, "web", "node:1")
	pid := e.state(t, "web")["Pid"]
	page := "http://" + h.Address().String() + ":18080/"
	var here net.Dialer
	requirePage(t, here.DialContext, page)

	require.NoError(t, h.KillEngine(t.Context()))
	_, err := e.ask(t.Context(), http.MethodGet, "/_ping", nil)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	requirePage(t, here.DialContext, page)
	require.NoError(t, h.KillEngine(t.Context()), "nothing to kill is fine")

	require.NoError(t, h.StartEngine(t.Context()))
	require.Equal(t, pid, e.state(t, "web")["Pid"])
}

func TestHangingEngine(t *testing.T) {
	t.Parallel()
	h := hosts.Start(t, 1).Host(1)
	require.NoError(t, h.HangEngine(t.Context()))
	conn, err := net.DialTimeout("tcp", h.Address().String()+":2375", time.Second)
	require.NoError(t, err, "it accepts")
	conn.Close()
	overTCP(h).requireHang(t)
	overSocket(h).requireHang(t)
	require.NoError(t, h.ResumeEngine(t.Context()))
	require.Eventually(t, overTCP(h).answers, patience, 10*time.Millisecond)

	require.NoError(t, h.HangEngine(t.Context()))
	require.NoError(t, h.KillEngine(t.Context()), "a hanging engine can be killed")
	require.ErrorContains(t, h.HangEngine(t.Context()), "not running")
}

func TestPowerCycleKeepsTheDisk(t *testing.T) {
	t.Parallel()
	lab := hosts.Start(t, 1)
	h := lab.Host(1)
	require.NoError(t, h.Load(t.Context(), node(t)))
	e := overTCP(h)
	e.start(t, "web", "node:1")
	id := e.must(t, http.MethodGet, "/info", nil)["ID"]
	require.ErrorContains(t, h.PowerOn(t.Context()), "it has power")
	stream := openEvents(t, h)

	require.NoError(t, h.PowerOff(t.Context()))
	require.False(t, h.Running())
	e.requireHang(t)
	requireSilence(t, stream)
	_, err := h.Exec(t.Context(), "true")
	require.ErrorContains(t, err, "no power")
	require.NoError(t, h.PowerOff(t.Context()), "off is off")

	require.NoError(t, h.PowerOn(t.Context()))
	require.True(t, h.Running())
	require.Equal(t, id, e.must(t, http.MethodGet, "/info", nil)["ID"])
	require.Equal(t, "exited", e.state(t, "web")["Status"])
	e.must(t, http.MethodPost, "/containers/web/start", nil)
	var here net.Dialer
	requirePage(t, here.DialContext, "http://"+h.Address().String()+":18080/")
}

// openEvents returns a connection on which the engine's events arrive.
func openEvents(t *testing.T, h *hosts.Host) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", h.Address().String()+":2375", patience)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	_, err = conn.Write([]byte("GET /events HTTP/1.1\r\nHost: engine\r\n\r\n"))
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	return conn
}

// requireSilence demands that the other end said no goodbye.
func requireSilence(t *testing.T, conn net.Conn) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(300*time.Millisecond)))
	_, err := conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestPowerOnAfterAHostEndedByItself(t *testing.T) {
	t.Parallel()
	h := hosts.Start(t, 1).Host(1)
	_, _ = h.Exec(t.Context(), "sh", "-c", "kill -TERM 1") // may go down with the host
	require.Eventually(t, func() bool { return !h.Running() }, patience, 5*time.Millisecond)
	require.NoError(t, h.PowerOn(t.Context()))
	require.True(t, overTCP(h).answers())
}

func TestExecEndsWithItsContext(t *testing.T) {
	t.Parallel()
	h := hosts.Start(t, 1).Host(1)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := h.Exec(ctx, "sleep", "1234")
	require.Error(t, err)
	require.Eventually(t, func() bool {
		_, err := h.Exec(t.Context(), "pgrep", "-f", "sleep 1234")
		return err != nil
	}, patience, 10*time.Millisecond, "the command is gone with its context")

	_, err = h.Exec(t.Context(), "sh", "-c", "echo what is wrong >&2; exit 3")
	require.ErrorContains(t, err, "what is wrong")
}
