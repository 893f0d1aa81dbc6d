package sim

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// scene is a fleet with the layer shop/web, in which nothing happens by chance. What is to be found from outside has two
// hosts.
type scene struct {
	*run
	t *testing.T
	p paced
	// program is how what is started from now on goes about. The world's lock guards it.
	program behaviour
}

// newScene returns a fleet that is as it is wanted. Its programs take a second to begin, and heed no signal; neither do
// the connections to them.
func newScene(t *testing.T, p paced) *scene {
	s := &scene{t: t, p: p, program: behaviour{startup: time.Second, ending: time.Hour}}
	hosts := []string{"h1"}
	if p.environment != "" {
		hosts = append(hosts, "h2")
	}
	s.run = &run{w: New(1, hosts...), stop: make(chan struct{}), ended: make(chan struct{})}
	s.w.Habits(Habits{Program: func(string) behaviour { return s.program }, Connections: time.Hour})
	s.commit(p.layer)
	go s.live()
	require.True(t, s.await("at first"))
	return s
}

func (s *scene) close() {
	s.end()
	s.w.Close()
	if s.t.Failed() {
		s.t.Log(s.w.Trace())
	}
}

func (s *scene) commit(layer string) {
	hosts := ""
	for i := range s.w.names {
		hosts += fmt.Sprintf("    - {name: h%d, endpoint: \"tcp://127.0.0.%d:2375\", insecure: true, publicAddresses: [203.0.113.%d]}\n", i+1, i+1, i+1)
	}
	files := map[string]string{
		"fleet.yaml": fmt.Sprintf("apiVersion: evenkeel.dev/v1\nkind: Fleet\nmetadata: {name: %s}\nspec:\n  network: {driver: bridge, pool: 10.99.0.0/20}\n"+
			"  dns: {internal: {ttl: 4s}%s}\n  prune: {maxShare: 100%%}\n  hosts:\n%s", FleetName, s.p.fleet, hosts),
		"shop.yaml": fmt.Sprintf("apiVersion: evenkeel.dev/v1\nkind: Environment\nmetadata: {name: shop}\nspec:\n  layers:\n"+
			"    - {name: web, image: \"registry.example.com/web:1\", ports: [{name: http, port: 8080%s}], %s}\n%s", s.publish(), layer, s.p.environment),
	}
	revision, err := s.w.Read(files)
	require.NoError(s.t, err)
	s.w.Want(revision)
	s.w.Repo.Commit(files)
}

// publish has what is to be found from outside be reached from there.
func (s *scene) publish() string {
	if s.p.environment == "" {
		return ""
	}
	return ", publish: 8080"
}

// took is how long it took from one line of the trace, not earlier than from, to the next of another.
func (s *scene) took(p pace, from time.Duration) time.Duration {
	first, then := regexp.MustCompile(p.from), regexp.MustCompile(p.to)
	for begun := time.Now(); time.Since(begun) < settles; time.Sleep(time.Second) {
		s.w.mu.Lock()
		lines := s.w.trace
		s.w.mu.Unlock()
		began := time.Duration(-1)
		for _, l := range lines {
			switch {
			case l.at < from:
			case began >= 0 && then.MatchString(l.text):
				return l.at - began
			case began < 0 && first.MatchString(l.text):
				began = l.at
			}
		}
	}
	require.Fail(s.t, "it didn't happen", "%s: from %s to %s\n%s", p.key, p.from, p.to, text(s.current().CurrentPlan()))
	return 0
}

// each does something to the containers of nodes.
func (s *scene) each(do func(c *container, id fleet.NodeID)) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	for _, name := range s.w.names {
		for _, c := range s.w.hosts[name].containers {
			if id, ok := c.node(); ok {
				do(c, id)
			}
		}
	}
}

// breakNew has what is started from now on never answer.
func (s *scene) breakNew() {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.program.broken = true
}

// breakAll has nothing answer any more.
func (s *scene) breakAll() {
	s.breakNew()
	s.each(func(c *container, _ fleet.NodeID) { c.sicken() })
}

func (c *container) sicken() {
	c.behaviour.broken = true
	c.host.changed(byFault)
}

// killNode is somebody who kills node 2.
func (s *scene) killNode() {
	s.each(func(c *container, id fleet.NodeID) {
		if id.Node == 2 {
			c.byHand = true
			c.end(137, byFault)
		}
	})
}

// deafen has node 2 take questions and not answer them.
func (s *scene) deafen() {
	s.each(func(c *container, id fleet.NodeID) { c.deaf = id.Node == 2 })
}

// relapse has node 2 end by itself, and never be well again.
func (s *scene) relapse() {
	s.each(func(c *container, id fleet.NodeID) {
		if id.Node == 2 {
			c.behaviour.broken = true
			c.end(1, byItself)
		}
	})
}

// settle lets the probes come into their places within their interval.
func (s *scene) settle() { time.Sleep(time.Minute) }

// automatic has somebody leave the records' TTLs to the provider.
func (s *scene) automatic() {
	records := s.w.rules.recordsOf("web.example.com")
	s.w.Zone.Take(func(r fleet.DNSRecord) bool { return strings.HasPrefix(r.Name, "web.") })
	for _, r := range records {
		r.TTL = 0
		require.NoError(s.t, s.w.Zone.Put(r))
	}
}
