package reconciler

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// unheard has it that a host's keeper could not be read the last time, while the session with it goes on.
func unheard(c *Controller, name string) {
	h := c.host(name)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state.Keeper, h.state.KeeperProblem = nil, "no answer"
}

func TestAKeeperWhoseRecordsAreNotKnownIsToldNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		c, ctx := ready(t, r, h1, h2)
		before := h1.keeper.zone()
		require.NotEmpty(t, before.Nodes)
		h1.exit(t, "blog-web-1-g1") // which would have to be told
		c.observeHost(ctx, c.host("h1"))
		unheard(c, "h1")
		err := c.tell(ctx, c.host("h1"))
		require.ErrorIs(t, err, fleet.ErrUnreachable)
		require.ErrorContains(t, err, "no answer")
		require.Equal(t, before, h1.keeper.zone())
	})
}

func TestANodeWhoseKeeperDoesNotAnswerCountsAsNeither(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		c, _ := ready(t, r, h1, h2)
		see := func() rollout.View {
			v := rollout.View{Serving: map[int]bool{}, Unknown: map[int]bool{}}
			c.serving(fleet.LayerID{Environment: "blog", Layer: "web"}, &v)
			return v
		}
		require.Equal(t, []bool{true, false}, []bool{see().Serving[1], see().Unknown[1]})
		unheard(c, "h1")
		require.Equal(t, []bool{false, true}, []bool{see().Serving[1], see().Unknown[1]})
	})
}

// TestAWithdrawalSaysWhatBecameOfTheAnswers, as the keepers were told them.
func TestAWithdrawalSaysWhatBecameOfTheAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		r.write("blog.yaml", strings.Replace(environment("blog", "app:1", "h1"), "replicas: 1", "replicas: 2", 1))
		require.True(t, apply(t, controller(t, r, h1, h2)).Converged)
		c, ctx := ready(t, r, h1, h2)
		node := func(n int) fleet.NodeID { return fleet.NodeID{Environment: "blog", Layer: "web", Node: n} }
		c.ends[node(1)], c.ends[node(2)] = true, true // nobody works on them, who would keep them out
		served := false
		withdraw := func(n int) bool {
			w, err := naming{c}.Withdraw(ctx, node(n), "redeploy")
			require.NoError(t, err)
			served = w.Served
			return w.Internal
		}
		require.True(t, withdraw(2), "the other one is answered with")
		require.True(t, served)
		require.False(t, withdraw(2), "it was out already")
		require.False(t, served)
		require.False(t, withdraw(1), "the last one stays")
		require.False(t, withdraw(2))
		require.NoError(t, naming{c}.Restore(ctx, node(1)))
		c.setOut(node(2), "")
		require.True(t, withdraw(2), "its keeper has not been told that it was back")
	})
}

// A node that was unhealthy when it was looked at last may have come back, and be found, until it is withdrawn.
func TestAWithdrawalLooksOnceMoreAtANodeThatFailed(t *testing.T) {
	for name, comesBack := range map[string]bool{"it came back": true, "it still fails": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, h1, h2 := two(t)
				checked := "      replicas: 2\n      ports: [{name: http, port: 80}]\n      healthCheck: {http: {port: http, path: /}}\n"
				r.write("blog.yaml", strings.Replace(environment("blog", "app:1", "h1"), "      replicas: 1\n", checked, 1))
				require.True(t, apply(t, controller(t, r, h1, h2)).Converged)
				c, ctx := ready(t, r, h1, h2)
				id := fleet.NodeID{Environment: "blog", Layer: "web", Node: 2}
				c.ends[id] = true // nobody works on it, who would keep it out
				probed := func(healthy bool) {
					h1.keeper.mu.Lock()
					defer h1.keeper.mu.Unlock()
					h1.keeper.judge = func(n fleet.ZoneNode) (fleet.ProbeResult, bool) {
						return fleet.ProbeResult{Healthy: healthy || n.NodeID != id, For: time.Minute}, true
					}
				}
				probed(false)
				<-c.read(ctx, c.host("h1"), 0)
				require.False(t, naming{c}.mayServe(id))
				probed(comesBack)
				w, err := naming{c}.Withdraw(ctx, id, "redeploy")
				require.NoError(t, err)
				require.Equal(t, []bool{comesBack, comesBack}, []bool{w.Served, w.Internal})
			})
		})
	}
}

