package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

func TestRunHeals(t *testing.T) {
	t.Parallel()
	h := lab.Host(2)
	s := newSite(t, h)
	s.environment("shop", webAndClient(1, "", "minHealthy: 0s, delay: 0s"))
	l := s.run()
	l.converged()
	s.answered(h, 3)

	for i, hand := range [][]string{{"kill"}, {"stop"}, {"rm", "-f"}} {
		node := i + 1
		victim := s.node(h, "web", node)
		begun := time.Now()
		byHand(t, h, append(hand, victim.ID)...)
		first := l.firstStep(node, begun)
		t.Logf("docker %s: begun to be healed %s after the command was given", strings.Join(hand, " "), first.Time.Sub(begun))
		if hand[0] == "kill" { // the others take their time themselves
			require.Less(t, first.Time.Sub(begun), seen)
		}
		st := l.until(patience, func(st reconciler.Status) error {
			web := layer(t, st, "shop", "web")
			return unless(web.Serving == 3 && st.Converged, "not healed")
		})
		healed := layer(t, st, "shop", "web").Nodes[node-1]
		require.True(t, healed.Since.After(victim.StartedAt))
		s.answered(h, 3)
	}
}

func TestRunHealsTheKeeper(t *testing.T) {
	t.Parallel()
	h := lab.Host(3)
	s := newSite(t, h)
	s.environment("shop", webAndClient(1, "", "minHealthy: 0s, delay: 0s"))
	l := s.run()
	l.converged()
	started := map[string]time.Time{}
	for _, in := range s.observe(h).Instances {
		started[in.ID] = in.StartedAt
	}
	name := fleet.KeeperName(s.fleet)
	for _, hand := range [][]string{{"kill"}, {"stop"}, {"rm", "-f"}} {
		begun := time.Now()
		byHand(t, h, append(hand, name)...)
		given := time.Now()
		l.until(patience, func(st reconciler.Status) error {
			return unless(!st.Converged || st.Time.After(given) && l.keeperSince(h).After(begun), "not seen")
		})
		t.Logf("docker %s: seen %s after it was done", strings.Join(hand, " "), time.Since(given))
		require.Less(t, time.Since(given), seen)
		l.until(patience, func(st reconciler.Status) error {
			return unless(st.Converged && l.keeperSince(h).After(begun), "not healed")
		})
		t.Logf("docker %s: healed %s after it was done", strings.Join(hand, " "), time.Since(given))
		s.answered(h, 3)
	}
	for _, in := range s.observe(h).Instances {
		require.Equal(t, started[in.ID], in.StartedAt, "no node was touched for the keeper's sake")
	}
}

