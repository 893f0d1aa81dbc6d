package rollout

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

func TestOvertakenBetweenStopAndStart(t *testing.T) {
	for _, strategy := range []spec.Strategy{spec.Sequential, spec.Simultaneous} {
		t.Run(string(strategy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel(3, policyOf(strategy))
				m.took = 10 * time.Second
				m.want(2, "h2")
				w := m.carry(t, nil)
				time.Sleep(5 * time.Second) // node 3 is being stopped
				m.want(3, "h3")
				w.Offer(m.plan(), always)
				w.Wait()
				w.Offer(m.plan(), always)
				w.Wait()
				require.Empty(t, m.plan().Operations)
				require.Empty(t, m.out)
				require.Equal(t, fleet.StateCreated, m.instances["3-g2"].State, "what nobody wants any more isn't started")
				require.Equal(t, 3, m.current[3])
				require.Empty(t, w.Failed())
			})
		})
	}
}

func TestTheSameOperationIsGoneOnWithAfterANewPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(3, policyOf(spec.Sequential))
		m.want(2, "h2")
		w := m.carry(t, nil)
		time.Sleep(2 * time.Second) // node 3 is at its gate
		m.want(2, "h3")
		w.Offer(m.plan(), always)
		time.Sleep(6500 * time.Millisecond) // its TTL, start and gate anew
		require.Equal(t, 2, m.currentOf(3), "it waits for nothing else")
		w.Wait()
		require.Empty(t, m.plan().Operations)
	})
}

func TestWhatMendsAFailedNodeWaitsForNoDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(3, policyOf(spec.Sequential))
		m.broken[3] = true
		m.want(2, "h2")
		w := m.carry(t, nil)
		w.Wait()
		require.NotNil(t, m.paused)
		m.broken[3] = false
		m.want(3, "h3")
		w.Offer(m.plan(), always)
		time.Sleep(6500 * time.Millisecond) // its TTL, start and gate
		require.Equal(t, 3, m.currentOf(3))
		w.Wait()
		require.Empty(t, m.plan().Operations)
	})
}

// slowRegistry is a model on whose host no image is, and where the wanted one takes its time.
type slowRegistry struct {
	*model
	slow string // the reference that never arrives
}

func (r *slowRegistry) Engine(host string) (Engine, error) { return r, nil }

func (r *slowRegistry) Image(context.Context, string) (fleet.ImageInfo, error) {
	return fleet.ImageInfo{}, fleet.ErrNoImage
}

func (r *slowRegistry) Pull(ctx context.Context, ref string) error {
	if ref != r.slow {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

// pulling is the model's plan, with a pull for each node.
func (r *slowRegistry) pulling() plan.Layer {
	l := r.plan()
	for i := range l.Operations {
		l.Operations[i].Pull = "app:" + l.Spec.LayerHash
	}
	return l
}

// A pull that nobody wants any more, or that takes longer than people wait, is given up.
func TestAPullIsGivenUp(t *testing.T) {
	for _, kind := range []plan.Kind{plan.Redeploy, plan.Create} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &slowRegistry{newModel(2, policyOf(spec.Sequential)), "app:h2"}
				r.want(2, "h2")
				stop, released := make(chan struct{}), atomic.Int32{}
				world := r.world()
				world.Hosts, world.Released = r, func() { released.Add(1) }
				w := NewWorker(t.Context(), stop, web, world)
				offered := func() plan.Layer {
					l := r.pulling()
					for i := range l.Operations {
						l.Operations[i].Kind = kind
					}
					return l
				}
				w.Offer(offered(), always)
				synctest.Wait()
				require.False(t, w.Idle())
				w.Offer(offered(), always)
				synctest.Wait()
				require.False(t, w.Idle(), "it is what is wanted")
				require.Zero(t, released.Load())

				r.want(3, "h3")
				w.Offer(offered(), func(plan.Operation) bool { return false })
				w.Wait()
				require.Positive(t, released.Load(), "the newer plan is asked for again")
				require.Empty(t, w.Failed())
				require.Equal(t, []string{"1-g1", "2-g1"}, slices.Sorted(maps.Keys(r.instances)))

				r.want(2, "h2")
				w.Offer(offered(), always)
				synctest.Wait()
				require.False(t, w.Idle(), "nothing holds it back where it is wanted again")
				close(stop)
				w.Wait()
				require.Contains(t, w.Failed()[0].Error, "interrupted")
			})
		})
	}
}
