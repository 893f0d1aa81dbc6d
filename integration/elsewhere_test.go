package integration

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// newSiteElsewhere is a fleet of two hosts of its own: the first is reached over SSH, the second over TLS.
func newSiteElsewhere(t *testing.T) *site {
	t.Helper()
	own := hosts.Start(t, 2)
	require.NoError(t, loadImages(t.Context(), own))
	first, second := own.Host(1), own.Host(2)
	s, err := first.StartSSH(t.Context())
	require.NoError(t, err)
	f, err := second.MakeTLS(time.Hour)
	require.NoError(t, err)
	require.NoError(t, second.StopEngine(t.Context()))
	require.NoError(t, second.StartEngine(t.Context(), f.EngineArgs...))
	site := newSite(t, first, second)
	site.reach = map[string]spec.Host{
		"h1": {Name: "h1", Endpoint: s.Endpoint, SSH: spec.SSH{Key: s.Key, KnownHosts: s.KnownHosts}},
		"h2": {Name: "h2", Endpoint: second.Endpoint(), TLS: spec.TLS{CA: filepath.Base(f.CA), Cert: filepath.Base(f.Cert), Key: f.Key}},
	}
	site.credentials = filepath.Dir(f.CA)
	site.writeFleet()
	return site
}

// TestHostsElsewhere has a fleet over SSH and TLS live: apply, a rollout, healing beside a server that was away.
func TestHostsElsewhere(t *testing.T) {
	t.Parallel()
	s := newSiteElsewhere(t)
	layers := func(version string) string {
		return `    - {name: web, image: "node:1", pull: never, replicas: 4, env: {V: "` + version + `"},
       ports: [{name: http, port: 8080}], updatePolicy: {delay: 0s, minHealthy: 0s, drainTimeout: 1s}}
`
	}
	s.environment("shop", layers("1"))
	s.apply()
	require.Equal(t, 4, layer(t, s.status(), "shop", "web").Serving)
	s.environment("shop", layers("2"))
	s.apply()
	o := s.evenkeel("plan", "--exit-code")
	require.Equal(t, 0, o.code, "%s", o)

	loop := s.run()
	loop.converged()
	away, here := s.nodesOf(s.hosts[0], "web")[0], s.nodesOf(s.hosts[1], "web")[0]
	killed := time.Now()
	require.NoError(t, s.hosts[0].StopSSH(t.Context()))
	t.Cleanup(func() { _, _ = s.hosts[0].StartSSH(context.Background()) })
	byHand(t, s.hosts[0], "kill", away.ID)
	byHand(t, s.hosts[1], "kill", here.ID)
	loop.until(patience, func(st reconciler.Status) error {
		return unless(layer(t, st, "shop", "web").Serving == 2 && !st.Converged, "what is beside the lost host doesn't serve")
	})
	require.Equal(t, plan.Start, loop.firstStep(here.Node, killed).Operation)
	_, err := s.hosts[0].StartSSH(t.Context())
	require.NoError(t, err)
	loop.until(patience, func(st reconciler.Status) error {
		return unless(layer(t, st, "shop", "web").Serving == 4, "the node behind the SSH server isn't healed")
	})
	loop.converged()
}
