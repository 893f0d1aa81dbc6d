package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

// soon is how long healing may take beside something that hangs. What hangs is waited for ten seconds and
// more where it is waited for at all, so that this tells the two apart also on a busy machine.
const soon = 5 * time.Second

// answers are the addresses that a host's keeper gives for a name, asked from the host itself.
func (s *site) answers(h *hosts.Host, environment, name string) ([]netip.Addr, error) {
	s.t.Helper()
	keepers := s.observe(h).Keepers
	require.Len(s.t, keepers, 1)
	server := netip.AddrPortFrom(keepers[0].Networks[s.network(environment)], 53).String()
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return h.DialContext(ctx, "udp", server)
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return r.LookupNetIP(ctx, "ip4", name)
}

// named waits until a name is, or isn't, answered with an instance's address.
func (s *site) named(h *hosts.Host, in fleet.Instance, want bool) {
	s.t.Helper()
	eventually(s.t, patience, func() error {
		have, err := s.answers(h, in.Environment, in.Layer+"."+in.Environment+".internal")
		if err != nil {
			return err
		}
		return unless(slices.Contains(have, in.Address) == want, fmt.Sprintf("%s is answered with %v; %s is wanted there: %t", in.Layer, have, in.Address, want))
	})
}

func TestRunHealsAPausedNode(t *testing.T) {
	t.Parallel()
	h := lab.Host(1)
	s := newSite(t, h)
	s.environment("shop", webAndClient(1, "", "minHealthy: 3s, delay: 0s"))
	l := s.run()
	l.converged()
	s.answered(h, 3)

	victim := s.node(h, "web", 2)
	begun := time.Now()
	byHand(t, h, "pause", victim.ID)
	first := l.firstStep(2, begun)
	t.Logf("docker pause: begun to be healed %s after the command was given", first.Time.Sub(begun))
	require.Less(t, first.Time.Sub(begun), seen)
	s.named(h, victim, false)
	t.Logf("out of the names %s after the command was given", time.Since(begun))
	s.named(h, victim, true)
	l.until(patience, func(st reconciler.Status) error { return unless(st.Converged, "not healed") })
	t.Logf("healed %s after the command was given", time.Since(begun))
	healed := s.node(h, "web", 2)
	require.Equal(t, fleet.StateRunning, healed.State)
	require.Equal(t, victim.ID, healed.ID)
	s.answered(h, 3)
}

// healed kills a node by hand, waits until it runs and serves again, and says how long that took.
func (l *loop) healed(h *hosts.Host, n int) time.Duration {
	l.t.Helper()
	victim := l.site.node(h, "web", n)
	byHand(l.t, h, "kill", victim.ID)
	begun := time.Now()
	l.servesAnew(victim)
	return time.Since(begun)
}

// servesAnew waits until a node that was killed serves again.
func (l *loop) servesAnew(victim fleet.Instance) {
	l.t.Helper()
	l.until(patience, func(st reconciler.Status) error {
		for _, e := range st.Environments {
			for _, l := range e.Layers {
				for _, n := range l.Nodes {
					if e.Name == victim.Environment && l.Name == victim.Layer && n.Node == victim.Node && n.Serving && n.Since.After(victim.StartedAt) {
						return nil
					}
				}
			}
		}
		return fmt.Errorf("%s isn't healed", victim.NodeID)
	})
}

// silence accepts connections and never answers.
func silence(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(lab.Manager(), 0).String())
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var taken []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			taken = append(taken, c)
		}
		for _, c := range taken {
			_ = c.Close() // the other end may be gone
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		<-done
	})
	return l.Addr().String()
}

