package rollout

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

func policyOf(strategy spec.Strategy) spec.UpdatePolicy {
	return spec.UpdatePolicy{
		Strategy: strategy, Delay: 30 * time.Second, RemoveFromDNS: true, MaxUnavailable: 1, DrainTimeout: time.Second,
		HealthTimeout: time.Minute, MinHealthy: 5 * time.Second, FailureAction: spec.FailurePause,
	}
}

func TestSequentialTakesOneNodeAtATimeFromTheHighest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(3, policyOf(spec.Sequential))
		m.want(2, "h2")
		m.carry(t, nil).Wait()
		require.Empty(t, m.plan().Operations)
		require.Equal(t, 2, m.least)
		require.Less(t, m.changed[3], m.changed[2])
		// TTL, stop, start and minHealthy of the node before, then the delay, then the node's own TTL and stop.
		require.GreaterOrEqual(t, m.changed[2]-m.changed[3], 36*time.Second)
		require.Less(t, m.changed[2]-m.changed[3], 38*time.Second)
		require.Less(t, time.Since(m.begun), 83*time.Second, "no delay after the last")
	})
}

func TestSimultaneousWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(3, policyOf(spec.Simultaneous))
		m.want(2, "h2")
		m.carry(t, nil).Wait()
		require.Empty(t, m.plan().Operations)
		require.Less(t, time.Since(m.begun), 8*time.Second)
	})
}

func TestFailureActions(t *testing.T) {
	tests := []struct {
		name   string
		action spec.FailureAction
		left   int
		paused bool
	}{
		{"pause leaves the rest untouched", spec.FailurePause, 3, true},
		// Node 3 stays down, so the guard holds the others back.
		{"continue goes on as far as the guard lets it", spec.FailureContinue, 3, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := policyOf(spec.Sequential)
				p.FailureAction = test.action
				m := newModel(3, p)
				m.broken[3] = true
				m.want(2, "h2")
				w := m.carry(t, nil)
				w.Wait()
				require.Len(t, m.plan().Operations, test.left)
				require.Equal(t, 2, m.least)
				require.Equal(t, test.paused, m.paused != nil)
				failed := w.Failed()
				require.NotEmpty(t, failed)
				require.Contains(t, failed[0].Error, "503")
				require.Contains(t, failed[0].Message, "panic", "the last log lines are told")
			})
		})
	}
}

func TestContinueGoesPastAFailureThatTheGuardAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policyOf(spec.Sequential)
		p.FailureAction, p.MaxUnavailable = spec.FailureContinue, 2
		m := newModel(4, p)
		m.broken[4] = true
		m.want(2, "h2")
		m.carry(t, nil).Wait()
		require.Len(t, m.plan().Operations, 1, "only the broken one is left")
		require.GreaterOrEqual(t, m.least, 2)
	})
}

func TestAPauseIsVoidWithANewHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(3, policyOf(spec.Sequential))
		m.broken[3] = true
		m.want(2, "h2")
		w := m.carry(t, nil)
		w.Wait()
		m.broken[3] = false
		m.want(3, "h3")
		w.Offer(m.plan(), func(plan.Operation) bool { return true })
		w.Wait()
		require.Empty(t, m.plan().Operations)
	})
}

func TestAFailureThatWasMadeGoodIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(3, policyOf(spec.Sequential))
		m.broken[3] = true
		m.want(2, "h2")
		w := m.carry(t, nil)
		w.Wait()
		require.NotEmpty(t, w.Failed())
		delete(m.broken, 3)
		m.want(3, "h3")
		w.Offer(m.plan(), always)
		w.Wait()
		require.Empty(t, m.plan().Operations)
		require.Empty(t, w.Failed())
	})
}

