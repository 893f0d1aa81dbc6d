package bench

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// call is one call to an engine that changes something.
type call struct {
	kind       string // create, start, stop, remove
	node       string // which node it was for
	begun, end time.Time
}

// calls are those of one run, ours or the bare loop's.
type calls struct {
	mu   sync.Mutex
	list []call
	node map[string]string // by container
}

func newCalls() *calls { return &calls{node: map[string]string{}} }

// do makes a call and notes it.
func (c *calls) do(kind, container string, f func() error) error {
	begun := time.Now()
	err := f()
	end := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, call{kind, cmp.Or(c.node[container], container), begun, end})
	return err
}

// made says which node a container is for.
func (c *calls) made(container, node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.node[container] = node
}

// taken returns the calls so far, in the order in which they began, and forgets them.
func (c *calls) taken() []call {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	slices.SortFunc(list, func(a, b call) int { return a.begun.Compare(b.begun) })
	return list
}

// first returns when the first call of a kind began; zero: there was none.
func (c *calls) first(kind string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	var first time.Time
	for _, k := range c.list {
		if k.kind == kind && (first.IsZero() || k.begun.Before(first)) {
			first = k.begun
		}
	}
	return first
}

// span is the time from the first call's begin to the last reply, of the kinds named; of all without any.
func span(list []call, kinds ...string) time.Duration {
	var first, last time.Time
	for _, c := range list {
		if len(kinds) > 0 && !slices.Contains(kinds, c.kind) {
			continue
		}
		if first.IsZero() || c.begun.Before(first) {
			first = c.begun
		}
		if c.end.After(last) {
			last = c.end
		}
	}
	return last.Sub(first)
}

// down is how long each node was down: from its stop's begin to its start's reply.
func down(list []call) []time.Duration {
	stopped := map[string]time.Time{}
	var all []time.Duration
	for _, c := range list {
		switch c.kind {
		case "stop":
			stopped[c.node] = c.begun
		case "start":
			if s, ok := stopped[c.node]; ok {
				all = append(all, c.end.Sub(s))
			}
		}
	}
	return all
}

// mostDown is how many nodes were down at once.
func mostDown(list []call) int {
	type edge struct {
		at time.Time
		n  int
	}
	var edges []edge
	stopped := map[string]bool{}
	for _, c := range list {
		switch {
		case c.kind == "stop":
			stopped[c.node] = true
			edges = append(edges, edge{c.begun, 1})
		case c.kind == "start" && stopped[c.node]:
			edges = append(edges, edge{c.end, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return a.at.Compare(b.at) })
	most, n := 0, 0
	for _, e := range edges {
		n += e.n
		most = max(most, n)
	}
	return most
}

// recorded is an engine whose changes of nodes are noted. It adds nothing but the clock.
type recorded struct {
	reconciler.Engine
	calls *calls
}

func (r recorded) Create(ctx context.Context, c fleet.Container) (id string, err error) {
	err = r.calls.do("create", c.NodeID.String(), func() error {
		id, err = r.Engine.Create(ctx, c)
		return err
	})
	r.calls.made(id, c.NodeID.String())
	return id, err
}

func (r recorded) Start(ctx context.Context, id string) error {
	return r.calls.do("start", id, func() error { return r.Engine.Start(ctx, id) })
}

func (r recorded) Stop(ctx context.Context, id, signal string, grace time.Duration) error {
	return r.calls.do("stop", id, func() error { return r.Engine.Stop(ctx, id, signal, grace) })
}

func (r recorded) Remove(ctx context.Context, id string) error {
	return r.calls.do("remove", id, func() error { return r.Engine.Remove(ctx, id) })
}
