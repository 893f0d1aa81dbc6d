package reconciler

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// memory is a journal in memory, and everything else that a controller tells.
type memory struct {
	mu      sync.Mutex
	full    bool
	steps   []rollout.Progress
	changes []HostStep
	passes  []plan.Plan
	notices []Notice
}

func (m *memory) Append(p rollout.Progress) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return errors.New("no space left on device")
	}
	m.steps = append(m.steps, p)
	return nil
}

func (m *memory) AppendStep(c HostStep) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return errors.New("no space left on device")
	}
	m.changes = append(m.changes, c)
	return nil
}

// phases are those of a node's operations.
func (m *memory) phases(environment string) (phases []rollout.Phase) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.steps {
		if p.Environment == environment {
			phases = append(phases, p.Phase)
		}
	}
	return phases
}

// has says whether a change on h1 was told of.
func (m *memory) has(operation, what, name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.changes {
		if c.Host == "h1" && c.Operation == operation && c.What == what && c.Name == name && c.Error == "" && !c.Time.IsZero() && c.Revision != "" {
			return true
		}
	}
	return false
}

func (m *memory) attach(c *Controller) {
	c.opts.Journal = m
	c.opts.Passed = func(p plan.Plan, _ time.Duration) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.passes = append(m.passes, p)
	}
	c.opts.Notice = func(n Notice) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.notices = append(m.notices, n)
	}
}

func TestWhatIsDoneIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, h1, r := &memory{}, newEngine("h1"), newRepo("h1")
		r.write("shop.yaml", environment("shop", "app:1", "h1"))
		c := controller(t, r, h1)
		m.attach(c)
		var changed []HostStep
		c.opts.Changed = func(c HostStep) {
			m.mu.Lock()
			defer m.mu.Unlock()
			changed = append(changed, c)
		}
		acts, hosts := c.Leading()
		require.False(t, acts)
		require.Empty(t, hosts)
		end := loop(t, c)
		within(t, c, 5*time.Second, "shop serves", func() bool { return c.Current().Converged })
		acts, hosts = c.Leading()
		require.True(t, acts)
		require.Equal(t, map[string]bool{"h1": true}, hosts)
		end()
		acts, _ = c.Leading()
		require.False(t, acts)

		require.Contains(t, m.phases("shop"), rollout.PhaseGate)
		require.Contains(t, m.phases("shop"), rollout.PhaseDone)
		require.True(t, m.has("create", "network", "evenkeel_f_shop"), "%+v", m.changes)
		require.True(t, m.has("connect", "keeper", "evenkeel_f_shop"), "%+v", m.changes)
		require.Equal(t, m.changes, changed)
		require.True(t, m.passes[0].HasChanges)
		require.False(t, m.passes[len(m.passes)-1].HasChanges)
	})
}

func TestAJournalThatCannotBeWrittenStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, h1, r := &memory{full: true}, newEngine("h1"), newRepo("h1")
		r.write("shop.yaml", environment("shop", "app:1", "h1"))
		c := controller(t, r, h1)
		m.attach(c)
		defer loop(t, c)()
		within(t, c, 5*time.Second, "shop serves", func() bool { return c.Current().Converged })
		m.mu.Lock()
		defer m.mu.Unlock()
		require.True(t, slices.ContainsFunc(m.notices, func(n Notice) bool {
			return strings.HasPrefix(n.Message, "the journal can't be written, the work goes on: no space left")
		}), "%+v", m.notices)
	})
}
