package rollout

import (
	"context"
	"sync"
)

// Lock is for what is done by one at a time and waits for the outside meanwhile: whoever waits for it heeds its
// context, which a mutex doesn't. The zero value is free.
type Lock struct {
	mu   sync.Mutex
	held chan struct{} // closed when it is given back; nil: it is free
}

// Take waits for the lock, or until ctx ends.
func (l *Lock) Take(ctx context.Context) error {
	for {
		l.mu.Lock()
		held := l.held
		if held == nil {
			l.held = make(chan struct{})
			l.mu.Unlock()
			return nil
		}
		l.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Give gives it back.
func (l *Lock) Give() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.held)
	l.held = nil
}
