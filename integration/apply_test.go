package integration

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

const threeSpread = `
    - name: web
      image: node:1
      replicas: 3
      placement: {antiAffinity: required}
      ports: [{name: http, port: 8080, publish: 0}]
      healthCheck: {http: {port: http, path: /healthz}, interval: 1s}
      volumes: [{name: data, path: /data}]
      files: [{path: /etc/app.conf, content: "hello", mode: "0600"}]
      updatePolicy: {minHealthy: 0s, delay: 0s}
`

func TestApplySpreadsOverHosts(t *testing.T) {
	t.Parallel()
	s := newSite(t, lab.Hosts()...)
	s.environment("shop", threeSpread)
	o := s.apply()
	web := layer(t, s.status(), "shop", "web")
	require.Equal(t, 3, web.Serving, "%s", o)
	on := map[string]bool{}
	for _, n := range web.Nodes {
		on[n.Host] = true
	}
	require.Len(t, on, 3, "one node a host")
}

func TestScaleAndRemove(t *testing.T) {
	t.Parallel()
	h := lab.Host(2)
	s := newSite(t, h)
	with := func(n string) string { return strings.ReplaceAll(threeSpread, "replicas: 3", "replicas: "+n) }
	plain := func(n string) string { return strings.ReplaceAll(with(n), "placement: {antiAffinity: required}", "") }
	s.environment("shop", plain("1"))
	s.apply()
	s.environment("shop", plain("3"))
	s.apply()
	require.Equal(t, 3, layer(t, s.status(), "shop", "web").Serving)
	s.environment("shop", plain("2"))
	s.apply()
	left := s.nodesOf(h, "web")
	require.Len(t, left, 2)
	require.Equal(t, []int{1, 2}, []int{left[0].Node, left[1].Node}, "the highest ordinal goes first")
	require.Len(t, s.observe(h).Volumes, 3, "volumes are kept")

	s.git("rm", "-q", "shop.yaml")
	s.commit()
	s.apply()
	st := s.observe(h)
	require.Empty(t, st.Instances)
	require.Len(t, st.Volumes, 3, "volumes are kept")
	for _, n := range st.Networks {
		require.NotEqual(t, fleet.NetworkName(s.fleet, "shop"), n.Name, "the network is gone")
	}
}

// TestSecondApplyChangesNothing: with every key that a layer may have, on several hosts, nothing is written to an
// engine or kept by a keeper by an apply, or by whole passes of a run, that find everything as it should be.
func TestSecondApplyChangesNothing(t *testing.T) {
	t.Parallel()
	s, recorders := newRecordedSite(t, "  policy: {allow: {privileged: [shop], hostPaths: [shop], capabilities: [shop]}}\n", lab.Host(2), lab.Host(3))
	s.write("files/first", "from a file")
	s.environment("shop", everyKey)
	s.apply()
	before := map[string]fleet.KeeperState{}
	for i, h := range s.hosts {
		require.NotEmpty(t, recorders[i].taken(), "the proxy sees what is done")
		before[h.Name()] = s.remembered(h)
	}
	unchanged := func(o outcome) {
		t.Helper()
		for i, h := range s.hosts {
			require.Empty(t, recorders[i].taken(), "on %s: %s", h.Name(), o)
			require.Equal(t, before[h.Name()], s.remembered(h))
		}
	}
	for range 2 {
		unchanged(s.apply())
	}
	for _, r := range recorders {
		r.looked("/containers/json") // forgets
	}
	l := s.run("--interval", "1s")
	l.converged()
	for _, r := range recorders {
		lists := 0
		eventually(t, patience, func() error {
			lists += r.looked("/containers/json")
			return enough(lists, 6)
		})
	}
	l.end()
	unchanged(l.wait())
}

// remembered is what a keeper has on its disk.
func (s *site) remembered(h *hosts.Host) fleet.KeeperState {
	s.t.Helper()
	k := s.keeper(h)
	return fleet.KeeperState{Serial: k.Serial, Zone: k.Zone, Records: k.Records, Copy: k.Copy, Mode: k.Mode, Problems: k.Problems}
}
