package reconciler

import (
	"context"
	"sync"

	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// aside is the context of what is done beside the loop for as long as a command or a run lasts: looking
// images up, reading hosts, bringing them back. end gives it up and returns once it has ended.
func (c *Controller) aside(ctx context.Context) (inner context.Context, end func()) {
	inner, cancel := context.WithCancel(ctx)
	return inner, func() {
		cancel()
		<-c.besides.AtRest()
		<-c.choring.AtRest()
	}
}

// errand is something that is done for one host, never twice at once. Being asked for while it is under
// way, it is done once more.
type errand struct {
	mu    sync.Mutex
	at    bool
	again bool
	done  chan struct{} // closed when it has ended
}

// start has f done in a goroutine of the crew, and again until nobody has asked since it last began; f
// calls begin when it does. It returns a channel that is closed in the end, and whether f was under way
// before.
func (e *errand) start(crew *rollout.Crew, f func()) (done <-chan struct{}, underway bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.again = true
	if e.at {
		return e.done, true
	}
	e.at, e.done = true, make(chan struct{})
	crew.Go(func() {
		for {
			f()
			if e.end() {
				return
			}
		}
	})
	return e.done, false
}

// begin: what asks from now on asks for once more.
func (e *errand) begin() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.again = false
}

func (e *errand) end() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.again {
		return false
	}
	e.at = false
	close(e.done)
	return true
}

func (e *errand) underway() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.at
}
