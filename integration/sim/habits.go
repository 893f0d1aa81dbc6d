package sim

import (
	"context"
	"time"
)

// Habits are what takes the place of chance where a test measures how long something takes.
type Habits struct {
	// Program is how a container's program goes about.
	Program func(container string) behaviour
	// Connections is how long open ones last.
	Connections time.Duration
}

// Habits has things go the same way always, and the trace say more of when they begin and end.
func (w *World) Habits(h Habits) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.habits = &h
}

// detail notes what only matters to who measures. The lock is held.
func (w *World) detail(format string, a ...any) {
	if w.habits != nil {
		w.note(format, a...)
	}
}

// linger is how long a node's connections last, of most, and how many are left then.
func (w *World) linger(name string, most time.Duration) (took time.Duration, left int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.detail("%s: its connections are looked at", name)
	r := w.chance.of("drain", name, w.nth("drain "+name))
	took = min(most, between(r, 0, most*2))
	if oneIn(r, 3) {
		took = 0
	}
	if w.habits != nil {
		took = min(most, w.habits.Connections)
	}
	if took == most {
		left = r.IntN(3)
	}
	return took, left
}

// unanswered waits until whoever asked a program that takes the question and says nothing has enough of it.
func (c *container) unanswered(ctx context.Context) error {
	w := c.host.w
	w.mu.Unlock()
	defer w.mu.Lock()
	<-ctx.Done()
	return ctx.Err()
}