// keeperSince is when the keeper's container was started; zero: it doesn't run.
func (l *loop) keeperSince(h *hosts.Host) time.Time {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := h.Exec(ctx, "docker", "inspect", "-f", "{{.State.Running}} {{.State.StartedAt}}", fleet.KeeperName(l.site.fleet))
	if err != nil {
		return time.Time{}
	}
	text, running := strings.CutPrefix(strings.TrimSpace(string(out)), "true ")
	if !running {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	require.NoError(l.t, err)
	return at
}

const oneWeb = `
    - name: web
      image: node:1
      replicas: 1
      ports: [{name: http, port: 8080}]
      env: {VERSION: "%d"}
      updatePolicy: {minHealthy: 0s, delay: 0s, drainTimeout: 0s}
`

func TestRunKeepsTheLastGoodRevision(t *testing.T) {
	t.Parallel()
	h := lab.Host(1)
	s := newSite(t, h)
	s.environment("shop", fmt.Sprintf(oneWeb, 1))
	l := s.run("--ref", "main", "--interval", "1s")
	good := l.converged().Revision
	before := s.node(h, "web", 1)

	refused := func(says ...string) {
		t.Helper()
		st := l.until(patience, func(st reconciler.Status) error {
			for _, text := range says {
				if !strings.Contains(st.Refused, text) {
					return fmt.Errorf("refused doesn't say %q", text)
				}
			}
			return nil
		})
		require.Equal(t, good, st.Revision)
		require.False(t, st.Converged)
		require.Contains(t, l.stderr.String(), says[0])
		code, body := l.get("/readyz")
		require.Equal(t, http.StatusOK, code, "the last good one is in force: %s", body)
	}
	taken := func() {
		t.Helper()
		good = l.converged().Revision
		st, err := l.status()
		require.NoError(t, err)
		require.Empty(t, st.Refused)
	}
	untouched := func() {
		t.Helper()
		in := s.node(h, "web", 1)
		require.Equal(t, before.ID, in.ID)
		require.Equal(t, before.StartedAt, in.StartedAt)
	}

	// An invalid commit that would also change the node, and what mends it.
	s.environment("shop", strings.Replace(fmt.Sprintf(oneWeb, 2), "replicas", "replica", 1))
	refused("shop.yaml:9:7", "replicas")
	untouched()
	s.environment("shop", fmt.Sprintf(oneWeb, 1))
	taken()
	untouched()

	// While the branch is gone, what is broken by hand is healed from the last good revision.
	s.git("branch", "-m", "main", "elsewhere")
	refused("main")
	byHand(t, h, "rm", "-f", before.ID)
	l.until(patience, func(st reconciler.Status) error {
		now := s.observe(h).Instances // none: the status is from before the removal
		return unless(layer(t, st, "shop", "web").Serving == 1 && len(now) == 1 && now[0].ID != before.ID, "not healed")
	})
	before = s.node(h, "web", 1)
	s.git("branch", "-m", "elsewhere", "main")
	taken()
	untouched()

	// A branch that is replaced by another history.
	s.git("commit", "-q", "--amend", "-m", "another history")
	l.until(patience, func(reconciler.Status) error {
		for _, says := range []string{"is valid and in force", "the repository can be read again", "force-pushed"} {
			if !strings.Contains(l.stderr.String(), says) {
				return fmt.Errorf("it isn't said: %s", says)
			}
		}
		return nil
	})
}

func TestRunHoldsADamagedRepository(t *testing.T) {
	t.Parallel()
	h := lab.Host(2)
	s := newSite(t, h)
	s.environment("shop", fmt.Sprintf(oneWeb, 1))
	l := s.run("--interval", "1s")
	good := l.converged().Revision
	before := s.node(h, "web", 1)
	away := s.dir + "-away"

	require.NoError(t, os.Rename(filepath.Join(s.dir, ".git", "objects"), away))
	st := l.until(patience, func(st reconciler.Status) error { return unless(st.Refused != "", "not noticed") })
	t.Logf("without its objects: %s", st.Refused)
	require.Equal(t, good, st.Revision)
	byHand(t, h, "kill", before.ID)
	l.until(patience, func(st reconciler.Status) error {
		web := layer(t, st, "shop", "web")
		return unless(web.Serving == 1 && web.Nodes[0].Since.After(before.StartedAt), "not healed meanwhile")
	})
	require.NoError(t, os.RemoveAll(filepath.Join(s.dir, ".git", "objects")))
	require.NoError(t, os.Rename(away, filepath.Join(s.dir, ".git", "objects")))
	s.environment("shop", fmt.Sprintf(oneWeb, 2))
	st = l.converged()
	require.Empty(t, st.Refused)
}

func TestOneControllerAtATime(t *testing.T) {
	t.Parallel()
	s := newSite(t, lab.Hosts()...)
	s.environment("shop", fmt.Sprintf(oneWeb, 1))
	first := s.run()
	first.converged()

	// apply refuses and says for whom.
	o := s.evenkeel("apply")
	require.Equal(t, 1, o.code, "%s", o)
	require.Contains(t, o.stderr, "is at work on this fleet", "%s", o)
	require.Contains(t, o.stderr, fmt.Sprint(first.cmd.Process.Pid), "%s", o)
	// plan and status only read.
	require.Equal(t, 0, s.evenkeel("plan").code)
	require.Equal(t, 1, layer(t, s.status(), "shop", "web").Serving)

	// run waits, says for whom, and isn't ready meanwhile.
	second := s.run()
	second.waitsFor(first)
	first.signal(syscall.SIGTERM)
	require.Equal(t, 0, first.wait().code, "%s", first.wait())
	begun := time.Now()
	second.leads()
	t.Logf("after the first ended, the second led in %s", time.Since(begun))

	third := s.run()
	third.waitsFor(second)
	second.signal(syscall.SIGKILL)
	<-second.done
	begun = time.Now()
	third.leads()
	t.Logf("after the second was killed, the third led in %s", time.Since(begun))
	require.Less(t, time.Since(begun), 22*time.Second)
	s.environment("shop", fmt.Sprintf(oneWeb, 2))
	third.converged()
}

func (l *loop) waitsFor(other *loop) {
	l.t.Helper()
	st := l.until(patience, func(st reconciler.Status) error { return unless(st.Waiting != "", "doesn't wait") })
	require.Contains(l.t, st.Waiting, fmt.Sprint(other.cmd.Process.Pid))
	code, body := l.get("/readyz")
	require.Equal(l.t, http.StatusServiceUnavailable, code)
	require.Contains(l.t, body, "is at work on this fleet")
	code, _ = l.get("/healthz")
	require.Equal(l.t, http.StatusOK, code)
}

func (l *loop) leads() {
	l.t.Helper()
	l.until(patience, func(st reconciler.Status) error { return unless(st.Waiting == "" && st.Converged, "still waits") })
	eventually(l.t, patience, func() error {
		code, body := l.get("/readyz")
		return unless(code == http.StatusOK, body)
	})
}

func TestRunWithoutAValidRevision(t *testing.T) {
	t.Parallel()
	h := lab.Host(3)
	s := newSite(t, h)
	s.environment("shop", strings.Replace(fmt.Sprintf(oneWeb, 1), "image", "imagine", 1))
	l := s.run()
	eventually(t, patience, func() error {
		code, body := l.get("/readyz")
		return unless(code == http.StatusServiceUnavailable && strings.Contains(body, "shop.yaml:8:7"), fmt.Sprint(code, body))
	})
	code, _ := l.get("/healthz")
	require.Equal(t, http.StatusOK, code)
	code, body := l.get("/api/v1/plan")
	require.Equal(t, http.StatusOK, code)
	var p plan.Plan
	require.NoError(t, json.Unmarshal([]byte(body), &p))
	s.environment("shop", fmt.Sprintf(oneWeb, 1))
	l.converged()
	code, body = l.get("/readyz")
	require.Equal(t, http.StatusOK, code, body)
	code, body = l.get("/api/v1/plan")
	require.Equal(t, http.StatusOK, code)
	require.NoError(t, json.Unmarshal([]byte(body), &p))
	require.False(t, p.HasChanges, body)
	require.NotEmpty(t, p.Revision)
}

// starts are the revisions whose containers were started, by node of layer web, as the engine told.
type starts struct {
	mu     sync.Mutex
	byNode map[string][]string
}

func (s *site) starts(h *hosts.Host) *starts {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	events, done := engine(s.t, h).Events(ctx, s.fleet), make(chan struct{})
	list := &starts{byNode: map[string][]string{}}
	go func() {
		defer close(done)
		for e := range events {
			if e.Action == "start" && e.Labels[fleet.LabelLayer] == "web" {
				list.add(e.Labels[fleet.LabelNode], e.Labels[fleet.LabelRevision])
			}
		}
	}()
	s.t.Cleanup(func() { cancel(); <-done })
	return list
}

func (l *starts) add(node, revision string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byNode[node] = append(l.byNode[node], revision)
}

func (l *starts) of(node string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.byNode[node])
}

