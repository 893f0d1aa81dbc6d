package sim

import (
	"context"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// listener is one stream of a host's events.
type listener struct {
	p     *Process
	ctx   context.Context
	queue []fleet.Event
	wake  chan struct{}
}

// Events tells what happens on the host until ctx ends.
func (e *engine) Events(ctx context.Context, fleetName string) <-chan fleet.Event {
	out := make(chan fleet.Event)
	h := e.host
	l := &listener{p: e.p, ctx: ctx, wake: make(chan struct{}, 1)}
	h.w.mu.Lock()
	h.listeners = append(h.listeners, l)
	if h.condition == well {
		l.put(fleet.Event{Host: h.name, Kind: "host", Action: "connected"})
	}
	h.w.mu.Unlock()
	h.w.task(func() {
		defer close(out)
		l.pass(h.w, out)
	})
	return out
}

// pass hands events on as they are taken.
func (l *listener) pass(w *World, out chan<- fleet.Event) {
	for {
		w.mu.Lock()
		var send chan<- fleet.Event
		var next fleet.Event
		if len(l.queue) > 0 {
			send, next = out, l.queue[0]
		}
		w.mu.Unlock()
		select {
		case send <- next:
			w.mu.Lock()
			l.queue = l.queue[1:]
			w.mu.Unlock()
		case <-l.wake:
		case <-l.ctx.Done():
			return
		case <-w.ended:
			return
		}
	}
}

// put adds an event. The lock is held.
func (l *listener) put(e fleet.Event) {
	if len(l.queue) < 1024 {
		l.queue = append(l.queue, e)
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// tell tells of a container.
func (h *Host) tell(c *container, action string) {
	labels := map[string]string{}
	for k, v := range c.labels {
		if strings.HasPrefix(k, "dev.evenkeel.") {
			labels[k] = v
		}
	}
	if labels[fleet.LabelFleet] == FleetName {
		h.emit(fleet.Event{Kind: "container", Action: action, ID: c.id, Name: c.name, Labels: labels})
	}
}

// emit has an event come to all who listen, at times late, twice or never. The lock is held.
func (h *Host) emit(e fleet.Event) {
	e.Host, e.Time = h.name, time.Now()
	live := h.listeners[:0]
	for _, l := range h.listeners {
		if l.ctx.Err() == nil {
			live = append(live, l)
		}
	}
	h.listeners = live
	if h.w.instant || len(live) == 0 || h.condition != well && e.Kind != "host" {
		return
	}
	about := []string{"event", h.name, e.Kind, e.Action, e.Name}
	r := h.w.chance.of(append(about, h.w.nth(strings.Join(about, " ")))...)
	times := 1
	delay := between(r, 100*time.Microsecond, 5*time.Millisecond)
	if h.w.rough {
		switch r.IntN(12) {
		case 0:
			times = 2
		case 1:
			delay = between(r, 0, 20*time.Second)
		case 2:
			if e.Kind != "host" {
				times = 0
			}
		}
	}
	for range times {
		h.w.later(delay, func() {
			for _, l := range h.listeners {
				l.put(e)
			}
		})
		delay += between(r, 0, 10*time.Second)
	}
}
