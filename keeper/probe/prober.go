// Package probe runs the http and tcp health checks against nodes' own addresses and says which instances
// are healthy. It asks at once when an instance appears, often until the instance is healthy, then at the
// probe's own interval. An address that the keeper isn't attached to yet says nothing about the node.
package probe

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// maxAtOnce is how many probes are under way at once.
const maxAtOnce = 64

// Target is an instance to be probed.
type Target struct {
	fleet.ZoneNode
	Source netip.Addr // the keeper's own address on the node's network
	Name   string     // the node's, as an http probe's Host
}

// Asker does one probe; an error that wraps ErrUnattached says nothing about the node.
type Asker func(ctx context.Context, t *Target, p *fleet.Probe) error

// Prober probes the instances that it was last given.
type Prober struct {
	ctx   context.Context
	ask   Asker
	slots chan struct{}
	done  sync.WaitGroup

	mu        sync.Mutex
	instances map[id]*instance
	byName    map[string]*instance // by instance alone
	seq       uint64               // of the last change
	changed   chan struct{}        // closed at the next change
}

// id is what results belong to: one start of one container.
type id struct{ instance, epoch string }

// New makes a prober whose probes end with ctx. Close waits for them.
func New(ctx context.Context, ask Asker) *Prober {
	return &Prober{ctx: ctx, ask: ask, slots: make(chan struct{}, maxAtOnce),
		instances: make(map[id]*instance), byName: make(map[string]*instance), changed: make(chan struct{})}
}

// Set replaces what is probed. An instance that stays keeps its results, probe by probe.
func (p *Prober) Set(targets []Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return
	}
	now := time.Now()
	kept := make(map[id]*instance, len(targets))
	byName := make(map[string]*instance, len(targets))
	for i := range targets {
		t := &targets[i]
		key := id{t.Instance, t.Epoch}
		in := p.instances[key]
		if in == nil {
			in = &instance{id: t.Instance, known: now, answers: new(atomic.Bool), checks: make(map[checkID]*check)}
		}
		kept[key], byName[t.Instance] = in, in
		p.update(in, t, now)
	}
	for key, in := range p.instances {
		if kept[key] == nil {
			in.stop()
		}
	}
	p.instances, p.byName = kept, byName
	p.announce()
}

// update starts and ends an instance's checks. Called with the lock held.
func (p *Prober) update(in *instance, t *Target, now time.Time) {
	in.eager = t.Candidate || t.Out != ""
	wanted := make(map[checkID]bool, len(t.Probes))
	for _, probe := range t.Probes {
		cid := checkID{probe, t.Address, t.Source, t.Name}
		if wanted[cid] || !t.Address.IsValid() {
			continue
		}
		wanted[cid] = true
		if c := in.checks[cid]; c != nil {
			c.kick()
			continue
		}
		p.start(in, cid, t)
	}
	for cid, c := range in.checks {
		if !wanted[cid] {
			c.cancel()
			delete(in.checks, cid)
			in.last = "" // what another check said says nothing of those that stay
		}
	}
	in.evaluate(now, &p.seq)
}

func (p *Prober) start(in *instance, cid checkID, t *Target) {
	ctx, cancel := context.WithCancel(p.ctx)
	c := &check{id: cid, prober: p, instance: in, target: *t, cancel: cancel, wake: make(chan struct{}, 1), known: time.Now()}
	in.checks[cid] = c
	p.done.Go(func() { c.run(ctx) })
}

// Healthy returns what a lookup reads: whether the instance's own probes (not those of its gate) succeed.
// It stays in step for as long as the instance is probed.
func (p *Prober) Healthy(instance string) *atomic.Bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if in := p.byName[instance]; in != nil {
		return in.answers
	}
	return new(atomic.Bool)
}

// Results are those of all instances of which something is known, sorted by instance.
func (p *Prober) Results() []fleet.ProbeResult {
	results, _, _ := p.Since(0)
	return results
}

// Since returns the results that changed after the given point, the point that they are as of, and what is
// closed at the next change.
func (p *Prober) Since(seq uint64) ([]fleet.ProbeResult, uint64, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	var all []fleet.ProbeResult
	for _, in := range p.byName {
		if in.decided && in.seq > seq {
			all = append(all, in.result(now))
		}
	}
	slices.SortFunc(all, func(a, b fleet.ProbeResult) int { return strings.Compare(a.Instance, b.Instance) })
	return all, p.seq, p.changed
}

// announce wakes those who wait for changes. Called with the lock held.
func (p *Prober) announce() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Close waits for the probes to end, which they do with the prober's context.
func (p *Prober) Close() { p.done.Wait() }
