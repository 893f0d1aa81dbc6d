package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// twoLayers is an environment of nodes that take a moment to listen, whose layers are both redeployed node by node: web with a node on each host,
// published, and inner with its nodes on one host, where a client asks for it by name.
func twoLayers(version, port int) string {
	const policy = "{delay: 300ms, minHealthy: 300ms, drainTimeout: 1s, healthTimeout: 1m}"
	return fmt.Sprintf(`
    - name: web
      image: node:1
      replicas: 3
      placement: {antiAffinity: required}
      ports: [{name: http, port: 8080, publish: %[2]d}]
      env: {VERSION: "%[1]d", LISTEN_AFTER: 700ms}
      healthCheck: {http: {port: http, path: /healthz}, interval: 300ms}
      stop: {grace: 5s}
      updatePolicy: %[3]s
    - name: inner
      image: node:1
      replicas: 3
      placement: {hosts: {inner: "yes"}}
      ports: [{name: http, port: 8080}]
      env: {VERSION: "%[1]d", LISTEN_AFTER: 700ms}
      volumes: [{name: data, path: /data, onRemove: delete}]
      stop: {grace: 5s}
      updatePolicy: %[3]s
    - name: client
      image: load:1
      replicas: 1
      placement: {hosts: {inner: "yes"}}
      dependsOn: [inner]
      ports: [{name: http, port: 8080}]
      command: ["http://inner:8080/", "100"]
`, version, port, policy)
}

// moment is when a controller is killed: after so many of its steps were told, and a while.
type moment struct {
	steps int
	after time.Duration
}

// TestKilledAnywhere kills `apply` with SIGKILL at seeded moments of a rollout over three hosts, under load. The
// next pass ends as a rollout does that nothing disturbed, with nothing left over, and at every moment two of
// three nodes serve. `make soak` does it at 50 moments.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	killedAnywhere(t, 10, newSite(t, lab.Hosts()...), nil)
}

// killedAnywhere kills evenkeel at n moments of rollouts of a site; provider has web's external name, if it has one.
func killedAnywhere(t *testing.T, n int, s *site, p *provider) {
	t.Helper()
	seed, random := seeded(t)
	s.write("fleet.yaml", strings.Replace(s.read("fleet.yaml"), "{name: h1,", "{name: h1, labels: {inner: \"yes\"},", 1))
	version, port, first := 1, s.port(), s.hosts[0]
	names := ""
	if p != nil {
		names = "  dns:\n    - {name: shop.example.com, layer: web, proxied: true}\n"
	}
	commit := func() {
		version++
		s.environment("shop", twoLayers(version, port)+names)
	}
	s.environment("shop", twoLayers(version, port)+names)
	s.apply()

	// One that nothing disturbs: how it ends, and how long it takes.
	commit()
	whole := s.command(context.Background(), "apply", "-o", "json")
	begun := time.Now()
	require.Equal(t, 0, whole.wait().code, "%s", whole.wait())
	took, steps := time.Since(begun), whole.steps()
	want := s.shape()
	t.Logf("undisturbed: %s, %d steps", took, len(steps))

	eventually(t, patience, func() error { return enough(len(s.asked(first).Answers), 3) })
	load := s.asked(first)
	ports := patrolName(t, 20*time.Millisecond, p.leadsTo(s, port), port, s.hosts...)
	asked := []*lookups{s.watchName(first, "shop", "inner", 2)}
	for _, h := range s.hosts {
		asked = append(asked, s.watchName(h, "shop", "web", 1))
	}
	at := map[rollout.Phase]int{}
	for i, m := range moments(random, n, begun, took, steps) {
		commit()
		where := s.command(context.Background(), "apply", "-o", "json").killedAt(m)
		at[phaseOf(where)]++
		when := fmt.Sprintf("moment %d of %d with EVENKEEL_SEED=%d, killed after %d steps and %s: %s", i+1, n, seed, m.steps, m.after, where)
		t.Log(when)
		o := s.applyOnceFree()
		require.Equal(t, 0, o.code, "%s: %s", when, o)
		s.requireShape(want, when)
		for _, h := range s.hosts {
			require.Len(t, s.startedWith(fmt.Sprintf("VERSION=%d", version), h), 1, when)
			s.requireNamed(h, s.nodesOf(h, "web"))
		}
		s.requireNamed(first, s.nodesOf(first, "inner"))
		if p != nil {
			ours, _ := p.said(s)
			require.Equal(t, allThree, ours, when)
		}
		s.requireAtRest(t, when)
	}
	for _, l := range asked {
		l.end()
		require.Empty(t, l.wrong, "of %d lookups", l.asked)
		require.Greater(t, l.asked, 100)
	}
	require.Empty(t, ports.together(), "two of three nodes didn't serve")
	require.Empty(t, ports.lost, "of %d requests", ports.asked)
	require.Greater(t, ports.asked, 1000)
	after := s.asked(first)
	require.Empty(t, after.Errors[len(load.Errors):])
	require.Equal(t, load.Failed, after.Failed)
	t.Logf("killed at %v; %d requests by name, %d to published ports, %d outages of single nodes, none lost", at,
		after.Requests-load.Requests, ports.asked, len(ports.outages))
}