func TestASilentRegistryHoldsUpNothingElse(t *testing.T) {
	t.Parallel()
	h := lab.Host(2)
	s := newSite(t, h)
	s.environment("shop", fmt.Sprintf(oneWeb, 1))
	l := s.run()
	l.converged()

	registry := silence(t)
	var layers strings.Builder
	for i := range 12 { // more than an engine is asked at once
		fmt.Fprintf(&layers, "    - {name: app%d, image: \"%s/app%d:1\", replicas: 1}\n", i, registry, i)
	}
	s.environment("blog", layers.String())
	l.until(patience, func(st reconciler.Status) error {
		for _, e := range st.Environments {
			if e.Name == "blog" {
				return nil
			}
		}
		return errors.New("the commit has not been read")
	})
	for range 3 {
		took := l.healed(h, 1)
		t.Logf("a killed node beside a registry that is silent: healed after %s", took)
		require.Less(t, took, soon)
	}
	l.until(patience, func(st reconciler.Status) error {
		n := layer(t, st, "blog", "app3").Nodes
		return unless(len(n) == 1 && strings.Contains(n[0].Reason, registry+"/app3:1") && strings.Contains(n[0].Reason, h.Name()), fmt.Sprint(n))
	})
	st, err := l.status()
	require.NoError(t, err)
	t.Logf("%+v", layer(t, st, "blog", "app3").Nodes)
}

func TestAHungHostDelaysNothingElsewhere(t *testing.T) {
	t.Parallel()
	own := ownLab(t, 3)
	bad, good := own.Host(1), own.Host(2) // the first by name is the first to be leased
	s := newSite(t, own.Hosts()...)
	s.environment("shop", spread(1, 3))
	l := s.run("--interval", "2s")
	l.converged()
	node := s.nodesOf(good, "web")[0].Node

	faulty(t, bad.HangEngine)
	begun := time.Now()
	for known := false; !known; {
		at := time.Since(begun).Round(time.Millisecond)
		st, err := l.status()
		require.NoError(t, err)
		known = len(st.Problems) > 0 // from then on it is known to be lost
		took := l.healed(good, node)
		t.Logf("a node killed %s after another host's engine began to hang (known: %t): healed after %s", at, known, took)
		require.Less(t, took, soon)
	}

	// A host that is known to be lost is left out at once, for each node of a rollout.
	s.environment("shop", spread(2, 3))
	eventually(t, patience, func() error {
		return enough(len(s.startedWith("VERSION=2", good))+len(s.startedWith("VERSION=2", own.Host(3))), 2)
	})
	withdrawn := map[int]time.Time{}
	for _, st := range l.steps() {
		switch {
		case st.Operation != plan.Redeploy:
		case st.Phase == rollout.PhaseWithdraw:
			withdrawn[st.Node] = st.Time
		case st.Phase == rollout.PhaseOperate:
			took := st.Time.Sub(withdrawn[st.Node])
			t.Logf("node %d was withdrawn in %s", st.Node, took)
			require.Less(t, took, soon)
		}
	}
	require.Len(t, withdrawn, 2)
	faulty(t, bad.ResumeEngine)
	l.converged()
}

func TestRunBeginsBesideAHungHost(t *testing.T) {
	t.Parallel()
	own := ownLab(t, 3)
	bad, good := own.Host(1), own.Host(2)
	s := newSite(t, own.Hosts()...)
	s.environment("shop", spread(1, 3))
	s.apply()
	victim := s.nodesOf(good, "web")[0]

	faulty(t, bad.HangEngine)
	byHand(t, good, "kill", victim.ID)
	begun := time.Now()
	first := s.run()
	first.servesAnew(victim)
	t.Logf("a loop that began beside a hung host healed a node elsewhere after %s", time.Since(begun))
	require.Less(t, time.Since(begun), soon)

	second := s.run()
	second.waitsFor(first)
	victim = s.nodesOf(good, "web")[0]
	first.signal(syscall.SIGTERM)
	require.Equal(t, 0, first.wait().code, "%s", first.wait())
	byHand(t, good, "kill", victim.ID)
	begun = time.Now()
	second.servesAnew(victim)
	t.Logf("a loop that took over beside a hung host healed a node elsewhere after %s", time.Since(begun))
	require.Less(t, time.Since(begun), 2*soon, "it asks for the lease every two seconds")
	faulty(t, bad.ResumeEngine)
	second.converged()
}

// way is a way to a host's engine whose connections are counted.
type way struct {
	endpoint string
	listener net.Listener
	open     atomic.Int64
}

