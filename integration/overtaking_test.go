package integration

import (
	"context"
	"fmt"
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

// stubborn is a layer changed simultaneously whose nodes have to be killed, which takes their whole grace:
// a commit or a signal finds some of them between their stop and their start.
func stubborn(version, replicas int, grace time.Duration) string {
	return fmt.Sprintf(`
    - name: web
      image: node:1
      replicas: %d
      ports: [{name: http, port: 8080}]
      env: {VERSION: "%d", IGNORE_TERM: "yes"}
      stop: {grace: %s}
      updatePolicy: {strategy: simultaneous, delay: 0s, minHealthy: 0s, drainTimeout: 0s, healthTimeout: 30s}
`, replicas, version, grace)
}

// killedAtTheEnd has the test's end not wait for stubborn nodes.
func (s *site) killedAtTheEnd(h *hosts.Host) {
	s.t.Cleanup(func() {
		kill := []string{"kill"}
		for _, in := range s.nodesOf(h, "web") {
			kill = append(kill, in.ID)
		}
		byHand(s.t, h, kill...)
	})
}

// reached are the nodes of layer web that have got to a phase of an operation, sorted.
func (p *process) reached(kind plan.Kind, phase rollout.Phase) []int {
	p.t.Helper()
	var nodes []int
	for _, st := range p.steps() {
		if st.Layer == "web" && st.Operation == kind && st.Phase == phase {
			nodes = append(nodes, st.Node)
		}
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

// allNamed requires that a layer's name is answered with the addresses of all its running nodes.
func (s *site) allNamed(h *hosts.Host, replicas int) {
	s.t.Helper()
	list := s.nodesOf(h, "web")
	require.Len(s.t, list, replicas)
	have, err := s.answers(h, "shop", "web.shop.internal")
	require.NoError(s.t, err)
	require.Len(s.t, have, replicas, "%v", have)
	for _, in := range list {
		require.Contains(s.t, have, in.Address, "%s is healthy and out of the names", in.NodeID)
	}
}

// truth watches whether a loop that says it has converged has: with all nodes of layer web as the revision
// that it names wants them, and nothing else there.
type truth struct {
	mu     sync.Mutex
	wanted map[string]string // VERSION by revision
}

func (tr *truth) want(s *site, version int) (revision string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	s.environment("shop", stubborn(version, stubborns, 8*time.Second))
	revision = s.head()
	tr.wanted[revision] = fmt.Sprintf("VERSION=%d", version)
	return revision
}

// watch looks until the test ends, and returns how to see how often `converged` was looked into.
func (tr *truth) watch(l *loop, h *hosts.Host) (end func() (checked int)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	checked := 0
	e := engine(l.t, h)
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			before, errBefore := l.status()
			there := e.Observe(ctx, l.site.fleet).Instances
			after, errAfter := l.status()
			// A revision that is in force before and after was so in between.
			if errBefore != nil || errAfter != nil || !before.Converged || !after.Converged || before.Revision != after.Revision || ctx.Err() != nil {
				continue
			}
			checked++
			tr.check(l.t, before, there)
		}
	}()
	return func() int {
		cancel()
		<-done
		return checked
	}
}

func (tr *truth) check(t *testing.T, st reconciler.Status, there []fleet.Instance) {
	tr.mu.Lock()
	want := tr.wanted[st.Revision]
	tr.mu.Unlock()
	running := 0
	for i := range there {
		if in := &there[i]; in.Running() && strings.Contains(in.Written, strings.Replace(want, "=", `":"`, 1)) {
			running++
		}
	}
	if running != stubborns || len(there) != stubborns {
		t.Errorf("%s says that it has converged: %d of %d instances run %s", st.Revision, running, len(there), want)
	}
}

const stubborns = 9

func TestRevertDuringASimultaneousRollout(t *testing.T) {
	t.Parallel()
	h := lab.Host(1)
	s := newSite(t, h)
	s.killedAtTheEnd(h)
	tr := &truth{wanted: map[string]string{}}
	tr.want(s, 1)
	l := s.run()
	l.converged()
	end := tr.watch(l, h)
	before := map[int]fleet.Instance{}
	for _, in := range s.nodesOf(h, "web") {
		before[in.Node] = in
	}

	tr.want(s, 2)
	l.until(patience, func(reconciler.Status) error {
		return enough(len(l.reached(plan.Redeploy, rollout.PhaseOperate)), 3)
	})
	tr.want(s, 1)
	l.converged()
	s.allNamed(h, stubborns)
	require.NotZero(t, end(), "the loop was never seen to have converged")

	stopped := l.reached(plan.Redeploy, rollout.PhaseOperate)
	t.Logf("nodes %v were at hand", stopped)
	require.Less(t, len(stopped), stubborns, "some were still to be begun")
	require.Len(t, s.startedWith("VERSION=1", h), stubborns)
	for _, in := range s.nodesOf(h, "web") {
		if !slices.Contains(stopped, in.Node) {
			require.Equal(t, before[in.Node].ID, in.ID)
			require.Equal(t, before[in.Node].StartedAt, in.StartedAt, "%s was never at hand", in.NodeID)
		}
	}
	for _, st := range l.steps() {
		require.NotEqual(t, rollout.PhaseFailed, st.Phase, "%+v", st)
	}
	require.Len(t, s.observe(h).Instances, stubborns, "nothing is left over")
}

func TestCtrlCInASimultaneousApply(t *testing.T) {
	t.Parallel()
	h := lab.Host(2)
	s := newSite(t, h)
	s.killedAtTheEnd(h)
	s.environment("shop", stubborn(1, stubborns, 4*time.Second))
	s.apply()
	before := map[int]fleet.Instance{}
	for _, in := range s.nodesOf(h, "web") {
		before[in.Node] = in
	}

	s.environment("shop", stubborn(2, stubborns, 4*time.Second))
	p := s.command(context.Background(), "apply", "-o", "json")
	eventually(t, patience, func() error { return enough(len(p.reached(plan.Redeploy, rollout.PhaseOperate)), 3) })
	p.signal(syscall.SIGINT)
	o := p.wait()
	require.Equal(t, 130, o.code, "%s", o)
	finished := p.reached(plan.Redeploy, rollout.PhaseDone)
	t.Logf("nodes %v were finished", finished)
	require.NotEmpty(t, finished)
	require.Less(t, len(finished), stubborns)
	require.Contains(t, o.stderr, "finishing shop/web/")
	require.Equal(t, finished, s.startedWith("VERSION=2", h))
	s.allNamed(h, stubborns)
	for _, in := range s.nodesOf(h, "web") {
		if !slices.Contains(finished, in.Node) {
			require.Equal(t, before[in.Node].ID, in.ID)
			require.Equal(t, before[in.Node].StartedAt, in.StartedAt, "%s was untouched", in.NodeID)
		}
	}

	s.apply()
	require.Len(t, s.startedWith("VERSION=2", h), stubborns)
	s.allNamed(h, stubborns)
	require.Len(t, s.observe(h).Instances, stubborns, "nothing is left over")
}

func TestOvertakenBetweenStopAndStart(t *testing.T) {
	t.Parallel()
	h := lab.Host(3)
	s := newSite(t, h)
	s.killedAtTheEnd(h)
	commit := func(version int) string {
		s.environment("shop", stubborn(version, 1, 10*time.Second))
		return s.head()
	}
	started := s.starts(h)
	first := commit(1)
	l := s.run()
	l.converged()
	commit(2)
	l.until(patience, func(reconciler.Status) error {
		return enough(len(l.reached(plan.Redeploy, rollout.PhaseOperate)), 1)
	})
	newest := commit(3)
	l.converged()
	require.Equal(t, []string{first, newest}, started.of("1"), "straight to the newest")
	require.Len(t, s.observe(h).Instances, 1, "nothing is left over")
	s.allNamed(h, 1)
}
