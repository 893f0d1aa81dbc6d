package integration

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// elsewhere is a fleet of two hosts of its own: the first is reached over SSH, the second over TLS, each by a relay.
type elsewhere struct {
	*site
	overSSH, overTLS *relay
	known            string // the file of host keys
	tls              *hosts.TLS
}

func newSiteElsewhere(t *testing.T) *elsewhere {
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
	e := &elsewhere{
		overSSH: startRelay(t, s.Address), overTLS: startRelay(t, strings.TrimPrefix(second.Endpoint(), "tcp://")),
		known: filepath.Join(t.TempDir(), "known_hosts"), tls: f,
	}
	e.site = newSite(t, first, second) // after the relays, so that it is cleared before they end
	e.writeKnown(hostKey(t, s))
	e.reach = map[string]spec.Host{
		"h1": {
			Name: "h1", Endpoint: "ssh://root@" + e.overSSH.address + "/run/docker.sock", Address: first.Address().String(),
			SSH: spec.SSH{Key: s.Key, KnownHosts: e.known},
		},
		"h2": {
			Name: "h2", Endpoint: "tcp://" + e.overTLS.address, Address: second.Address().String(),
			TLS: spec.TLS{CA: filepath.Base(f.CA), Cert: filepath.Base(f.Cert), Key: f.Key},
		},
	}
	e.credentials = filepath.Dir(f.CA)
	e.writeFleet()
	return e
}

// hostKey is the key of a lab host's SSH server, as known_hosts has it.
func hostKey(t *testing.T, s *hosts.SSH) string {
	t.Helper()
	known, err := os.ReadFile(s.KnownHosts)
	require.NoError(t, err)
	_, key, _ := strings.Cut(strings.TrimSpace(string(known)), " ")
	return key
}

// otherKey is a host key that no server has.
func otherKey(t *testing.T) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	key, err := ssh.NewPublicKey(public)
	require.NoError(t, err)
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// writeKnown has evenkeel know the relay by a host key.
func (e *elsewhere) writeKnown(key string) {
	e.t.Helper()
	require.NoError(e.t, os.WriteFile(e.known, []byte(e.overSSH.knownHost(key)), 0o600))
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

const onEach = `    - {name: web, image: "node:1", pull: never, replicas: 2, env: {V: "%d"}, placement: {antiAffinity: required},
       ports: [{name: http, port: 8080}], updatePolicy: {delay: 0s, minHealthy: 0s, drainTimeout: 0s}}
`

// TestConnectionsToHostsElsewhere: a host over SSH is reached by one connection, one that breaks in whatever way is made
// again, and meanwhile the rest of the fleet goes on. What proves who is who is read for each connection.
func TestConnectionsToHostsElsewhere(t *testing.T) {
	t.Parallel()
	e := newSiteElsewhere(t)
	e.environment("shop", fmt.Sprintf(onEach, 1))
	l := e.run("--interval", "2s")
	l.converged()
	e.environment("shop", fmt.Sprintf(onEach, 2))
	l.converged()
	require.EqualValues(t, 1, e.overSSH.accepted.Load(), "sshd sees one connection")

	e.overSSH.cutNow()
	l.healedOn("h1")
	require.EqualValues(t, 2, e.overSSH.accepted.Load(), "a reset connection is made again, once")
	e.overTLS.cutNow()
	l.healedOn("h2")

	for lost, other := range map[int]string{0: "h2", 1: "h1"} { // packets vanish, and nobody says so
		h := e.hosts[lost]
		require.NoError(t, h.Drop(t.Context()))
		l.out(h.Name(), "")
		l.healedOn(other)
		require.NoError(t, h.Undrop(t.Context()))
		l.healedOn(h.Name())
	}
	eventually(t, patience, func() error { return unless(e.overSSH.open() == 1, "there isn't one connection over SSH") })
	e.changesKeys(l)
}

// changesKeys changes what proves who is who under a loop at work.
func (e *elsewhere) changesKeys(l *loop) {
	e.t.Helper()
	known := e.readFile(e.known)
	for _, file := range []struct{ content, says string }{
		{e.overSSH.knownHost(otherKey(e.t)), "is another than the one in " + e.known},
		{"", "is in none of " + e.known},
	} {
		require.NoError(e.t, os.WriteFile(e.known, []byte(file.content), 0o600))
		e.overSSH.cutNow()
		l.out("h1", file.says)
	}
	l.healedOn("h2")
	require.NoError(e.t, os.WriteFile(e.known, []byte(known), 0o600))
	l.healedOn("h1")

	cert, certKey := e.readFile(e.tls.Cert), e.readFile(e.tls.Key)
	replace := func(cert, key string) {
		require.NoError(e.t, os.WriteFile(e.tls.Cert, []byte(cert), 0o600))
		require.NoError(e.t, os.WriteFile(e.tls.Key, []byte(key), 0o600))
	}
	replace(e.readFile(e.tls.Expired), e.readFile(e.tls.ExpiredKey))
	e.overTLS.cutNow()
	l.out("h2", "tls.cert ("+e.tls.Cert+") expired at ")
	replace(cert, certKey)
	l.healedOn("h2")

	renewed, err := e.hosts[1].MakeTLS(time.Hour) // of another authority, into the same files
	require.NoError(e.t, err)
	require.NoError(e.t, e.hosts[1].StopEngine(e.t.Context()))
	require.NoError(e.t, e.hosts[1].StartEngine(e.t.Context(), renewed.EngineArgs...))
	l.healedOn("h2")
	l.converged()
}

func (e *elsewhere) readFile(path string) string {
	e.t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(e.t, err)
	return string(b)
}

// out waits until a host is out of reach, and that is why.
func (l *loop) out(host, says string) {
	l.t.Helper()
	l.until(patience, func(st reconciler.Status) error {
		for _, h := range st.Hosts {
			if h.Name == host {
				return unless(!h.Reachable && strings.Contains(h.Problem, says), fmt.Sprintf("%s isn't out of reach because %q: %+v", host, says, h))
			}
		}
		return fmt.Errorf("there is no host %s", host)
	})
}

// healedOn kills the host's node by hand, and waits until it serves anew. It looks at the host through nobody's relay.
func (l *loop) healedOn(host string) {
	l.t.Helper()
	h := l.site.hosts[slices.IndexFunc(l.site.hosts, func(h *hosts.Host) bool { return h.Name() == host })]
	on := func(st reconciler.Status) reconciler.NodeStatus {
		for _, n := range layer(l.t, st, "shop", "web").Nodes {
			if n.Host == host {
				return n
			}
		}
		require.Fail(l.t, "no node is on "+host)
		return reconciler.NodeStatus{}
	}
	var before reconciler.NodeStatus
	name := ""
	eventually(l.t, patience, func() error { // an engine that was just started may not have started it yet
		st, err := l.status()
		if err != nil {
			return err
		}
		before = on(st)
		name = fleet.ContainerName(l.site.fleet, fleet.NodeID{Environment: "shop", Layer: "web", Node: before.Node}, before.Generation)
		return unless(byHand(l.t, h, "inspect", "-f", "{{.State.Running}}", name) == "true", name+" doesn't run")
	})
	byHand(l.t, h, "kill", name)
	l.until(2*patience, func(st reconciler.Status) error {
		n := on(st)
		return unless(n.Serving && n.Since.After(before.Since), "the node on "+host+" isn't healed")
	})
}
