package rollout

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// TestARunningCandidateIsEndedFirst: a candidate that never gets healthy and goes on running holds the node's
// address, whatever it is that mends the node.
func TestARunningCandidateIsEndedFirst(t *testing.T) {
	for how, during := range map[string]bool{"after its gate": false, "during its gate": true} {
		for mended, generation := range map[string]int{"by a revert": 1, "by a fix": 3} {
			for seen, blind := range map[string]bool{"planned": false, "seen as it fails": true} {
				t.Run(mended+" "+how+", "+seen, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						m := newModel(3, policyOf(spec.Sequential))
						m.broken[3], m.blind = true, blind
						m.want(2, "h2")
						w := m.carry(t, nil)
						if during {
							time.Sleep(10 * time.Second)
						} else {
							w.Wait()
							require.Equal(t, "h2", m.paused.Hash)
						}
						m.mu.Lock()
						require.Equal(t, fleet.StateRunning, m.instances["3-g2"].State)
						m.paused, m.broken[3] = nil, false
						m.mu.Unlock()
						m.want(generation, "h"+string(rune('0'+generation)))
						w.Offer(m.plan(), always)
						w.Wait()
						w.Offer(m.plan(), always) // what was passed over while its node was at hand
						w.Wait()
						require.Empty(t, m.plan().Operations)
						require.Nil(t, m.paused)
						require.Equal(t, fleet.StateExited, m.instances["3-g2"].State)
						require.True(t, m.runs(3))
						require.Equal(t, 2, m.least)
						require.Empty(t, m.out)
						require.Equal(t, blind, m.conflicts > 0)
					})
				})
			}
		}
	}
}

func TestWhatAnotherContainerHolds(t *testing.T) {
	port := []fleet.Published{{Port: 8080, Protocol: "tcp", HostPort: 80}}
	db := fleet.Occupant{ID: "x", Name: "f_shop_db_1_g1", Fleet: "f", NodeID: fleet.NodeID{Environment: "shop", Layer: "db", Node: 1}}
	withPort, withAddress, foreign := db, db, fleet.Occupant{ID: "x", Name: "theirs", Ports: port}
	withPort.Ports = port
	stranger := fleet.Occupant{ID: "x", Name: "theirs", Addresses: []netip.Addr{netip.MustParseAddr("10.112.0.1")}}
	withAddress.Addresses = []netip.Addr{netip.MustParseAddr("10.112.0.1")}
	tests := []struct {
		name   string
		holder fleet.Occupant
		goes   time.Duration // after which the holder lets go; 0: never
		says   string
		paused bool
	}{
		{"a port of ours that is let go is waited for", withPort, 5 * time.Second, "", false},
		{"an address of ours that is let go is waited for", withAddress, 5 * time.Second, "", false},
		{"one of ours that stays fails the operation, and pauses nothing", withPort, 0, "container f_shop_db_1_g1 has not let go of it yet", false},
		{"a port of another's fails it before the node is touched", foreign, 0, "shop/web/1 is left as it is: a port that it publishes on h1 is taken (it is held by container theirs, which isn't this fleet's", false},
		{"an address of another's fails it at once", stranger, 0, "it is held by container theirs, which isn't this fleet's", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel(1, policyOf(spec.Sequential))
				m.taken = []fleet.Occupant{test.holder}
				m.want(2, "h2")
				w := m.carry(t, nil)
				if test.goes > 0 {
					time.Sleep(test.goes)
					m.mu.Lock()
					m.taken = nil
					m.mu.Unlock()
				}
				w.Wait()
				require.Equal(t, test.paused, m.paused != nil)
				if test.says == "" {
					require.Empty(t, w.Failed())
					require.True(t, m.runs(1))
					require.Equal(t, 2, m.current[1])
					return
				}
				require.Len(t, w.Failed(), 1)
				require.Contains(t, w.Failed()[0].Error, test.says)
				if test.paused {
					require.Less(t, time.Since(m.begun), letGoPatience, "at once")
					return
				}
				if len(test.holder.Fleet) == 0 {
					require.True(t, m.runs(1), "the old one goes on")
					require.Equal(t, 1, m.current[1])
					require.Empty(t, m.signals, "nothing was stopped")
				}
				m.taken = nil
				time.Sleep(firstRetry)
				w.Offer(m.plan(), always)
				w.Wait()
				require.Empty(t, w.Failed(), "it is tried again")
				require.True(t, m.runs(1))
			})
		})
	}
}

// TestAContainerThatIsGoneIsNoFailure: it was removed by hand between the plan and its start.
func TestAContainerThatIsGoneIsNoFailure(t *testing.T) {
	t.Run("of a node that is started", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newModel(1, policyOf(spec.Sequential))
			m.instances["1-g1"].State = fleet.StateExited
			p := m.plan()
			delete(m.instances, "1-g1")
			w := NewWorker(t.Context(), nil, web, m.world())
			w.Offer(p, always)
			w.Wait()
			require.Empty(t, w.Failed())
			require.Equal(t, []string{"1-g1"}, m.forgotten)
			require.Equal(t, "1 overtaken", m.events[len(m.events)-1])
		})
	})
	t.Run("of a node that is redeployed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newModel(1, policyOf(spec.Sequential))
			m.want(2, "h2")
			w := m.carry(t, nil)
			time.Sleep(500 * time.Millisecond) // it was prepared, the TTL passes
			m.mu.Lock()
			delete(m.instances, "1-g2")
			m.mu.Unlock()
			w.Wait()
			require.Empty(t, w.Failed())
			require.Nil(t, m.paused)
			require.Equal(t, []string{"1-g2"}, m.forgotten)
			require.Empty(t, m.plan().Operations, "it was made anew")
		})
	})
}
