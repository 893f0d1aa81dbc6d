package render

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// now puts a step at the present time of a bubble.
func now(p rollout.Progress) rollout.Progress {
	p.Time = time.Now()
	return p
}

func onScreen(s *screen) Terminal {
	return Terminal{Out: s, Size: func() (int, int) { return s.width, s.height }}
}

func TestLiveRedrawsInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(80, 24)
		l := NewLive(onScreen(s), Style{Colour: true})
		for _, phase := range []rollout.Phase{rollout.PhasePrepare, rollout.PhaseWithdraw, rollout.PhaseOperate, rollout.PhaseGate} {
			l.Report(now(step(3, phase, 0, 0, 3)))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		require.Equal(t, []string{
			"shop/web  ────────────────────────  0/3  4s",
			"  node 3  hn1  redeploy  gate  1s",
		}, s.text())

		l.Notice(reconciler.Notice{Level: "warning", Host: "hn2", Message: "lost"})
		require.Equal(t, []string{
			"warning: hn2: lost",
			"shop/web  ────────────────────────  0/3  4s",
			"  node 3  hn1  redeploy  gate  1s",
		}, s.text())

		l.Report(now(step(3, rollout.PhaseDone, 0, 1, 3)))
		l.Report(now(step(2, rollout.PhaseGuard, 0, 1, 3)))
		l.Close()
		require.Equal(t, []string{
			"warning: hn2: lost",
			"shop/web  ━━━━━━━━────────────────  1/3  4s",
			"  node 2  hn1  redeploy  guard  0s",
			"  node 3  hn1  redeploy  done   4s",
		}, s.text())
		require.Empty(t, s.unknown)
	})
}

func TestLiveLetsEndedLayersScrollAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(80, 24)
		l := NewLive(onScreen(s), Style{})
		l.Report(now(step(1, rollout.PhaseDone, 0, 1, 1)))
		time.Sleep(linger + time.Second)
		synctest.Wait()
		l.Report(now(step(1, rollout.PhaseOperate, 0, 0, 1)))
		l.Close()
		require.Equal(t, 2, strings.Count(s.all(), "shop/web"), s.all())
	})
}

func TestLiveSaysWhyANodeFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(100, 24)
		l := NewLive(onScreen(s), Style{})
		l.Report(now(failedStep(2, 0, 1, 2)))
		l.Close()
		require.Contains(t, s.all(), "not healthy within 5m")
		require.Contains(t, s.all(), "panic: no config")
	})
}

func TestLiveFollowsAResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(100, 24)
		l := NewLive(onScreen(s), Style{})
		p := now(step(3, rollout.PhaseOperate, 0, 0, 3))
		p.Message = strings.Repeat("waits for something long ", 10)
		l.Report(p)
		l.mu.Lock()
		s.resize(30)
		l.mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		l.Close()
		require.Equal(t, 1, strings.Count(s.all(), "shop/web"), s.all())
	})
}

// Whatever happens and however small the terminal is: the frame fits, and nothing that was drawn before is
// left on the screen twice.
func TestLiveNeverOutgrowsItsTerminal(t *testing.T) {
	phases := []rollout.Phase{rollout.PhasePrepare, rollout.PhaseGuard, rollout.PhaseOperate, rollout.PhaseGate, rollout.PhaseDone, rollout.PhaseFailed}
	rapid.Check(t, func(t *rapid.T) {
		b := board{}
		width, height := rapid.IntRange(1, 120).Draw(t, "width"), rapid.IntRange(1, 40).Draw(t, "height")
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			p := step(rapid.IntRange(1, 30).Draw(t, "node"), rapid.SampledFrom(phases).Draw(t, "phase"), 0, 0, 30)
			p.Layer = fmt.Sprintf("layer%d", rapid.IntRange(1, 8).Draw(t, "layer"))
			p.Message = rapid.String().Draw(t, "message")
			b.report(p)
		}
		frame := b.frame(width, height, noon, Style{Colour: true})
		if len(frame) > height {
			t.Fatalf("%d lines on %d", len(frame), height)
		}
		for _, line := range frame {
			if w := columnsOf(line); w > width {
				t.Fatalf("%d columns on %d: %q", w, width, line)
			}
		}
		for _, l := range b.layers {
			if len(b.layers) < height && !strings.Contains(strings.Join(frame, "\n"), l.id.Layer) && width > 20 {
				t.Fatalf("%s isn't shown", l.id)
			}
		}
	})
}

func TestManyNodesCollapse(t *testing.T) {
	b := board{}
	for n := range 50 {
		phase := rollout.PhaseDone
		if n == 20 {
			phase = rollout.PhaseGate
		}
		if n == 30 {
			phase = rollout.PhaseFailed
		}
		b.report(step(n+1, phase, 0, n, 50))
	}
	frame := b.frame(80, 24, noon, Style{})
	require.Len(t, frame, 3)
	require.Contains(t, frame[1], "node 21")
	require.Contains(t, frame[2], "node 31")
}

// columnsOf is how many columns a line takes on a terminal that knows its colours.
func columnsOf(line string) int {
	s := newScreen(10_000, 2)
	_, _ = s.Write([]byte(line))
	return s.col
}

func TestLiveKeepsAFooterBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(80, 24)
		l := NewLive(onScreen(s), Style{})
		l.Footer("client: 1 request")
		l.Report(now(step(3, rollout.PhaseOperate, 0, 0, 3)))
		l.Say("hello")
		l.Footer("client: 2 requests")
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []string{"hello", "shop/web  ────────────────────────  0/3  1s", "  node 3  hn1  redeploy  operate  1s", "client: 2 requests"}, s.text())
		l.Close()
		require.NotContains(t, s.all(), "client")
	})
}

// A worker counts on from rollout to rollout; what is shown is the rollout at hand.
func TestBarCountsTheRolloutAtHand(t *testing.T) {
	b := board{}
	b.report(step(3, rollout.PhaseWithdraw, 0, 3, 6))
	require.Contains(t, b.frame(80, 24, noon, Style{})[0], "0/3")
	b.report(step(3, rollout.PhaseDone, 0, 4, 6))
	require.Contains(t, b.frame(80, 24, noon, Style{})[0], "1/3")

	b = board{}
	b.report(step(1, rollout.PhaseDone, 0, 7, 7))
	require.Contains(t, b.frame(80, 24, noon, Style{})[0], "1/1")
	require.True(t, b.layers[0].ended())
}

// The delay is the layer's: the node before it is done.
func TestDelayIsShownAtTheLayer(t *testing.T) {
	b := board{}
	b.report(step(3, rollout.PhaseDone, 0, 1, 3))
	delay := step(3, rollout.PhaseDelay, 0, 1, 3)
	delay.Wait = plan.Duration(30 * time.Second)
	b.report(delay)
	b.report(step(2, rollout.PhaseQueued, 0, 1, 3))
	frame := b.frame(80, 24, noon.Add(10*time.Second), Style{})
	require.Contains(t, frame[0], "1/3  10s  next node in 20s")
	require.Equal(t, "  node 2  hn1  redeploy  queued", frame[1])
	require.Contains(t, frame[2], "done")

	b = board{}
	b.report(step(1, rollout.PhaseDone, 0, 1, 1))
	delay.Total = 1
	b.report(delay)
	require.True(t, b.layers[0].ended(), "nothing comes after the last node's delay")
}
