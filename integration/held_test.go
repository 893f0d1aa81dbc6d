package integration

import (
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/integration/lab/image"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// unreachableFrom has a host refused by whoever listens at an address, until what it returns is called or the
// test ends.
func unreachableFrom(t *testing.T, h *hosts.Host, address string) (end func()) {
	t.Helper()
	ip, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	rule := func(action string) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		out, err := h.Exec(ctx, "iptables", action, "OUTPUT", "-p", "tcp", "-d", ip, "--dport", port, "-j", "REJECT", "--reject-with", "tcp-reset")
		require.NoError(t, err, "%s", out)
	}
	rule("-I")
	ended := false
	end = func() {
		if !ended {
			ended = true
			rule("-D")
		}
	}
	t.Cleanup(end)
	return end
}

// TestAnImageThatOneHostCannotHave: a sequential rollout begins once every host of its nodes has the image.
func TestAnImageThatOneHostCannotHave(t *testing.T) {
	t.Parallel()
	has, lacks := lab.Host(1), lab.Host(2)
	s := newSite(t, has, lacks)
	layers := func(image string) string {
		return strings.Replace(strings.Replace(spread(1, 2), "image: node:1", "image: \""+image+"\"", 1), "maxUnavailable: 2, ", "", 1)
	}
	s.environment("shop", layers("node:1"))
	s.apply()
	before := map[int]fleet.Instance{}
	for _, h := range s.hosts {
		before[s.nodesOf(h, "web")[0].Node] = s.nodesOf(h, "web")[0]
	}
	require.Len(t, before, 2)
	held := func(says ...string) {
		t.Helper()
		o := s.evenkeel("apply", "-o", "json")
		requireSays(t, o, says...)
		for _, phase := range []rollout.Phase{rollout.PhaseWithdraw, rollout.PhaseOperate} {
			require.NotContains(t, o.stderr, fmt.Sprintf("%q", phase), "%s", o)
		}
		for _, h := range s.hosts {
			in := s.nodesOf(h, "web")[0]
			require.Equal(t, before[in.Node].ID, in.ID)
			require.Equal(t, before[in.Node].StartedAt, in.StartedAt, "%s serves and is untouched", in.NodeID)
		}
		require.Equal(t, 2, layer(t, s.status(), "shop", "web").Serving)
	}
	renewed := func() {
		t.Helper()
		s.apply()
		for _, h := range s.hosts {
			list := s.nodesOf(h, "web")
			require.Len(t, list, 1)
			require.NotEqual(t, before[list[0].Node].ID, list[0].ID)
			before[list[0].Node] = list[0]
			require.Len(t, s.observe(h).Instances, 1, "nothing is left over")
		}
	}

	// It is in no registry, and was loaded onto one host only.
	loaded := "nowhere.example/half-" + s.fleet + ":1"
	byHand(t, has, "tag", "node:2", loaded)
	s.environment("shop", layers(loaded))
	held("shop/web", loaded, "isn't on "+lacks.Name())
	byHand(t, lacks, "tag", "node:2", loaded)
	renewed()

	// It is in a registry that one host can't reach, and the other has it already.
	r, err := image.StartRegistry(lab.Manager())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	img, err := image.New("half:2", nodes, image.Config{})
	require.NoError(t, err)
	pushed, err := r.Push(t.Context(), img)
	require.NoError(t, err)
	byHand(t, has, "pull", "-q", pushed)
	reachable := unreachableFrom(t, lacks, r.Address())
	s.environment("shop", layers(pushed))
	held("shop/web", "pulling", "on "+lacks.Name(), "connection refused")
	reachable()
	renewed()
	for _, h := range s.hosts {
		byHand(t, h, "rmi", loaded)
	}
}

// TestApplyStopsWhereAnotherTookItsLease: a controller that was frozen for so long that its lease has ended
// finds another at work when it wakes up, and leaves everything to that.
func TestApplyStopsWhereAnotherTookItsLease(t *testing.T) {
	t.Parallel()
	h := lab.Host(3)
	s := newSite(t, h)
	three := func(version int) string {
		layers := strings.Replace(fmt.Sprintf(oneWeb, version), "replicas: 1", "replicas: 3", 1)
		return strings.Replace(layers, "minHealthy: 0s", "minHealthy: 3s, healthTimeout: 5m", 1)
	}
	started := s.starts(h)
	s.environment("shop", three(1))
	first := s.head()
	s.apply()
	s.environment("shop", three(2))
	second := s.head()
	p := s.command(context.Background(), "apply", "-o", "json")
	p.until("node 3 at its gate", func(st step) bool { return st.Node == 3 && st.Phase == rollout.PhaseGate })
	p.signal(syscall.SIGSTOP)

	other := s.run()
	other.until(patience, func(st reconciler.Status) error {
		return unless(len(st.Hosts) == 1 && st.Waiting == "" && len(other.steps()) > 0, "doesn't lead yet: "+st.Waiting)
	})
	p.signal(syscall.SIGCONT)
	eventually(t, patience, func() error {
		select {
		case <-p.done:
			return nil
		default:
			return fmt.Errorf("it waits for what it may not see: %s", p.stderr.String())
		}
	})
	requireSays(t, p.wait(), "is at work on this fleet", fmt.Sprint(other.cmd.Process.Pid))

	other.signal(syscall.SIGTERM)
	require.Equal(t, 0, other.wait().code, "%s", other.wait())
	s.apply()
	require.Equal(t, []int{1, 2, 3}, s.startedWith("VERSION=2", h))
	for _, n := range []string{"1", "2", "3"} {
		require.Equal(t, []string{first, second}, started.of(n), "node %s was changed once", n)
	}
	require.Len(t, s.observe(h).Instances, 3, "nothing is left over")
	s.allNamed(h, 3)
}