func TestNewerCommitOvertakesARollout(t *testing.T) {
	t.Parallel()
	h := lab.Host(1)
	s := newSite(t, h)
	const policy = "minHealthy: 0s, delay: 4s, drainTimeout: 0s"
	commit := func(version int) string {
		s.environment("shop", webAndClient(version, "", policy))
		return s.head()
	}
	started := s.starts(h)
	first := commit(1)
	l := s.run()
	l.converged()
	middle := commit(2)
	// The first node is done, and the delay runs.
	eventually(t, patience, func() error {
		return unless(slices.ContainsFunc(l.steps(), func(p step) bool {
			return p.Node == 3 && p.Operation == plan.Redeploy && p.Phase == rollout.PhaseDone
		}), "node 3 has not been redeployed")
	})
	newest := commit(3)
	l.converged()
	require.Equal(t, []string{first, middle, newest}, started.of("3"))
	require.Equal(t, []string{first, newest}, started.of("2"), "it was untouched, and goes straight to the newest")
	require.Equal(t, []string{first, newest}, started.of("1"), "it was untouched, and goes straight to the newest")
	require.Len(t, s.observe(h).Instances, 4, "nothing is left over")
}

func TestRunFollowsCommits(t *testing.T) {
	t.Parallel()
	h := lab.Host(3)
	s := newSite(t, h)
	s.environment("shop", fmt.Sprintf(oneWeb, 1))
	s.environment("blog", fmt.Sprintf(oneWeb, 1))
	l := s.run()
	l.converged()
	require.Len(t, s.observe(h).Instances, 2)

	// An environment that is removed from git is removed from the hosts, the other isn't touched.
	stays := s.observe(h).Instances[0]
	require.Equal(t, "blog", stays.Environment)
	s.git("rm", "-q", "shop.yaml")
	s.commit()
	l.converged()
	st := s.observe(h)
	require.Len(t, st.Instances, 1)
	require.Equal(t, stays.StartedAt, st.Instances[0].StartedAt)
	for _, n := range st.Networks {
		require.NotEqual(t, fleet.NetworkName(s.fleet, "shop"), n.Name, "the network is gone")
	}

	// Asked to end in the middle of an operation, it finishes the node at hand.
	const slow = "\n      healthCheck: {http: {port: http, path: /healthz}, interval: 1s}\n"
	layers := strings.Replace(fmt.Sprintf(oneWeb, 2), "minHealthy: 0s", "minHealthy: 3s", 1)
	s.environment("blog", strings.TrimRight(layers, "\n")+slow)
	eventually(t, patience, func() error {
		return unless(slices.ContainsFunc(l.steps(), func(p step) bool { return p.Operation == plan.Redeploy && p.Phase == rollout.PhaseGate }), "not at the gate")
	})
	l.signal(syscall.SIGINT)
	o := l.wait()
	require.Contains(t, []int{0, 130}, o.code, "%s", o)
	require.Contains(t, o.stderr, "finishing blog/web/1")
	steps := l.steps()
	require.Equal(t, rollout.PhaseDone, steps[len(steps)-1].Phase, "%s", o)
	web := layer(t, s.status(), "blog", "web")
	require.Equal(t, 1, web.Serving)
	require.Equal(t, 2, web.Nodes[0].Generation)
}
