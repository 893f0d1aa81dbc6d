package render

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// step is a step of node n of shop/web.
func step(n int, phase rollout.Phase, at time.Duration, done, total int) rollout.Progress {
	return rollout.Progress{
		Time: noon.Add(at), Revision: "8f3c2a1b9d0e4f5a", Environment: "shop", Layer: "web", Node: n, Host: "hn1",
		Operation: plan.Redeploy, Phase: phase, Done: done, Total: total,
	}
}

var newImage = []plan.Cause{{Field: "image", From: "1.4.1", To: "1.4.2"}}

func failedStep(n int, at time.Duration, done, total int) rollout.Progress {
	p := step(n, rollout.PhaseFailed, at, done, total)
	p.Error = "creating node 2 of shop/web on hn1: not healthy within 5m"
	p.Message = "exit code 1, out of memory\npanic: no config\x1b[2J\n"
	p.Took, p.Causes = plan.Duration(5*time.Minute), newImage
	return p
}

func aResult() reconciler.Result {
	left := rollingPlan()
	return reconciler.Result{
		Revision: "8f3c2a1b9d0e4f5a", Plan: rollingPlan(), Left: left,
		Failed: []rollout.Progress{failedStep(2, 0, 1, 3)}, Problems: []string{"host hn2: no answer in time"},
	}
}

func story() []rollout.Progress {
	drain := step(3, rollout.PhaseDrain, 1200*time.Millisecond, 0, 2)
	drain.Wait = plan.Duration(time.Second)
	done := step(3, rollout.PhaseDone, 4*time.Second, 1, 2)
	done.Took, done.Causes = plan.Duration(4*time.Second), newImage
	return []rollout.Progress{
		step(3, rollout.PhasePrepare, 0, 0, 2), step(3, rollout.PhaseGuard, 500*time.Millisecond, 0, 2),
		step(3, rollout.PhaseWithdraw, time.Second, 0, 2), drain, step(3, rollout.PhaseOperate, 2*time.Second, 0, 2),
		step(3, rollout.PhaseGate, 3*time.Second, 0, 2), step(3, rollout.PhaseRestore, 3500*time.Millisecond, 0, 2), done,
		step(2, rollout.PhaseOperate, 5*time.Second, 1, 2), failedStep(2, 305*time.Second, 2, 2),
	}
}

func TestLines(t *testing.T) {
	for _, verbose := range []bool{false, true} {
		name := map[bool]string{false: "progress.txt", true: "progress.verbose.txt"}[verbose]
		t.Run(name, func(t *testing.T) {
			golden(t, name, func(b *bytes.Buffer) error {
				l := NewLines(b, Style{}, verbose)
				for _, p := range story() {
					l.Report(p)
				}
				l.Notice(reconciler.Notice{Time: noon, Level: "warning", Host: "hn2", Message: "lost"})
				l.Close()
				l.Report(story()[0]) // comes too late
				return nil
			})
		})
	}
}

func TestJSONLines(t *testing.T) {
	golden(t, "progress.json", func(b *bytes.Buffer) error {
		j := NewJSONLines(b)
		for _, p := range story() {
			j.Report(p)
		}
		j.Notice(reconciler.Notice{Time: noon, Level: "warning", Host: "hn2", Message: "lost"})
		j.Close()
		return nil
	})
}

func TestActiveKnowsWhatIsAtHand(t *testing.T) {
	a := NewActive(NewLines(&bytes.Buffer{}, Style{}, false))
	require.Empty(t, a.AtHand())
	a.Report(step(3, rollout.PhaseGuard, 0, 0, 2))
	require.Empty(t, a.AtHand(), "a node that waits for its guard isn't touched yet")
	a.Report(step(3, rollout.PhaseGate, 0, 0, 2))
	require.Equal(t, []string{"shop/web/3 on hn1 (gate)"}, a.AtHand())
	a.Report(step(3, rollout.PhaseDone, 0, 1, 2))
	require.Empty(t, a.AtHand())
}

var errBroken = errors.New("broken pipe")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestResultsThatCanNotBeWrittenAreErrors(t *testing.T) {
	require.ErrorIs(t, PlanText(brokenWriter{}, rollingPlan(), Style{}), errBroken)
	require.ErrorIs(t, PlanMarkdown(brokenWriter{}, rollingPlan()), errBroken)
	require.ErrorIs(t, StatusText(brokenWriter{}, aStatus(), Style{}), errBroken)
	require.ErrorIs(t, HistoryJSON(brokenWriter{}, someHistory()), errBroken)
}

func TestActiveCountsTheRolloutAtHand(t *testing.T) {
	var b bytes.Buffer
	a := NewActive(NewLines(&b, Style{}, false))
	for n := range 3 {
		a.Report(step(n+1, rollout.PhaseDone, 0, n+1, 3))
	}
	for n := range 3 {
		a.Report(step(n+1, rollout.PhaseOperate, 0, 3+n, 6))
		a.Report(step(n+1, rollout.PhaseDone, 0, 4+n, 6))
	}
	require.Equal(t, 2, strings.Count(b.String(), "(1/3)"), b.String())
	require.Equal(t, 2, strings.Count(b.String(), "(3/3)"), b.String())
	require.NotContains(t, b.String(), "/6")
}
