package rollout

import "sync"

// Crew counts goroutines that may be joined by others at any time, and says when none is at work. A
// WaitGroup forbids being added to while it is waited for.
type Crew struct {
	mu   sync.Mutex
	n    int
	rest chan struct{} // closed when n falls to 0; nil while nobody asked
}

// Go runs f in a goroutine of the crew.
func (c *Crew) Go(f func()) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	go func() {
		defer c.done()
		f()
	}()
}

func (c *Crew) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	if c.n == 0 && c.rest != nil {
		close(c.rest)
		c.rest = nil
	}
}

// AtRest returns a channel that is closed once nobody is at work.
func (c *Crew) AtRest() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == 0 {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	if c.rest == nil {
		c.rest = make(chan struct{})
	}
	return c.rest
}
