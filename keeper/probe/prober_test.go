package probe

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// node is what a made-up node answers to probes.
type node struct {
	mu    sync.Mutex
	err   error
	asked []time.Time
}

func (n *node) ask(context.Context, *Target, *fleet.Probe) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, time.Now())
	return n.err
}

func (n *node) set(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
	n.asked = nil
}

func (n *node) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.asked)
}

var errDown = errors.New("connection refused")

func target(probes ...fleet.Probe) Target {
	return Target{ZoneNode: fleet.ZoneNode{NodeID: fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}, Instance: "c1",
		Address: netip.MustParseAddr("10.112.2.1"), Probes: probes}, Name: "node1.web.shop.internal"}
}

var slow = fleet.Probe{Port: 80, Interval: 5 * time.Second, Timeout: time.Second, Retries: 3}

// inBubble runs a test with a prober of a made-up node, in made-up time.
func inBubble(t *testing.T, test func(t *testing.T, p *Prober, n *node)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		n := &node{}
		p := New(ctx, n.ask)
		test(t, p, n)
		cancel()
		p.Close()
	})
}

// result is what is known of c1; nil: nothing.
func result(t *testing.T, p *Prober) *fleet.ProbeResult {
	t.Helper()
	synctest.Wait()
	all := p.Results()
	if len(all) == 0 {
		return nil
	}
	require.Len(t, all, 1)
	return &all[0]
}

func TestRetriesCountBeforeAHealthyNodeIsUnhealthy(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Prober, n *node) {
		p.Set([]Target{target(slow)})
		require.True(t, result(t, p).Healthy, "asked at once")
		healthy := p.Healthy("c1")
		require.True(t, healthy.Load())
		time.Sleep(time.Minute)
		require.InDelta(t, 12, n.count(), 1, "at its interval")
		require.InDelta(t, float64(time.Minute), float64(result(t, p).For), float64(time.Second))

		n.set(errDown)
		for n.count() < 2 {
			require.True(t, result(t, p).Healthy)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		require.False(t, result(t, p).Healthy, "at the third failure")
		require.False(t, healthy.Load())
		require.Equal(t, "connection refused", result(t, p).Last)

		n.set(nil)
		time.Sleep(300 * time.Millisecond)
		require.True(t, result(t, p).Healthy, "asked often while it isn't")
		require.Less(t, result(t, p).For, 300*time.Millisecond)
	})
}

func TestANodeThatStartsIsAskedOften(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Prober, n *node) {
		n.set(errDown)
		starting := slow
		starting.StartPeriod = 10 * time.Second
		p.Set([]Target{target(starting)})
		time.Sleep(9 * time.Second)
		require.False(t, result(t, p).Healthy)
		require.Zero(t, result(t, p).For, "its start period doesn't count")
		require.InDelta(t, 37, n.count(), 2)
		time.Sleep(3 * time.Second)
		require.InDelta(t, float64(2*time.Second), float64(result(t, p).For), float64(time.Millisecond))
		time.Sleep(5 * time.Minute)
		n.set(errDown)
		time.Sleep(10 * time.Second)
		require.InDelta(t, 10, n.count(), 1, "less often when it takes long")
	})
}

func TestResultsOutliveTheZone(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Prober, n *node) {
		p.Set([]Target{target(slow)})
		time.Sleep(time.Minute)
		out := target(slow)
		out.Out = "withdrawn"
		p.Set([]Target{out})
		require.GreaterOrEqual(t, result(t, p).For, time.Minute)
		n.set(errDown)
		time.Sleep(300 * time.Millisecond)
		require.False(t, result(t, p).Healthy, "out of the names, one failure counts, and it is asked often")

		n.set(nil)
		p.Set([]Target{target(slow)})
		time.Sleep(time.Minute)
		again := target(slow)
		again.Epoch = "a later start"
		n.set(errDown)
		p.Set([]Target{again})
		require.False(t, result(t, p).Healthy, "what the earlier start said doesn't count")
		require.False(t, p.Healthy("c1").Load())
		p.Set(nil)
		require.Nil(t, result(t, p))
		n.set(nil)
		time.Sleep(time.Minute)
		require.Zero(t, n.count(), "gone: not asked any more")
	})
}

func TestGateProbesDoNotDecideOnAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Prober, n *node) {
		gate := fleet.Probe{Port: 81, Interval: time.Second, Timeout: time.Second, Gate: true}
		p.Set([]Target{target()})
		time.Sleep(time.Minute)
		require.True(t, result(t, p).Healthy, "nothing to ask: healthy since it is known")
		require.Equal(t, time.Minute, result(t, p).For)
		n.set(errDown)
		p.Set([]Target{target(gate)})
		require.False(t, result(t, p).Healthy)
		require.True(t, p.Healthy("c1").Load())
		n.set(nil)
		time.Sleep(time.Second)
		require.True(t, result(t, p).Healthy)
		p.Set([]Target{target()})
		time.Sleep(time.Second)
		require.GreaterOrEqual(t, result(t, p).For, time.Second)
	})
}

func TestAnUnattachedKeeperKnowsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Prober, n *node) {
		n.set(ErrUnattached)
		p.Set([]Target{target(slow)})
		time.Sleep(time.Second)
		require.Nil(t, result(t, p))
		n.set(nil)
		time.Sleep(unattachedWait)
		require.True(t, result(t, p).Healthy)
		n.set(ErrUnattached)
		time.Sleep(time.Minute)
		require.True(t, result(t, p).Healthy, "what was known stays")
	})
}

func TestChangesAreTold(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Prober, n *node) {
		n.set(errDown)
		_, seq, changed := p.Since(0)
		p.Set([]Target{target(slow)})
		<-changed
		synctest.Wait()
		all, seq, changed := p.Since(seq)
		require.Len(t, all, 1)
		none, _, _ := p.Since(seq)
		require.Empty(t, none)
		n.set(nil)
		<-changed
		all, _, _ = p.Since(seq)
		require.True(t, all[0].Healthy)
	})
}

func TestAnInstanceThatIsProbedInAnotherWayIsPendingUntilThatHasSaidSomething(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Prober, n *node) {
		n.set(errDown)
		p.Set([]Target{target(slow)})
		require.Equal(t, &fleet.ProbeResult{Instance: "c1", Last: errDown.Error()}, result(t, p))
		n.set(ErrUnattached)
		other := slow
		other.Port = 81
		p.Set([]Target{target(other)})
		require.Equal(t, &fleet.ProbeResult{Instance: "c1", Pending: true}, result(t, p), "what the other check said is nobody's word now")

		n.set(errors.New("not found"))
		_, seq, changed := p.Since(0)
		<-changed
		all, _, _ := p.Since(seq)
		require.Len(t, all, 1, "that it is unhealthy is told, though it wasn't called healthy before")
		require.False(t, all[0].Pending)
		require.Equal(t, "not found", all[0].Last)
	})
}

func TestManyAreSpread(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Prober, n *node) {
		var all []Target
		for i := range 100 {
			one := target(slow)
			one.Instance = string(rune('A' + i))
			all = append(all, one)
		}
		p.Set(all)
		time.Sleep(10 * time.Second)
		n.set(nil)
		time.Sleep(5 * time.Second)
		require.InDelta(t, 100, n.count(), 2)
		busiest, perSecond := 0, map[int]int{}
		for _, at := range n.asked {
			perSecond[int(at.Sub(n.asked[0])/time.Second)]++
		}
		for _, c := range perSecond {
			busiest = max(busiest, c)
		}
		require.Less(t, busiest, 70, "not all at once")
	})
}
