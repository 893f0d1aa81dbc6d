package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/journal"
	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// pacedLayers are nodes of one host that heed no signal, and two on hosts of their own with a name at a provider. A
// minute is the least that Cloudflare lets a name's TTL be.
const pacedLayers = `
    - name: inside
      image: node:1
      replicas: 2
      placement: {hosts: {part: inside}}
      ports: [{name: http, port: 8080}]
      env: {VERSION: "%d", IGNORE_TERM: "yes"}
      stop: {grace: 2s}
      updatePolicy: {delay: 3s, drainTimeout: 3s, minHealthy: 2s}
    - name: outside
      image: node:1
      replicas: %d
      placement: {hosts: {part: outside}, antiAffinity: required}
      ports: [{name: http, port: 8080, publish: 0}]
      stop: {grace: 1s}
      updatePolicy: {delay: 1s, drainTimeout: 1s, minHealthy: 1s}
  dns:
    - {name: shop.example.com, layer: outside}
`

// TestPacesForReal changes nodes under a policy of a few seconds: each of its times has passed before what comes next.
// When nodes are stopped and started the engines tell, when a record goes the provider does.
func TestPacesForReal(t *testing.T) {
	t.Parallel()
	s, p := newProvided(t)
	s.extra = "  dns:\n    internal: {ttl: 2s}\n" + strings.TrimPrefix(s.extra, "  dns:\n")
	s.writeFleet()
	parts := strings.NewReplacer("{name: h1,", "{name: h1, labels: {part: inside},", "{name: h2,", "{name: h2, labels: {part: outside},", "{name: h3,", "{name: h3, labels: {part: outside},")
	s.write("fleet.yaml", parts.Replace(s.read("fleet.yaml")))
	s.environment("shop", fmt.Sprintf(pacedLayers, 1, 2))
	s.apply()
	inside := s.hosts[0]
	held := s.node(inside, "inside", 2)
	holdOpen(t, inside, held.Address.String())
	host := s.hosts[1]
	if s.nodesOf(host, "outside")[0].Node != 2 {
		host = s.hosts[2]
	}
	gone := s.node(host, "outside", 2)

	events := map[*hosts.Host]*happenings{inside: watched(t, inside, s.fleet), host: watched(t, host, s.fleet)}
	s.environment("shop", fmt.Sprintf(pacedLayers, 2, 1))
	s.apply()
	past := s.journal()
	for n := 2; n >= 1; n-- {
		now := s.node(inside, "inside", n)
		old := fleet.ContainerName(s.fleet, now.NodeID, now.Generation-1)
		stopped, ended := events[inside].first("kill", old), events[inside].first("die", old)
		drained := 2 * time.Second
		if n == 2 {
			drained += 3 * time.Second
		}
		waited(t, "ttl and drainTimeout", past.at("inside", n, "withdraw"), stopped, drained)
		waited(t, "grace", stopped, ended, 2*time.Second)
		waited(t, "minHealthy", now.StartedAt, past.at("inside", n, "restore"), 2*time.Second)
	}
	waited(t, "delay", past.at("inside", 2, "done"), past.at("inside", 1, "withdraw"), 3*time.Second)
	waited(t, "external ttl", p.when("DELETE "+s.public[host.Name()]), events[host].first("kill", gone.Name), time.Minute)
}

// waited requires that something came no earlier than a while after another.
func waited(t *testing.T, what string, from, to time.Time, least time.Duration) {
	t.Helper()
	require.False(t, from.IsZero() || to.IsZero(), what)
	require.GreaterOrEqual(t, to.Sub(from), least, what)
}

// holdOpen keeps a connection to a node that was asked something over it, until the test ends.
func holdOpen(t *testing.T, h *hosts.Host, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := h.DialContext(ctx, "tcp", net.JoinHostPort(address, "8080"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() }) // the node that had it is gone
	_, err = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: node\r\n\r\n")
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

// happenings are what an engine tells of a fleet's containers.
type happenings struct {
	t    *testing.T
	host string

	mu    sync.Mutex
	lines []string
}

// watched listens to an engine until the test ends: of what was long ago it keeps only the last few events.
func watched(t *testing.T, h *hosts.Host, fleetName string) *happenings {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd, err := h.Command(ctx, "docker", "events", "--since", strconv.FormatInt(time.Now().Unix(), 10),
		"--filter", "label="+fleet.LabelFleet+"="+fleetName, "--format", "{{.TimeNano}} {{.Action}} {{.Actor.Attributes.name}}")
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	e, done := &happenings{t: t, host: h.Name()}, make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			e.mu.Lock()
			e.lines = append(e.lines, lines.Text())
			e.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = cmd.Wait() // it was killed
	})
	return e
}

// first is when something first happened to a container.
func (e *happenings) first(action, container string) (at time.Time) {
	e.t.Helper()
	eventually(e.t, patience, func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, line := range e.lines {
			if nano, what, _ := strings.Cut(line, " "); what == action+" "+container {
				n, err := strconv.ParseInt(nano, 10, 64)
				at = time.Unix(0, n)
				return err
			}
		}
		return fmt.Errorf("no %s of %s on %s is told: %s", action, container, e.host, e.lines)
	})
	return at
}

// past is what the journal tells.
type past struct {
	t      *testing.T
	events []journal.Event
}

func (s *site) journal() past {
	s.t.Helper()
	o := s.evenkeel("history", "--all", "-o", "json", "-n", "0")
	require.Equal(s.t, 0, o.code, "%s", o)
	p := past{t: s.t}
	for line := range strings.Lines(o.stdout) {
		var e journal.Event
		require.NoError(s.t, json.Unmarshal([]byte(line), &e), line)
		p.events = append(p.events, e)
	}
	return p
}

// at is when a node was redeployed as far as a phase.
func (p past) at(layer string, node int, phase string) time.Time {
	p.t.Helper()
	for i := range p.events {
		if e := &p.events[i]; e.Layer == layer && e.Node == node && e.Operation == "redeploy" && (e.Phase == phase || e.Outcome == phase) {
			return e.Time
		}
	}
	require.Fail(p.t, "it isn't in the journal", "%s of %s/%d", phase, layer, node)
	return time.Time{}
}
