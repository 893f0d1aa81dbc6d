package docker_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// each makes every kind of call; all of them have to end, and to say how.
func each(t *testing.T, h *docker.Host, id string) map[string]error {
	t.Helper()
	ctx := t.Context()
	_, inspect := h.Inspect(ctx, id)
	_, exec := h.Exec(ctx, id, []string{"/program", "h2"})
	_, logs := h.Logs(ctx, id, 1)
	_, image := h.Image(ctx, testImage)
	_, created := h.Create(ctx, node("tnone", 1))
	return map[string]error{
		"inspect": inspect, "exec": exec, "logs": logs, "image": image, "create": created,
		"stop": h.Stop(ctx, id, "", 0), "start": h.Start(ctx, id), "remove volume": h.RemoveVolume(ctx, "none"),
	}
}

func TestEveryCallEndsOnAnEngineThatHangs(t *testing.T) {
	lh := lab.Host(2)
	h := open(t, lh, docker.Options{Timeout: 300 * time.Millisecond})
	id := start(t, h, node(randomFleet(), 1)) // connections are open and idle
	require.NoError(t, lh.HangEngine(t.Context()))
	t.Cleanup(func() { _ = lh.ResumeEngine(context.Background()) })
	began := time.Now()
	for name, err := range each(t, h, id) {
		require.ErrorIs(t, err, fleet.ErrUnreachable, name)
		require.ErrorContains(t, err, "h2 did not answer within 300ms", name)
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
		require.NotContains(t, err.Error(), "http://", name)
	}
	require.Less(t, time.Since(began), 8*time.Second)
	st := h.Observe(t.Context(), "any")
	require.False(t, st.Reachable)
	require.Contains(t, st.Problem, "h2 did not answer within 300ms")
	require.NoError(t, lh.ResumeEngine(context.Background()))
	require.Eventually(t, func() bool { return h.Observe(t.Context(), "any").Reachable }, 10*time.Second, 50*time.Millisecond)
}

func TestExecEndsOnAnEngineThatHangsMeanwhile(t *testing.T) {
	lh := lab.Host(2)
	h := open(t, lh, docker.Options{Timeout: 500 * time.Millisecond})
	id := start(t, h, node(randomFleet(), 1))
	conn, err := h.Exec(t.Context(), id, []string{"/program", "h2"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, lh.HangEngine(t.Context()))
	t.Cleanup(func() { _ = lh.ResumeEngine(context.Background()) })
	require.NoError(t, conn.SetDeadline(time.Now().Add(100*time.Millisecond)))
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err)
	require.NoError(t, lh.ResumeEngine(context.Background()))
	require.Eventually(t, func() bool { return h.Observe(t.Context(), "any").Reachable }, 10*time.Second, 50*time.Millisecond)
}

func TestCutLinkEndsCallsAtTheirDeadline(t *testing.T) {
	lh := lab.Host(2)
	h := open(t, lh, docker.Options{Timeout: 300 * time.Millisecond})
	require.True(t, h.Observe(t.Context(), "any").Reachable)
	require.NoError(t, lh.Cut(t.Context()))
	t.Cleanup(func() { _ = lh.Heal(context.Background()) })
	began := time.Now()
	st := h.Observe(t.Context(), "any")
	require.False(t, st.Reachable)
	require.Contains(t, st.Problem, "h2 did not answer within 300ms")
	require.Less(t, time.Since(began), time.Second)
	require.NoError(t, lh.Heal(t.Context()))
	require.Eventually(t, func() bool { return h.Observe(t.Context(), "any").Reachable }, 10*time.Second, 50*time.Millisecond)
}

func TestGivingUpIsNotTheHostsFault(t *testing.T) {
	lh := lab.Host(2)
	h := open(t, lh, docker.Options{})
	require.NoError(t, lh.HangEngine(t.Context()))
	t.Cleanup(func() { _ = lh.ResumeEngine(context.Background()) })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err := h.Inspect(ctx, "anything")
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, fleet.ErrUnreachable)
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = h.Inspect(short, "anything")
	require.ErrorIs(t, err, fleet.ErrUnreachable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, lh.ResumeEngine(context.Background()))
}

// An engine that answers the first request of a connection and dies in the midst of the second.
func TestABrokenConnectionIsSaidPlainly(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{Dial: func(context.Context) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			r := bufio.NewReader(there)
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			_, _ = io.WriteString(there, "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 0\r\n\r\n")
			_, _ = http.ReadRequest(r)
		}()
		return here, nil
	}})
	err := h.Restart(t.Context(), "4f1c", "SIGTERM", time.Second)
	require.ErrorIs(t, err, fleet.ErrUnreachable)
	require.ErrorIs(t, err, io.EOF)
	require.EqualError(t, err, "restarting container 4f1c on h1: the connection to the engine broke (EOF); the next pass looks what became of it")
}

func TestClosedHostSaysSo(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	require.NoError(t, h.Close())
	require.ErrorIs(t, h.Start(t.Context(), "x"), fleet.ErrUnreachable)
}