// wayTo leads to a host's engine for as long as it isn't blocked.
func wayTo(t *testing.T, h *hosts.Host) *way {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &way{endpoint: "tcp://" + l.Addr().String(), listener: l}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { w.carry(c, h) })
		}
	})
	t.Cleanup(func() {
		w.block()
		all.Wait()
	})
	return w
}

// carry passes on what either end says until one of them ends.
func (w *way) carry(c net.Conn, h *hosts.Host) {
	w.open.Add(1)
	defer w.open.Add(-1)
	defer c.Close()
	engine, err := net.Dial("tcp", strings.TrimPrefix(h.Endpoint(), "tcp://"))
	if err != nil {
		return
	}
	defer engine.Close()
	ended := make(chan struct{}, 2)
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // either end may end it
		ended <- struct{}{}
	}
	go pass(engine, c)
	go pass(c, engine)
	<-ended
}

// block lets nobody through any more; who is through stays.
func (w *way) block() { _ = w.listener.Close() }

// left waits until nobody goes this way any more.
func (w *way) left(t *testing.T) {
	t.Helper()
	eventually(t, patience, func() error {
		return unless(w.open.Load() == 0, fmt.Sprintf("%d connections are open", w.open.Load()))
	})
}

func TestRunFollowsAChangedEndpoint(t *testing.T) {
	t.Parallel()
	h := lab.Host(3)
	first, second := wayTo(t, h), wayTo(t, h)
	s := newSite(t, h)
	fleetFile := s.read("fleet.yaml")
	via := func(endpoint string) {
		next := strings.ReplaceAll(fleetFile, h.Endpoint(), endpoint)
		if strings.HasPrefix(endpoint, "unix:") {
			next = strings.ReplaceAll(next, ", insecure: true", "")
		}
		s.write("fleet.yaml", next)
	}
	via(first.endpoint)
	s.environment("shop", fmt.Sprintf(oneWeb, 1))
	l := s.run()
	l.converged()
	require.Positive(t, first.open.Load())
	before := s.node(h, "web", 1)

	for _, to := range []struct {
		endpoint string
		from     *way
	}{{second.endpoint, first}, {"unix://" + h.Socket(), second}, {h.Endpoint(), nil}} {
		begun := time.Now()
		via(to.endpoint)
		s.commit()
		if to.from != nil {
			to.from.left(t)
			t.Logf("the old way was left %s after the commit", time.Since(begun))
			to.from.block()
		}
		l.converged()
		t.Logf("converged %s after the commit", time.Since(begun))
		after := s.node(h, "web", 1)
		require.Equal(t, before.StartedAt, after.StartedAt, "no node is touched")
		t.Logf("a killed node was healed after %s", l.healed(h, 1))
		before = s.node(h, "web", 1)
	}
	require.NotContains(t, l.stderr.String(), "is at work on this fleet", "its own lease stands in nobody's way")
}

func TestRunForgetsAHostThatLeftTheSpec(t *testing.T) {
	t.Parallel()
	stays, leaves := lab.Host(1), lab.Host(2)
	w := wayTo(t, leaves)
	s := newSite(t, stays, leaves)
	all := strings.ReplaceAll(s.read("fleet.yaml"), leaves.Endpoint(), w.endpoint)
	s.write("fleet.yaml", all)
	s.environment("shop", fmt.Sprintf(oneWeb, 1))
	l := s.run("--interval", "1s")
	require.Len(t, l.converged().Hosts, 2)
	require.Len(t, s.nodesOf(stays, "web"), 1, "the first by name is taken")
	require.Positive(t, w.open.Load())

	begun := time.Now()
	s.write("fleet.yaml", without(all, leaves.Name()))
	s.commit()
	l.converged()
	l.until(patience, func(st reconciler.Status) error { return unless(len(st.Hosts) == 1, "not forgotten") })
	w.left(t)
	t.Logf("forgotten %s after the commit", time.Since(begun))
	l.healed(stays, 1)
	require.Zero(t, w.open.Load(), "nobody asks it any more")

	s.write("fleet.yaml", all)
	s.commit()
	require.Len(t, l.converged().Hosts, 2)
	require.Positive(t, w.open.Load())
}
