package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// What run goes on with by itself, without a commit, because the world got better.

// dependent is a layer of nodes that keep their volumes; from version 2 on one is healthy only once there is a
// file in its volume.
func dependent(version int) string {
	with := ""
	if version > 1 {
		with = ", HEALTHY_WITH: /data/ready"
	}
	return fmt.Sprintf(`
    - name: web
      image: node:1
      replicas: 3
      ports: [{name: http, port: 8080}]
      env: {VERSION: "%d"%s}
      volumes: [{name: data, path: /data, onRemove: delete}]
      healthCheck: {http: {port: http, path: /healthz}, interval: 500ms, retries: 1}
      stop: {grace: 5s}
      updatePolicy: {delay: 0s, minHealthy: 1s, drainTimeout: 0s, healthTimeout: 20s}
`, version, with)
}

// putReady puts the file into a node's volume that dependent nodes wait for.
func (s *site) putReady(h *hosts.Host, in fleet.Instance) {
	s.t.Helper()
	dir := byHand(s.t, h, "inspect", "-f", "{{range .Mounts}}{{.Source}}{{end}}", in.ID)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := h.Exec(ctx, "touch", dir+"/ready")
	require.NoError(s.t, err, "%s", out)
}

func TestRunGoesOnWhereTheFailedNodeRecovered(t *testing.T) {
	t.Parallel()
	h := lab.Host(1)
	s := newSite(t, h)
	s.environment("shop", dependent(1))
	l := s.run("--interval", "10m") // nothing is found out by reading everything now and then
	l.converged()
	for n := range 2 {
		s.putReady(h, s.node(h, "web", n+1))
	}

	s.environment("shop", dependent(2))
	st := l.until(patience, func(st reconciler.Status) error {
		return unless(layer(t, st, "shop", "web").Paused != "", "not paused")
	})
	require.Contains(t, layer(t, st, "shop", "web").Paused, "redeploy of node 3 failed")
	require.False(t, st.Converged)
	require.Equal(t, []int{3}, s.startedWith("VERSION=2", h))
	failed := s.node(h, "web", 3)

	s.putReady(h, failed)
	st = l.converged()
	require.Empty(t, layer(t, st, "shop", "web").Paused)
	require.Equal(t, []int{1, 2, 3}, s.startedWith("VERSION=2", h))
	after := s.node(h, "web", 3)
	require.Equal(t, failed.ID, after.ID, "what recovered is left as it is")
	require.Equal(t, failed.StartedAt, after.StartedAt)
	s.allNamed(h, 3)
	require.Len(t, s.observe(h).Instances, 3, "nothing is left over")
}

func TestRunStartsANodeAgainThatWasKilledAtItsGate(t *testing.T) {
	t.Parallel()
	h := lab.Host(2)
	s := newSite(t, h)
	two := func(version int) string {
		layers := strings.Replace(fmt.Sprintf(oneWeb, version), "replicas: 1", "replicas: 2", 1)
		return strings.Replace(layers, "minHealthy: 0s", "minHealthy: 4s, healthTimeout: 40s", 1)
	}
	s.environment("shop", two(1))
	l := s.run("--interval", "10m")
	l.converged()

	s.environment("shop", two(2))
	l.until(patience, func(reconciler.Status) error {
		return enough(len(l.reached(plan.Redeploy, rollout.PhaseGate)), 1)
	})
	victim := s.node(h, "web", 2)
	require.Equal(t, 2, victim.Generation)
	byHand(t, h, "kill", victim.ID)
	killed := time.Now()
	var again fleet.Instance
	eventually(t, patience, func() error {
		for _, in := range s.nodesOf(h, "web") {
			if in.ID == victim.ID && in.StartedAt.After(victim.StartedAt) {
				again = in
				return nil
			}
		}
		return fmt.Errorf("%s was not started again:\n%s", victim.NodeID, l.stderr.String())
	})
	t.Logf("it was started again after %s", again.StartedAt.Sub(killed))
	l.converged()
	require.Equal(t, []int{1, 2}, s.startedWith("VERSION=2", h))
	require.Equal(t, again.StartedAt, s.node(h, "web", 2).StartedAt, "once is enough")
	for _, st := range l.steps() {
		require.NotEqual(t, rollout.PhaseFailed, st.Phase, "%+v", st)
	}
	s.allNamed(h, 2)
	require.Len(t, s.observe(h).Instances, 2, "nothing is left over")
}

func TestRunGoesOnOnceAnImageIsThere(t *testing.T) {
	t.Parallel()
	h := lab.Host(3)
	s := newSite(t, h)
	image, strict := "nowhere.example/late-"+s.fleet+":1", "nowhere.example/late-"+s.fleet+":2"
	layers := func(image string) string {
		web := strings.Replace(fmt.Sprintf(oneWeb, 1), "replicas: 1", "replicas: 2", 1)
		return strings.Replace(web, "image: node:1", "image: "+image, 1)
	}
	s.environment("shop", layers("node:1"))
	l := s.run()
	l.converged()
	serving := map[int]fleet.Instance{}
	for _, in := range s.nodesOf(h, "web") {
		serving[in.Node] = in
	}

	// One layer waits with its creates, one with its redeploys, and one has no registry to ask.
	s.environment("shop", layers(image)+"    - {name: strict, image: \""+strict+"\", pull: never, replicas: 1}\n")
	s.environment("blog", layers(image))
	waiting := []struct {
		environment, layer, image, says string
		nodes                           int
	}{
		{"shop", "web", image, "can't be fetched", 2},
		{"shop", "strict", strict, "forbids fetching it", 1},
		{"blog", "web", image, "can't be fetched", 2},
	}
	for _, w := range waiting {
		l.until(patience, func(reconciler.Status) error {
			reasons := l.waits(w.environment, w.layer)
			return unless(len(reasons) == w.nodes && strings.Contains(reasons[0], w.image) && strings.Contains(reasons[0], w.says), fmt.Sprint(w, reasons))
		})
	}
	for _, in := range s.nodesOf(h, "web") {
		require.Equal(t, serving[in.Node].StartedAt, in.StartedAt, "what serves isn't touched meanwhile")
	}
	require.Len(t, s.nodesOf(h, "web"), 2)

	byHand(t, h, "tag", "node:2", image)
	byHand(t, h, "tag", "node:2", strict)
	t.Cleanup(func() { byHand(t, h, "rmi", image, strict) })
	begun := time.Now()
	// It is asked for again after a while, which is longer each time.
	l.until(3*patience, func(st reconciler.Status) error { return unless(st.Converged, "not converged") })
	t.Logf("converged %s after the image was there", time.Since(begun))
	for _, in := range s.nodesOf(h, "web") {
		if in.Environment == "shop" {
			require.Equal(t, 2, in.Generation)
		}
	}
	require.Len(t, s.nodesOf(h, "web"), 4)
	require.Len(t, s.nodesOf(h, "strict"), 1)
}

// waits is why nodes of a layer wait, as the loop's plan says.
func (l *loop) waits(environment, name string) (reasons []string) {
	l.t.Helper()
	_, body := l.get("/api/v1/plan")
	var p struct {
		Layers []struct {
			Environment, Layer string
			Waiting            []plan.Waiting
		}
	}
	require.NoError(l.t, json.Unmarshal([]byte(body), &p), "%s", body)
	for _, of := range p.Layers {
		if of.Environment == environment && of.Layer == name {
			for _, w := range of.Waiting {
				reasons = append(reasons, w.Reason)
			}
		}
	}
	return reasons
}