// A commit may change the ports and the stop signal along with the program: the old one knows the old ones.
func TestAnInstanceIsLeftTheWayItWasMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policyOf(spec.Sequential)
		p.DrainTimeout = time.Second
		m := newModel(2, p)
		m.instances["1-g1"].Written = `{"ports":{"http":{"port":8080}}}`
		m.want(2, "h2")
		m.spec.Ports = []spec.Port{{Name: "http", Port: 9090, Protocol: spec.TCP}}
		m.spec.Stop.Signal = "SIGUSR1"
		m.carry(t, nil).Wait()
		require.Equal(t, map[string][]uint16{"1-g1": {8080}, "2-g1": {9090}}, m.drained, "without a label that can be read those of now stand in")
		require.Equal(t, map[string]string{"1-g1": "", "2-g1": ""}, m.signals, "the container's own")
	})
}

func TestNotConfirmedIsNotTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(3, policyOf(spec.Sequential))
		m.withdraw = errors.New("the keeper says no")
		m.want(2, "h2")
		w := m.carry(t, nil)
		w.Wait()
		require.Empty(t, m.changed)
		require.Empty(t, m.out, "it has its names back")
		require.Contains(t, w.Failed()[0].Error, "was not touched")
		require.Nil(t, m.paused, "an untouched node pauses nothing")
	})
}

// A token that was taken away is given back without a commit.
func TestWhatKeepsANodeInItsNamesMayBeMendedAnyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(3, policyOf(spec.Sequential))
		m.withdraw = fmt.Errorf("the token: %w", fleet.ErrDenied)
		m.want(2, "h2")
		w := m.carry(t, nil)
		w.Wait()
		for range 2 * mostTries {
			time.Sleep(lastRetry)
			w.Offer(m.plan(), always)
			w.Wait()
		}
		require.Empty(t, m.changed)
		m.withdraw = nil
		time.Sleep(lastRetry)
		w.Offer(m.plan(), always)
		w.Wait()
		require.Empty(t, m.plan().Operations)
		require.Empty(t, w.Failed())
	})
}

func TestStopFinishesTheNodeAtHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(3, policyOf(spec.Sequential))
		m.want(2, "h2")
		stop := make(chan struct{})
		w := m.carry(t, stop)
		time.Sleep(2 * time.Second) // node 3 is at its gate
		close(stop)
		w.Wait()
		require.Equal(t, 2, m.current[3])
		require.Equal(t, 1, m.current[2])
		require.Empty(t, m.out)
		require.Less(t, time.Since(m.begun), 10*time.Second)
	})
}

func TestStopGivesAnUntouchedNodeItsNamesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(3, policyOf(spec.Sequential))
		m.want(2, "h2")
		stop := make(chan struct{})
		w := m.carry(t, stop)
		time.Sleep(500 * time.Millisecond) // the TTL passes
		close(stop)
		w.Wait()
		require.Empty(t, m.changed)
		require.Empty(t, m.out)
	})
}

func TestAWithdrawalThatNobodyConfirmsIsGivenUp(t *testing.T) {
	for how, giveUp := range map[string]func(*model, *Worker, chan struct{}){
		"stopped":   func(_ *model, _ *Worker, stop chan struct{}) { close(stop) },
		"overtaken": func(m *model, w *Worker, _ chan struct{}) { m.want(1, "h1"); w.Offer(m.plan(), always) },
	} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel(3, policyOf(spec.Sequential))
				m.silent = true
				m.want(2, "h2")
				stop := make(chan struct{})
				w := m.carry(t, stop)
				time.Sleep(time.Second)
				giveUp(m, w, stop)
				w.Wait()
				require.Equal(t, time.Second, time.Since(m.begun), "at once")
				require.Empty(t, m.changed)
				require.Empty(t, m.out)
			})
		})
	}
}

func always(plan.Operation) bool { return true }

func TestANewerRevisionOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(3, policyOf(spec.Sequential))
		m.want(2, "h2")
		w := m.carry(t, nil)
		time.Sleep(10 * time.Second) // node 3 is done, its delay runs
		m.want(3, "h3")
		w.Offer(m.plan(), func(plan.Operation) bool { return true })
		w.Wait()
		require.Empty(t, m.plan().Operations)
		for node, generation := range m.current {
			require.Equal(t, 3, generation, "node %d", node)
		}
		require.Equal(t, fleet.StateCreated, m.instances["1-g2"].State, "what wasn't touched goes straight to the newest")
		require.Equal(t, 2, m.least)
	})
}

