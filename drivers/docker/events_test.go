package docker_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

var quick = docker.Options{Timeout: 2 * time.Second, Heartbeat: 200 * time.Millisecond, HeartbeatTimeout: 500 * time.Millisecond}

// await reads events until one is as wanted, and returns those that came before it too.
func await(t *testing.T, events <-chan fleet.Event, within time.Duration, want func(fleet.Event) bool) []fleet.Event {
	t.Helper()
	var seen []fleet.Event
	timeout := time.After(within)
	for {
		select {
		case e, ok := <-events:
			require.True(t, ok, "the stream ended")
			seen = append(seen, e)
			if want(e) {
				return seen
			}
		case <-timeout:
			require.Fail(t, "no such event", "within %s, only %v", within, seen)
		}
	}
}

func action(kind, action string) func(fleet.Event) bool {
	return func(e fleet.Event) bool { return e.Kind == kind && e.Action == action }
}

func TestEventsArriveWithinASecond(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	fleetName := randomFleet()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := h.Events(ctx, fleetName)
	connected := await(t, events, 5*time.Second, action(docker.KindHost, docker.ActionConnected))
	require.Len(t, connected, 1)

	network := fleet.Network{Name: fleet.NetworkName(fleetName, "shop"), Fleet: fleetName, Environment: "shop",
		Subnet: netip.MustParsePrefix("10.113.11.0/24"), Gateway: netip.MustParseAddr("10.113.11.1")}
	require.NoError(t, h.EnsureNetwork(t.Context(), network))
	t.Cleanup(func() { require.NoError(t, h.RemoveNetwork(context.Background(), network.Name)) })
	await(t, events, time.Second, action("network", "create"))

	start(t, h, node(randomFleet(), 1)) // another fleet's
	c := node(fleetName, 1)
	c.Network = network.Name
	id := start(t, h, c)
	for _, e := range await(t, events, time.Second, action("container", "start")) {
		if e.Kind == "container" {
			require.Equal(t, id, e.ID)
			require.Equal(t, c.Name, e.Name)
			require.Equal(t, fleetName, e.Labels[fleet.LabelFleet])
			require.Equal(t, "h1", e.Host)
		}
	}
	require.NoError(t, h.Connect(t.Context(), "bridge", id, ""))
	attached := await(t, events, time.Second, action(docker.KindAttachment, "connect"))
	require.Equal(t, id, attached[len(attached)-1].ID, "though the network isn't the fleet's")
	require.NoError(t, h.Kill(t.Context(), id, "KILL"))
	died := await(t, events, time.Second, action("container", "die"))
	require.Equal(t, "137", died[len(died)-1].ExitCode)
	require.WithinDuration(t, time.Now(), died[len(died)-1].Time, 2*time.Second)
	require.NoError(t, h.Rename(t.Context(), id, c.Name+"x"))
	await(t, events, time.Second, action("container", "rename"))
	require.NoError(t, h.Remove(t.Context(), id))
	await(t, events, time.Second, action("container", "destroy"))

	cancel()
	require.Eventually(t, func() bool {
		select {
		case _, ok := <-events:
			return !ok
		default:
			return false
		}
	}, time.Second, time.Millisecond, "the channel is closed with its context")
}

func TestEventsComeBackAfterTheEngineWasKilled(t *testing.T) {
	lh := lab.Host(2)
	h := open(t, lh, quick)
	fleetName := randomFleet()
	c := node(fleetName, 1)
	c.Restart = "always"
	id := start(t, h, c)
	events := h.Events(t.Context(), fleetName)
	await(t, events, 5*time.Second, action(docker.KindHost, docker.ActionConnected))
	require.NoError(t, lh.KillEngine(t.Context()))
	lost := await(t, events, 2*time.Second, action(docker.KindHost, docker.ActionLost))
	require.NotEmpty(t, lost[len(lost)-1].Labels["reason"])
	require.ErrorIs(t, h.Start(t.Context(), id), fleet.ErrUnreachable)
	st := h.Observe(t.Context(), fleetName)
	require.False(t, st.Reachable)
	require.Contains(t, st.Problem, "on h2: ")
	require.Empty(t, st.Networks)

	require.NoError(t, lh.StartEngine(t.Context()))
	await(t, events, 10*time.Second, action(docker.KindHost, docker.ActionConnected))
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		st := h.Observe(t.Context(), fleetName)
		require.True(c, st.Reachable, st.Problem)
		require.Len(c, st.Instances, 1)
		require.Equal(c, fleet.StateRunning, st.Instances[0].State, st.Instances[0].Error)
	}, 15*time.Second, 50*time.Millisecond)
	require.NoError(t, h.Kill(t.Context(), id, "TERM"))
	await(t, events, time.Second, action("container", "die"))
}

func TestEventsNoticeAnEngineThatHangs(t *testing.T) {
	lh := lab.Host(2)
	h := open(t, lh, quick)
	events := h.Events(t.Context(), randomFleet())
	await(t, events, 5*time.Second, action(docker.KindHost, docker.ActionConnected))
	require.NoError(t, lh.HangEngine(t.Context()))
	t.Cleanup(func() { _ = lh.ResumeEngine(context.Background()) })
	await(t, events, 2*time.Second, action(docker.KindHost, docker.ActionLost))
	require.NoError(t, lh.ResumeEngine(context.Background()))
	await(t, events, 10*time.Second, action(docker.KindHost, docker.ActionConnected))
}

func TestEventsNoticeACutLink(t *testing.T) {
	lh := lab.Host(2)
	h := open(t, lh, quick)
	events := h.Events(t.Context(), randomFleet())
	await(t, events, 5*time.Second, action(docker.KindHost, docker.ActionConnected))
	require.NoError(t, lh.Cut(t.Context()))
	t.Cleanup(func() { _ = lh.Heal(context.Background()) })
	await(t, events, 2*time.Second, action(docker.KindHost, docker.ActionLost))
	require.NoError(t, lh.Heal(t.Context()))
	await(t, events, 15*time.Second, action(docker.KindHost, docker.ActionConnected))
}

func TestEventsSayThatAHostIsNotThere(t *testing.T) {
	lh := lab.Host(2)
	require.NoError(t, lh.KillEngine(t.Context()))
	t.Cleanup(func() { require.NoError(t, lh.StartEngine(context.Background())) })
	events := open(t, lh, quick).Events(t.Context(), randomFleet())
	seen := await(t, events, 5*time.Second, action(docker.KindHost, docker.ActionLost))
	require.Len(t, seen, 1, "it is said once, and nothing else before")
}

func TestEventsOfASlowReaderEndInAListing(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	fleetName := randomFleet()
	id := start(t, h, node(fleetName, 1))
	events := h.Events(t.Context(), fleetName)
	await(t, events, 5*time.Second, action(docker.KindHost, docker.ActionConnected))
	cli := bare(t, lab.Host(1))
	name := fleetName + "-name"
	for i := range 1100 {
		require.NoError(t, cli.ContainerRename(t.Context(), id, name+string(rune('a'+i%2))))
	}
	seen := await(t, events, 5*time.Second, action(docker.KindHost, docker.ActionConnected))
	require.Less(t, len(seen), 1100)
}
