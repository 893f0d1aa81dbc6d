package docker_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// A host may be closed in the middle of an operation, which goes on with it: no connection outlives that.
func TestACallThatGoesOnAfterCloseLeavesNoConnection(t *testing.T) {
	p := openProxied(t, "hn1")
	fleetName := randomFleet()
	require.True(t, p.Observe(t.Context(), fleetName).Reachable)
	conflict := refuse(http.StatusConflict, "/start")
	p.spoiling(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/start") {
			_ = p.Close()
		}
		return conflict(w, r)
	})
	p.take()
	require.Error(t, p.Start(t.Context(), "0123456789ab"))
	require.Len(t, p.take(), 2, "it looked why")
	require.Eventually(t, func() bool { return p.open.Load() == 0 }, 10*time.Second, 10*time.Millisecond)
}

func TestNothingGoesOnAfterClose(t *testing.T) {
	before := goleak.IgnoreCurrent()
	h, err := docker.Open(specHost(lab.Host(1)), docker.Options{})
	require.NoError(t, err)
	fleetName := randomFleet()
	id, err := h.Create(t.Context(), node(fleetName, 1))
	require.NoError(t, err)
	require.NoError(t, h.Start(t.Context(), id))
	ctx, cancel := context.WithCancel(t.Context())
	events := h.Events(ctx, fleetName)
	await(t, events, 5*time.Second, action(docker.KindHost, docker.ActionConnected))
	conn, err := h.Exec(t.Context(), id, []string{"/program", "h2"})
	require.NoError(t, err)
	_, err = h.RunHelper(t.Context(), helper(fleetName, "addresses"))
	require.NoError(t, err)
	require.Error(t, h.Pull(t.Context(), "127.0.0.1:1/web:1", fleet.Credentials{}))
	require.NoError(t, h.Remove(t.Context(), id))
	require.NoError(t, conn.Close())
	cancel()
	require.NoError(t, h.Close())
	goleak.VerifyNone(t, before)
}
