package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// ownLab starts hosts that a test may break.
func ownLab(t *testing.T, n int) *hosts.Lab {
	t.Helper()
	l := hosts.Start(t, n)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, loadImages(ctx, l))
	return l
}

// spread is a layer of a node a host.
func spread(version, replicas int) string {
	layers := fmt.Sprintf(oneWeb, version) + "      placement: {antiAffinity: required}\n"
	// A node on a lost host counts as one that doesn't serve: there has to be room for another.
	layers = strings.Replace(layers, "delay: 0s,", "delay: 0s, maxUnavailable: 2, healthTimeout: 20s,", 1)
	return strings.Replace(layers, "replicas: 1", fmt.Sprintf("replicas: %d", replicas), 1)
}

// faulty does something to a host within a bounded time: an engine that was killed looks after dozens of containers
// before it answers.
func faulty(t *testing.T, do func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	require.NoError(t, do(ctx))
}

func TestHostDown(t *testing.T) {
	t.Parallel()
	l := ownLab(t, 3)
	s := newSite(t, l.Hosts()...)
	version := 1
	s.environment("shop", spread(version, 3))
	s.apply()
	where := s.onHosts("web", l.Hosts()...)
	bad, good := l.Host(3), []*hosts.Host{l.Host(1), l.Host(2)}
	faults := []struct {
		name        string
		break_, end func(context.Context) error
	}{
		{"engine killed", bad.KillEngine, func(ctx context.Context) error { return bad.StartEngine(ctx) }},
		{"engine hanging", bad.HangEngine, bad.ResumeEngine},
		{"link cut", bad.Cut, bad.Heal},
		{"power off", bad.PowerOff, bad.PowerOn},
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			s := *s
			s.t = t
			faulty(t, f.break_)
			version++
			s.environment("shop", spread(version, 3))
			begun := time.Now()
			o := s.evenkeel("apply")
			took := time.Since(begun)
			t.Logf("%s: took %s: %s", f.name, took, o)
			requireSays(t, o, "h3 doesn't answer", "what is on it stays as it is", "is on h3, which doesn't answer")
			require.Less(t, took, 75*time.Second)
			on := s.onHosts("web", good...)
			require.Len(t, on, 2, "no second copy of the lost host's node")
			for n, h := range on {
				require.Equal(t, where[n], h)
			}
			for _, h := range good {
				require.Len(t, s.startedWith(fmt.Sprintf("VERSION=%d", version), h), 1, "the rest goes on")
			}
			faulty(t, f.end)
			o = s.applyOnceFree()
			require.Equal(t, 0, o.code, "%s", o)
			require.Equal(t, where, s.onHosts("web", l.Hosts()...))
			require.Len(t, s.startedWith(fmt.Sprintf("VERSION=%d", version), bad), 1)
		})
	}
}

func TestHostTakenOutOfTheSpec(t *testing.T) {
	t.Parallel()
	l := ownLab(t, 2)
	s := newSite(t, l.Hosts()...)
	s.environment("shop", spread(1, 2))
	s.apply()
	all := s.read("fleet.yaml")
	s.write("fleet.yaml", without(all, "h2"))
	s.environment("shop", strings.Replace(spread(1, 2), "antiAffinity: required", "antiAffinity: preferred", 1))

	// In reach: refused, with the way out, and nothing is touched.
	o := s.evenkeel("apply")
	t.Logf("%s", o)
	requireSays(t, o, "host h2 was taken out of the spec and still carries shop/web/", "evacuate it first")
	require.Len(t, s.onHosts("web", l.Hosts()...), 2)

	// Out of reach: the commit says that it is gone for good.
	faulty(t, l.Host(2).PowerOff)
	o = s.evenkeel("apply")
	t.Logf("%s", o)
	require.Len(t, s.onHosts("web", l.Host(1)), 2, "its node is placed elsewhere: %s", o)
	require.Equal(t, 0, o.code, "%s", o)
	faulty(t, l.Host(2).PowerOn)
	s.write("fleet.yaml", all)
	s.commit()
	s.apply()
	require.Len(t, s.onHosts("web", l.Hosts()...), 2, "what came back is no second copy")
}

// without is a fleet's file without one host.
func without(fleetFile, host string) string {
	var kept []string
	for line := range strings.Lines(fleetFile) {
		if !strings.Contains(line, "{name: "+host+",") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func TestEngineRestartedUnderApply(t *testing.T) {
	t.Parallel()
	l := ownLab(t, 1)
	h := l.Host(1)
	s := newSite(t, h)
	three := func(version int) string {
		return strings.Replace(fmt.Sprintf(oneWeb, version), "replicas: 1", "replicas: 3", 1)
	}
	s.environment("shop", three(1))
	s.apply()
	moments := []struct {
		phase rollout.Phase
		end   func(context.Context) error
	}{{rollout.PhaseDrain, h.KillEngine}, {rollout.PhaseOperate, h.StopEngine}}
	for i, m := range moments {
		version := i + 2
		s.environment("shop", three(version))
		p := s.command(context.Background(), "apply", "-o", "json")
		p.until(fmt.Sprintf("%s of node 3", m.phase), func(st step) bool { return st.Node == 3 && st.Phase == m.phase })
		faulty(t, m.end)
		faulty(t, func(ctx context.Context) error { return h.StartEngine(ctx) })
		o := p.wait()
		t.Logf("restarted at %s: exit status %d", m.phase, o.code)
		if o.code != 0 { // the engine was away at its end; else it has gone on where it was
			requireSays(t, o, "h1")
			require.Regexp(t, "the session with it ended|Cannot connect to the Docker daemon at "+h.Endpoint(), o.stdout+o.stderr)
		}
		o = s.applyOnceFree()
		require.Equal(t, 0, o.code, "after a restart at %s: %s", m.phase, o)
		require.Equal(t, 0, s.evenkeel("plan", "--exit-code").code)
		require.Len(t, s.startedWith(fmt.Sprintf("VERSION=%d", version), h), 3)
		require.Len(t, s.observe(h).Instances, 3, "nothing is left over")
	}
}
