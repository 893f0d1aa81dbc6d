package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/names/memory"
)

// FleetName is the name of the simulated fleet.
const FleetName = "f"

// World is all that there is besides the controller.
type World struct {
	Repo     *Repo
	Registry *Registry
	Zone     *memory.Zone // at the provider

	chance chance
	begun  time.Time
	// instant: calls take no time and never fail.
	instant bool

	mu     sync.Mutex
	hosts  map[string]*Host
	names  []string // of the hosts, sorted
	counts map[string]int
	// rough: calls fail, replies get lost, events come late and twice.
	rough  bool
	habits *Habits // nil: all is as chance has it
	// zoneWas is what the provider's zone was like after each change.
	zoneWas []zoneMoment
	trace   []line
	rules   rules
	// writes counts what processes have changed.
	writes int
	living []*Process

	ended chan struct{}
	tasks sync.WaitGroup
}

// line is something that happened.
type line struct {
	at   time.Duration
	text string
}

// New makes a world with hosts of these names.
func New(seed uint64, hosts ...string) *World {
	w := &World{
		chance: chance{seed}, begun: time.Now(), hosts: map[string]*Host{}, counts: map[string]int{}, ended: make(chan struct{}),
	}
	w.rules.init(w)
	w.Zone = memory.New(zoneName)
	w.Repo, w.Registry = newRepo(w), newRegistry(w)
	for _, name := range hosts {
		w.hosts[name] = newHost(w, name)
		w.names = append(w.names, name)
	}
	slices.Sort(w.names)
	return w
}

// Close ends all that goes on and returns when it has ended.
func (w *World) Close() {
	w.mu.Lock()
	for _, name := range w.names {
		w.hosts[name].stopKeepers()
	}
	close(w.ended)
	w.mu.Unlock()
	w.tasks.Wait()
}

// Rough says whether calls fail and events get lost from now on.
func (w *World) Rough(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rough = yes
}

// Host is the host of that name.
func (w *World) Host(name string) *Host { return w.hosts[name] }

// Writes is how many changes processes have made or tried so far, leases apart.
func (w *World) Writes() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.writes
}

// Trace is what happened, a line each.
func (w *World) Trace() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, l := range w.trace {
		fmt.Fprintf(&b, "%12.6f %s\n", l.at.Seconds(), l.text)
	}
	return b.String()
}

// note adds to the trace. The world's lock is held.
func (w *World) note(format string, a ...any) {
	if !w.instant {
		w.trace = append(w.trace, line{time.Since(w.begun), fmt.Sprintf(format, a...)})
	}
}

// Note adds to the trace.
func (w *World) Note(format string, a ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(format, a...)
}

// over says whether the world has ended.
func (w *World) over() bool {
	select {
	case <-w.ended:
		return true
	default:
		return false
	}
}

// task does something beside, that Close waits for.
func (w *World) task(f func()) {
	if w.over() {
		return
	}
	w.tasks.Go(f)
}

// later does something under the lock after a while, unless the world has ended.
func (w *World) later(d time.Duration, f func()) {
	w.task(func() {
		if w.sleep(context.Background(), d) == nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			f()
		}
	})
}

// sleep returns after d, or earlier with the reason.
func (w *World) sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	case <-w.ended:
		return context.Canceled
	}
}
