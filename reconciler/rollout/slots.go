package rollout

import (
	"context"
	"sync"
)

// perHost is where an engine is at its fastest: more at once start slower in sum.
const perHost = 4

// Slots bounds how many nodes of one host are worked on at once, so that of many nodes changed
// simultaneously each is down only as long as its own stop and start take.
type Slots struct {
	mu    sync.Mutex
	hosts map[string]chan struct{}
}

// NewSlots returns slots for any number of hosts.
func NewSlots() *Slots { return &Slots{hosts: map[string]chan struct{}{}} }

// Take waits for a slot of the host; the caller gives it back by calling what it returns, once or more often.
func (s *Slots) Take(ctx context.Context, host string) (release func(), err error) {
	c := s.of(host)
	select {
	case c <- struct{}{}:
		return sync.OnceFunc(func() { <-c }), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (s *Slots) of(host string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.hosts[host]
	if !ok {
		c = make(chan struct{}, perHost)
		s.hosts[host] = c
	}
	return c
}