func TestAHostIsBusyWhileANodeOfItIsAtHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(2, policyOf(spec.Sequential))
		m.want(2, "h2")
		w := m.carry(t, nil)
		require.True(t, w.BusyOn("h1"), "its containers are made ready")
		require.False(t, w.BusyOn("h2"))
		synctest.Wait()
		require.True(t, w.BusyOn("h1"), "node 2 is withdrawn")
		for m.currentOf(2) != 2 {
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Second)
		require.False(t, w.BusyOn("h1"), "the delay has nothing at hand")
		w.Wait()
		require.False(t, w.BusyOn("h1"))
		require.Equal(t, 2, m.currentOf(1))
	})
}

func TestSlotsOutliveADoubleRelease(t *testing.T) {
	s := NewSlots()
	release, err := s.Take(t.Context(), "h1")
	require.NoError(t, err)
	for range perHost - 1 {
		_, err := s.Take(t.Context(), "h1")
		require.NoError(t, err)
	}
	release()
	release()
	_, err = s.Take(t.Context(), "h1")
	require.NoError(t, err)
}

// TestGuardHolds: whatever breaks, never fewer nodes serve than the policy allows.
func TestGuardHolds(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		replicas := rapid.IntRange(2, 7).Draw(r, "replicas")
		p := policyOf(spec.Sequential)
		p.MaxUnavailable = rapid.IntRange(1, 4).Draw(r, "maxUnavailable")
		p.FailureAction = rapid.SampledFrom([]spec.FailureAction{spec.FailurePause, spec.FailureContinue}).Draw(r, "action")
		broken := rapid.SliceOfDistinct(rapid.IntRange(1, replicas), func(n int) int { return n }).Draw(r, "broken")
		synctest.Test(t, func(t *testing.T) {
			m := newModel(replicas, p)
			for _, n := range broken {
				m.broken[n] = true
			}
			m.want(2, "h2")
			m.carry(t, nil).Wait()
			require.GreaterOrEqual(t, m.least, max(1, replicas-p.MaxUnavailable))
			if len(broken) == 0 {
				require.Empty(t, m.plan().Operations)
			}
		})
	})
}

func TestAnOvertakenNodeIsNoFailure(t *testing.T) {
	for name, after := range map[string]time.Duration{"while it is withdrawn": 500 * time.Millisecond, "at its gate": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel(3, policyOf(spec.Sequential))
				m.want(2, "h2")
				w := m.carry(t, nil)
				time.Sleep(after)
				m.want(3, "h3")
				w.Offer(m.plan(), always)
				w.Wait()
				require.Empty(t, w.Failed())
				require.Contains(t, m.events, "3 overtaken")
				require.NotContains(t, m.events, "3 failed")
				require.NotContains(t, m.events, "3 given up")
			})
		})
	}
}

func TestANodeFailsOnceHoweverOftenItIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policyOf(spec.Sequential)
		p.FailureAction = spec.FailureContinue
		m := newModel(3, p)
		m.broken[3] = true
		m.want(2, "h2")
		w := m.carry(t, nil)
		w.Wait()
		for range 2 {
			time.Sleep(lastRetry)
			w.Offer(m.plan(), always)
			w.Wait()
		}
		nodes := map[int]int{}
		for _, f := range w.Failed() {
			nodes[f.Node]++
		}
		require.Equal(t, 1, nodes[3])
		for node, n := range nodes {
			require.Equal(t, 1, n, "node %d", node)
		}
	})
}

