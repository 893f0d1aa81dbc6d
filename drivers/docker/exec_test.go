package docker_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func TestHTTP2OverAnExecSession(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	id := start(t, h, node(randomFleet(), 1))
	conn, err := h.Exec(t.Context(), id, []string{"/program", "h2"})
	require.NoError(t, err)
	dialed := false
	tr := &http.Transport{Protocols: new(http.Protocols), DialContext: func(context.Context, string, string) (net.Conn, error) {
		require.False(t, dialed, "one connection is enough")
		dialed = true
		return conn, nil
	}}
	tr.Protocols.SetUnencryptedHTTP2(true)
	c := &http.Client{Transport: tr}
	for _, size := range []int{1, 100, 300_000} {
		body := strings.Repeat("x", size)
		resp, err := c.Post("http://keeper/echo", "text/plain", strings.NewReader(body))
		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 2, resp.ProtoMajor)
		require.Equal(t, body, string(got))
	}
	require.NoError(t, conn.Close())
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, net.ErrClosed)
	cli := bare(t, lab.Host(1))
	require.Eventually(t, func() bool {
		top, err := cli.ContainerTop(t.Context(), id, nil)
		return err == nil && len(top.Processes) == 1
	}, 5*time.Second, 20*time.Millisecond, "closing ends the command")
}

func TestExecDeadlines(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	id := start(t, h, node(randomFleet(), 1))
	conn, err := h.Exec(t.Context(), id, []string{"/program", "h2"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	// A server of HTTP/2 says nothing before the client's preface.
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = conn.Read(make([]byte, 100))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, conn.SetReadDeadline(time.Time{}))
	_, err = conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	require.NoError(t, err)
	n, err := conn.Read(make([]byte, 100))
	require.NoError(t, err, "a deadline that passed does no harm")
	require.Positive(t, n)
}

func TestExecTellsHowTheCommandEnded(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	id := start(t, h, node(randomFleet(), 1))
	end := func(argv ...string) error {
		conn, err := h.Exec(t.Context(), id, argv)
		require.NoError(t, err)
		defer conn.Close()
		_, err = io.Copy(io.Discard, conn)
		return err
	}
	require.NoError(t, end("/program", "stat", "/"))
	err := end("/program", "fail")
	require.EqualError(t, err, "/program fail on h1 ended with status 7: there is no socket")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	var missing *docker.ExecError
	require.ErrorAs(t, end("/no/such/program"), &missing)
	require.Contains(t, missing.Stderr, "/no/such/program")
}

func TestExecWhereNothingRuns(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	_, err := h.Exec(t.Context(), "nothing-of-that-name", []string{"/program"})
	require.ErrorIs(t, err, fleet.ErrNotFound)
	id := create(t, h, node(randomFleet(), 1))
	_, err = h.Exec(t.Context(), id, []string{"/program"})
	require.ErrorIs(t, err, fleet.ErrConflict)
}
