package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// What engines tell of events may be late, told twice, or not so: it is looked up first, and what is found decides.

// asItIs notes when everything of a fleet on a host was started, and requires later that none of that was touched but
// for what is named.
func (s *site) asItIs(h *hosts.Host) (unchanged func(but ...string)) {
	s.t.Helper()
	started := func() map[string]time.Time {
		all := map[string]time.Time{}
		for _, in := range s.observe(h).Instances {
			all[in.ID] = in.StartedAt
		}
		return all
	}
	before := started()
	keeper := s.observe(h).Keepers
	return func(but ...string) {
		s.t.Helper()
		after := started()
		for _, id := range but {
			require.Contains(s.t, after, id)
			after[id] = before[id]
		}
		require.Equal(s.t, before, after)
		require.Equal(s.t, keeper, s.observe(h).Keepers)
	}
}

func TestEventsThatArriveLateCauseNothing(t *testing.T) {
	t.Parallel()
	h := lab.Host(1)
	s, engines := newRecordedSite(t, "", h)
	engine := engines[0]
	s.environment("shop", limited)
	l := s.run("--interval", "1s") // what happens is found out by reading
	l.converged()

	passOn := engine.holdBack()
	for _, hand := range [][]string{{"kill"}, {"stop", "-t", "5"}, {"pause"}} {
		victim := s.node(h, "web", 1)
		byHand(t, h, append(hand, victim.ID)...)
		l.until(patience, func(st reconciler.Status) error {
			for _, in := range s.nodesOf(h, "web") {
				if in.ID == victim.ID && in.State == fleet.StateRunning && st.Converged {
					return nil
				}
			}
			return fmt.Errorf("not healed after docker %v", hand)
		})
	}
	l.until(patience, func(st reconciler.Status) error {
		return unless(layer(t, st, "shop", "web").Serving == 2 && st.Converged, "not at rest")
	})
	unchanged, steps := s.asItIs(h), len(l.steps())
	engine.taken()
	late := passOn()
	require.Greater(t, len(late), 6, "the events were held back")
	t.Logf("%d events arrive late", len(late))
	s.eventsAreThrough(l, h, engine, steps, unchanged)
}

func TestEventsThatAreToldAgainOrNotSoCauseNothing(t *testing.T) {
	t.Parallel()
	h := lab.Host(2)
	s, engines := newRecordedSite(t, "", h)
	engine := engines[0]
	s.environment("shop", limited)
	l := s.run("--interval", "10m") // what is looked at, is looked at for an event's sake
	l.converged()
	for _, hand := range []string{"kill", "stop", "pause"} {
		victim := s.node(h, "web", 1)
		byHand(t, h, hand, victim.ID)
		if hand != "pause" {
			l.servesAnew(victim) // before that it isn't known to be harmed, or its start is at work
		}
		l.until(patience, func(st reconciler.Status) error {
			in := s.observe(h).Instances[0]
			return unless(st.Converged && in.State == fleet.StateRunning, "not healed")
		})
	}
	s.environment("shop", strings.Replace(limited, "memory: 64Mi", "memory: 96Mi", 1)+"      redeploy: again\n")
	l.converged()
	past := engine.past()
	require.Greater(t, len(past), 20)

	told := func(what string, lines ...string) {
		t.Helper()
		l.until(patience, func(st reconciler.Status) error {
			return unless(layer(t, st, "shop", "web").Serving == 2 && st.Converged, "not at rest")
		})
		unchanged, steps := s.asItIs(h), len(l.steps())
		engine.taken()
		engine.looked("")
		engine.tell(lines...)
		s.eventsAreThrough(l, h, engine, steps, unchanged)
		t.Logf("%s: %d events", what, len(lines))
	}
	told("again", past...)
	told("again, each twice, the newest first", backwards(past)...)
	node, keeper := s.node(h, "web", 1), s.observe(h).Keepers[0]
	told("made up", madeUp(s, node, keeper)...)
}

// eventsAreThrough waits until all that an engine told of so far was taken in, by the order in which that is: another
// node is killed and healed. Nothing else was done meanwhile.
func (s *site) eventsAreThrough(l *loop, h *hosts.Host, engine *recorder, steps int, unchanged func(...string)) {
	s.t.Helper()
	last := s.node(h, "web", 2)
	byHand(s.t, h, "kill", last.ID)
	l.servesAnew(last)
	l.until(patience, func(st reconciler.Status) error { return unless(st.Converged, "not at rest") })
	require.Positive(s.t, engine.looked("/containers/"+s.node(h, "web", 1).ID+"/json")+engine.looked("/containers/json"), "it was looked up")
	for _, w := range engine.taken() {
		require.Contains(s.t, w, last.ID, "it was done for an event's sake")
	}
	for _, st := range l.steps()[steps:] {
		require.Equal(s.t, 2, st.Node, "%s", st)
	}
	unchanged(last.ID)
}

// backwards are lines from the last to the first, each twice.
func backwards(lines []string) (all []string) {
	for _, l := range slices.Backward(lines) {
		all = append(all, l, l)
	}
	return all
}

// madeUp are events of things that have not happened.
func madeUp(s *site, node fleet.Instance, keeper fleet.KeeperContainer) (lines []string) {
	event := func(kind, action, id string, more map[string]string) {
		attributes := map[string]string{"name": node.Name, fleet.LabelFleet: s.fleet}
		maps.Copy(attributes, more)
		line, err := json.Marshal(map[string]any{
			"Type": kind, "Action": action, "status": action, "id": id, "scope": "local",
			"Actor": map[string]any{"ID": id, "Attributes": attributes},
			"time":  time.Now().Unix(), "timeNano": time.Now().UnixNano(),
		})
		require.NoError(s.t, err)
		lines = append(lines, string(line))
	}
	labels := map[string]string{
		fleet.LabelEnvironment: "shop", fleet.LabelLayer: "web", fleet.LabelNode: "1", fleet.LabelGeneration: fmt.Sprint(node.Generation), "exitCode": "137",
	}
	for _, action := range []string{"die", "destroy", "stop", "kill", "oom", "pause", "rename", "update", "health_status: unhealthy"} {
		event("container", action, node.ID, labels)
	}
	for _, action := range []string{"die", "destroy"} {
		event("container", action, keeper.ID, map[string]string{"name": keeper.Name, fleet.LabelRole: fleet.RoleKeeper})
	}
	network := map[string]string{"name": s.network("shop"), "type": "bridge"}
	event("network", "destroy", node.NetworkID, network)
	for _, container := range []string{node.ID, keeper.ID} {
		network["container"] = container
		event("network", "disconnect", node.NetworkID, network)
		event("network", "connect", "0123456789ab", map[string]string{"name": "elsewhere", "container": container})
	}
	event("volume", "destroy", fleet.KeeperVolume(s.fleet), map[string]string{"driver": "local"})
	return lines
}
