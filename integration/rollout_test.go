package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// webAndClient is an environment of three nodes and a client that asks them a hundred times a second.
func webAndClient(version int, env, policy string) string {
	return fmt.Sprintf(`
    - name: web
      image: node:1
      replicas: 3
      ports: [{name: http, port: 8080}]
      env: {VERSION: "%d"%s}
      stop: {grace: 5s}
      updatePolicy: {%s}
    - name: client
      image: load:1
      replicas: 1
      dependsOn: [web]
      ports: [{name: http, port: 8080}]
      command: ["http://web:8080/", "100"]
`, version, env, policy)
}

// result is what the client counted.
type result struct {
	Requests int            `json:"requests"`
	Failed   int            `json:"failed"`
	Errors   []string       `json:"errors"`
	Answers  map[string]int `json:"answers"`
}

// asked reads what the client counted so far.
func (s *site) asked(h *hosts.Host) result {
	s.t.Helper()
	client := s.nodesOf(h, "client")
	require.Len(s.t, client, 1)
	return s.askedOf(h, client[0])
}

// askedOf reads what one client counted so far.
func (s *site) askedOf(h *hosts.Host, client fleet.Instance) result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+client.Address.String()+":8080/result", http.NoBody)
	require.NoError(s.t, err)
	web := http.Client{Transport: &http.Transport{DialContext: h.DialContext, DisableKeepAlives: true}}
	resp, err := web.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	var r result
	require.NoError(s.t, json.NewDecoder(resp.Body).Decode(&r))
	return r
}

// nodesOf are the running instances of a layer on a host.
func (s *site) nodesOf(h *hosts.Host, layer string) []fleet.Instance {
	s.t.Helper()
	var list []fleet.Instance
	for _, in := range s.observe(h).Instances {
		if in.Layer == layer && in.Running() {
			list = append(list, in)
		}
	}
	return list
}

// fewest watches how many of a layer's nodes accept connections, until it is stopped.
func (s *site) fewest(h *hosts.Host, layer string) (stop func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int)
	e := engine(s.t, h)
	go func() {
		least := 1 << 30
		for ctx.Err() == nil {
			n := 0
			for _, in := range e.Observe(ctx, s.fleet).Instances {
				if in.Layer == layer && in.Running() && accepts(ctx, h, in) {
					n++
				}
			}
			if ctx.Err() == nil {
				least = min(least, n)
			}
		}
		done <- least
	}()
	return func() int {
		cancel()
		return <-done
	}
}

func accepts(ctx context.Context, h *hosts.Host, in fleet.Instance) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := h.DialContext(ctx, "tcp", net.JoinHostPort(in.Address.String(), "8080"))
	if err != nil {
		return false
	}
	_ = c.Close() // it was accepted, which is all that was asked
	return true
}

func TestRolloutUnderLoad(t *testing.T) {
	const careful = "delay: 1s, minHealthy: 1s, drainTimeout: 5s"
	tests := []struct {
		name, env, policy string
		lossless          bool
	}{
		{"sequential", "", careful, true},
		{"sequential, a second to listen and no health check", `, LISTEN_AFTER: 1s`, careful, true},
		{"simultaneous", `, LISTEN_AFTER: 1s`, "strategy: simultaneous, minHealthy: 1s, drainTimeout: 1s", false},
		{"without withdrawal", `, LISTEN_AFTER: 1s`, careful + ", removeFromDNS: false", false},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := lab.Host(i%3 + 1)
			s := newSite(t, h)
			s.environment("shop", webAndClient(1, test.env, test.policy))
			s.apply()
			before := s.asked(h)
			s.environment("shop", webAndClient(2, test.env, test.policy))
			least := s.fewest(h, "web")
			s.apply()
			fewest := least()
			after := s.asked(h)
			requests, failed := after.Requests-before.Requests, after.Failed-before.Failed
			t.Logf("%d requests, %d failed, at least %d nodes accepted throughout", requests, failed, fewest)
			require.Greater(t, requests, 100, "the client was not at work")
			for _, in := range s.nodesOf(h, "web") {
				require.Equal(t, 2, in.Generation, "%s was not redeployed", in.NodeID)
			}
			if !test.lossless {
				require.Positive(t, failed, "the test can't see lost requests")
				return
			}
			require.Zero(t, failed, "%v", after.Errors)
			require.GreaterOrEqual(t, fewest, 2)
			require.Len(t, after.Answers, 3, "every node answers")
		})
	}
}

func TestCrashInTheGate(t *testing.T) {
	t.Parallel()
	h := lab.Host(1)
	s := newSite(t, h)
	const policy = "minHealthy: 1s, delay: 0s, healthTimeout: 6s"
	s.environment("shop", webAndClient(1, "", policy))
	s.apply()
	s.environment("shop", webAndClient(2, `, EXIT_AFTER: 10ms, EXIT_CODE: "7"`, policy))
	o := s.evenkeel("apply")
	require.Equal(t, 1, o.code, "%s", o)
	require.Contains(t, o.stderr, "exit code 7")
	require.Contains(t, o.stderr, "node: serving on", "the node's last lines are shown")
	running := 0
	for _, in := range s.nodesOf(h, "web") {
		if in.Generation == 1 {
			running++
		}
	}
	require.Equal(t, 2, running, "the rest is untouched")

	p := s.evenkeel("plan")
	require.Contains(t, p.stdout, "paused", "%s", p)
	again := s.evenkeel("apply")
	require.Equal(t, 1, again.code, "a pause holds: %s", again)

	s.environment("shop", webAndClient(3, "", policy))
	s.apply()
	require.Equal(t, 3, layer(t, s.status(), "shop", "web").Serving)
}

// A commit that changes the program's port and its check together is a rollout like any other: the nodes
// that aren't changed yet go on serving, and each is drained.
func TestACheckThatChangesWithTheProgram(t *testing.T) {
	t.Parallel()
	h := lab.Host(2)
	s := newSite(t, h)
	environment := func(port int) {
		s.environment("shop", fmt.Sprintf(`
    - name: web
      image: node:1
      replicas: 3
      ports: [{name: http, port: %[1]d}]
      env: {PORT: "%[1]d"}
      healthCheck: {http: {port: http, path: /healthz}, interval: 1s, timeout: 1s, retries: 1}
      updatePolicy: {minHealthy: 1s, delay: 0s}
`, port))
	}
	environment(8080)
	s.apply()
	environment(9090)
	o := s.apply()
	for node := 1; node <= 3; node++ {
		require.Contains(t, o.stderr, fmt.Sprintf("shop/web/%d on h2: redeploy drain", node), "%s", o)
	}
	require.Equal(t, 3, layer(t, s.status(), "shop", "web").Serving)
}