// A node whose restart was overtaken at its gate is asked there until it is ready, though nobody waits for that any more.
func TestANodeStaysAtItsGateUntilItIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		r.write("blog.yaml", strings.Replace(environment("blog", "app:1", "h1"), "      replicas: 1\n", "      replicas: 1\n      ports: [{name: http, port: 80}]\n", 1))
		require.True(t, apply(t, controller(t, r, h1, h2)).Converged)
		c, ctx := ready(t, r, h1, h2)
		id := fleet.NodeID{Environment: "blog", Layer: "web", Node: 1}
		c.gated[id] = 1
		asked := func(is bool) []fleet.Probe {
			h1.keeper.mu.Lock()
			h1.keeper.judge = func(fleet.ZoneNode) (fleet.ProbeResult, bool) {
				return fleet.ProbeResult{Healthy: is, For: time.Minute}, true
			}
			h1.keeper.mu.Unlock()
			<-c.read(ctx, c.host("h1"), 0)
			z, ok := c.zone("h1")
			require.True(t, ok)
			return z.Nodes[0].Probes
		}
		require.NotEmpty(t, asked(false))
		require.NotEmpty(t, asked(false))
		require.Empty(t, asked(true))
		require.Empty(t, c.gated)
		require.Empty(t, asked(false), "what a port says matters only at the gate")
	})
}

func (k *keeper) zone() fleet.Zone {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state.Zone
}

// slowZone is a keeper that takes its time to serve a zone.
type slowZone struct {
	Keeper
	took time.Duration
	mu   sync.Mutex
	log  []string
}

func (k *slowZone) SetZone(ctx context.Context, z fleet.Zone) error {
	out := ""
	for i := range z.Nodes {
		out += z.Nodes[i].Out
	}
	select {
	case <-time.After(k.took):
	case <-ctx.Done():
	}
	err := k.Keeper.SetZone(context.WithoutCancel(ctx), z) // it comes there all the same
	k.mu.Lock()
	defer k.mu.Unlock()
	k.log = append(k.log, out)
	return errors.Join(err, ctx.Err())
}

// What is told and given up on the way, since a newer commit overtakes it, doesn't come after what is told next.
func TestWhatIsGivenUpComesToAKeeperBeforeTheNext(t *testing.T) {
	for name, cause := range map[string]error{"overtaken": rollout.ErrOvertaken, "the end": context.Canceled} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, h1, h2 := two(t)
				c, ctx := ready(t, r, h1, h2)
				h := c.host("h1")
				h.mu.Lock()
				slow := &slowZone{Keeper: h.session, took: 3 * time.Second}
				h.session = slow
				h.mu.Unlock()
				id := fleet.NodeID{Environment: "blog", Layer: "web", Node: 1}
				c.ends[id] = true // nobody works on it, who would keep it out
				begun := time.Now()
				c.setOut(id, withdrawn+"one")
				first, give := context.WithCancelCause(ctx)
				time.AfterFunc(time.Second, func() { give(cause) })
				require.ErrorIs(t, c.tell(first, h), cause)
				require.Equal(t, time.Second, time.Since(begun))
				c.setOut(id, withdrawn+"two")
				require.NoError(t, c.tell(ctx, h))
				require.Equal(t, []string{withdrawn + "one", withdrawn + "two"}, slow.log)
				want := 6 * time.Second
				if errors.Is(cause, context.Canceled) {
					want = 4 * time.Second // what nobody asks for any more is ended
				}
				require.Equal(t, want, time.Since(begun))
			})
		})
	}
}