// TestStopDoesNotWaitForWhatStaysUnhealthy: healthTimeout may be minutes, and who asks evenkeel to stop kills it
// before those are over.
func TestStopDoesNotWaitForWhatStaysUnhealthy(t *testing.T) {
	tests := []struct {
		name       string
		broken     bool
		minHealthy time.Duration
		takes      time.Duration
		done       bool
	}{
		{"unhealthy", true, 5 * time.Second, StopPatience, false},
		{"healthy, soon for long enough", false, 40 * time.Second, 40 * time.Second, true},
		{"healthy, not for long enough for long", false, 4 * time.Minute, 2 * StopPatience, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := policyOf(spec.Sequential)
				p.HealthTimeout, p.MinHealthy = 5*time.Minute, test.minHealthy
				m := newModel(3, p)
				m.broken[3] = test.broken
				m.want(2, "h2")
				stop := make(chan struct{})
				w := m.carry(t, stop)
				time.Sleep(2 * time.Second) // node 3 is at its gate
				asked := time.Now()
				close(stop)
				w.Wait()
				require.InDelta(t, test.takes, time.Since(asked), float64(2*time.Second))
				require.Nil(t, m.paused)
				if test.done {
					require.Equal(t, 2, m.current[3])
					return
				}
				require.Equal(t, 1, m.current[3])
				require.Equal(t, PhaseGivenUp, w.Failed()[0].Phase)
				require.Contains(t, w.Failed()[0].Message, "the next pass goes on")
			})
		})
	}
}

func TestARemovedLayerIsDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(2, policyOf(spec.Sequential))
		l := plan.Layer{Environment: "shop", Layer: "web", Removed: true}
		for n := 1; n <= 2; n++ {
			in := m.instances[m.instance(n, 1).ID]
			l.Operations = append(l.Operations, plan.Operation{
				Node: n, ID: in.NodeID, Kind: plan.Remove, Host: "h1", Intrusive: true, Serving: true, Instance: in,
				DNS: &plan.Withdrawal{Withdraw: []string{"node.web"}},
			})
		}
		w := NewWorker(t.Context(), nil, web, m.world())
		w.Offer(l, always)
		w.Wait()
		require.Empty(t, w.Failed())
		require.Equal(t, []time.Duration{spec.DefaultDrainTimeout, spec.DefaultDrainTimeout}, m.drains)
	})
}

// While a node leaves its names another one may fail: the node is left as it is then, has its names back, and goes when
// enough others serve, with no delay for what wasn't done.
func TestANodeIsWeighedAgainOnceItHasLeftItsNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(3, policyOf(spec.Sequential))
		m.want(2, "h2")
		w := m.carry(t, nil)
		time.Sleep(500 * time.Millisecond)
		m.mu.Lock()
		require.True(t, m.out[3])
		m.instances["1-g1"].State = fleet.StateExited
		m.mu.Unlock()
		w.Wait()
		require.Empty(t, m.plan().Operations)
		require.Empty(t, w.Failed())
		require.Equal(t, 2, m.least)
		require.Equal(t, []string{"given up (0/3)", "done (1/3)", "done (2/3)", "done (3/3)"}, m.counts)
		require.Less(t, m.changed[3], 40*time.Second, "node 1 and the delay came first, and nothing else")
		require.Empty(t, m.out)
	})
}

// Where no other is left, its names are given back for as long as that is so.
func TestTheLastOneThatServesHasItsNamesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(2, policyOf(spec.Sequential))
		m.want(2, "h2")
		m.broken[1] = true
		w := m.carry(t, nil)
		time.Sleep(500 * time.Millisecond)
		m.mu.Lock()
		m.instances["1-g1"].State = fleet.StateExited
		m.mu.Unlock()
		w.Wait()
		require.NotContains(t, m.changed, 2, "it is the last one that serves")
		require.Empty(t, m.out[2])
		require.Equal(t, fleet.StateRunning, m.instances["2-g1"].State)
	})
}

// A node that did not serve when it was taken is guarded all the same if it served when it left its names.
func TestANodeThatCameBackMeanwhileIsWeighed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(3, policyOf(spec.Sequential))
		m.instances["3-g1"].State, m.instances["2-g1"].State = fleet.StateExited, fleet.StateExited
		m.least, m.returning = 1, 3
		m.want(2, "h2")
		w := m.carry(t, nil)
		w.Wait()
		require.Empty(t, m.plan().Operations)
		require.Empty(t, w.Failed())
		require.Less(t, m.changed[2], m.changed[3])
		require.Equal(t, []string{"given up (0/3)", "done (1/3)", "done (2/3)", "done (3/3)"}, m.counts)
	})
}