// leadsTo tells where web's external name leads to; nil: it has none.
func (p *provider) leadsTo(s *site, port int) func() []string {
	if p == nil {
		return nil
	}
	return func() (all []string) {
		for _, r := range p.Records("example.com") {
			for _, h := range s.hosts {
				if r.Name == "shop.example.com" && r.Content == s.public[h.Name()] {
					all = append(all, net.JoinHostPort(h.Address().String(), strconv.Itoa(port)))
				}
			}
		}
		return all
	}
}

// seeded makes a test's randomness from EVENKEEL_SEED, or a seed of its own, and says how to have the same again.
func seeded(t *testing.T) (uint64, *rand.Rand) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("EVENKEEL_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("to run it again: EVENKEEL_SEED=%d go test -count=1 -tags soak -timeout 40m -run '^%s$' -v ./integration", seed, t.Name())
		}
	})
	t.Logf("EVENKEEL_SEED=%d", seed)
	return seed, rand.New(rand.NewPCG(seed, 0))
}

// moments are spread over a whole rollout: one in three evenly over its time, one evenly over its steps, so that the
// short ones have their turn too, and one over those in which a node is changed and doesn't serve.
func moments(random *rand.Rand, n int, begun time.Time, took time.Duration, steps []step) []moment {
	times := []time.Duration{0}
	var changing []int // how many steps had been told when a node's change began
	for i, st := range steps {
		times = append(times, max(st.Time.Sub(begun), times[i]))
		if st.Phase == rollout.PhaseOperate {
			changing = append(changing, i+1)
		}
	}
	times = append(times, took)
	list := make([]moment, 0, n)
	for i := range n {
		share, into := (float64(i)+random.Float64())/float64(n), random.Float64()
		m := moment{steps: int(share * float64(len(times)-1))}
		switch i % 3 {
		case 0:
			at := time.Duration(share * float64(took))
			for m.steps = 0; times[m.steps+1] <= at && m.steps+2 < len(times); m.steps++ {
			}
			m.after = at - times[m.steps]
		case 1:
			m.after = time.Duration(into * float64(times[m.steps+1]-times[m.steps]))
		default:
			m.steps = changing[int(share*float64(len(changing)))]
			m.after = time.Duration(into * float64(500*time.Millisecond))
		}
		list = append(list, m)
	}
	return list
}

// killedAt kills a process at a moment and says what it had told last.
func (p *process) killedAt(m moment) (last step) {
	p.t.Helper()
	eventually(p.t, patience, func() error {
		select {
		case <-p.done:
			return nil
		default:
			return enough(len(p.steps()), m.steps)
		}
	})
	select {
	case <-p.done:
	case <-time.After(m.after): // what is tested, not a wait for something
		p.kill()
	}
	if steps := p.steps(); len(steps) > 0 {
		last = steps[len(steps)-1]
	}
	return last
}

func phaseOf(s step) rollout.Phase {
	if s.Phase == "" {
		return "begin"
	}
	return s.Phase
}

func (s step) String() string {
	if s.Phase == "" {
		return "nothing told yet"
	}
	return fmt.Sprintf("%s/%d on %s: %s %s", s.Layer, s.Node, s.Host, s.Operation, s.Phase)
}
