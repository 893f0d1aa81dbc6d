package sim

import (
	"context"
	"errors"
	"fmt"
	"testing/fstest"
	"time"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/external"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
	"github.com/evenkeel/evenkeel/spec"
)

// Process is one life of evenkeel: a controller, and all that goes on for it.
type Process struct {
	w    *World
	name string
	*reconciler.Controller
	ctx    context.Context
	cancel context.CancelFunc

	// The world's lock guards what follows.
	dead bool
	made int // writes so far
	// crashAt is the write at which it dies: before it is made, or right after it was, its reply unread; 0: at none.
	crashAt     int
	crashBefore bool
	lost        bool // with its machine: nobody tells the keepers
}

// Begin starts a process. It does nothing until its controller is asked to.
func (w *World) Begin() *Process {
	w.mu.Lock()
	name := "evenkeel-" + w.nth("process")
	w.mu.Unlock()
	p := &Process{w: w, name: name}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.Controller = reconciler.New(reconciler.Options{
		Source: repoOf{w.Repo, p}, Load: w.load, Registries: w.Registry, Holder: name, KeeperVersion: 1, Interval: 30 * time.Second,
		Open: func(h spec.Host) (reconciler.Engine, error) {
			host := w.Host(h.Name)
			if host == nil {
				return nil, fmt.Errorf("there is no host %s", h.Name)
			}
			return &engine{host: host, p: p}, nil
		},
		OpenZone:    func(spec.ExternalZone) (external.Zone, error) { return zoneOf{w, p, w.Zone}, nil },
		DialKeeper:  p.dialKeeper,
		KeeperImage: func(string) (reconciler.KeeperImage, error) { return keeperImage{1}, nil },
		Report:      p.report,
		Notice: func(n reconciler.Notice) {
			p.say("%s: %s: %s %s", p.name, n.Level, n.Host, n.Message)
		},
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.living = append(w.living, p)
	w.note("%s begins", name)
	return p
}

var loader = new(spec.Loader)

func (p *Process) say(format string, a ...any) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if !p.dead {
		p.w.note(format, a...)
	}
}

func (p *Process) report(r rollout.Progress) {
	p.say("%s: %s/%s %s %d on %s: %s %s %s", p.name, r.Environment, r.Layer, r.Operation, r.Node, r.Host, r.Phase, r.Message, r.Error)
}

// CrashAt has the process die at its nth write from now on: before it is made, or with its reply unread; 0: at none.
func (p *Process) CrashAt(n int, before bool) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.crashAt, p.crashBefore = p.made+n, before
	if n == 0 {
		p.crashAt = 0
	}
}

// Crash has the process die now. What it has asked for and nobody has taken up yet may be done all the same. With
// its machine: the keepers aren't told that it is gone.
func (p *Process) Crash(machine bool) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.lost = machine
	p.die()
}

// die is the end. The lock is held.
func (p *Process) die() {
	if p.dead {
		return
	}
	p.dead = true
	p.w.note("%s is killed", p.name)
	p.cancel()
	if p.lost {
		return
	}
	for _, name := range p.w.names {
		for _, c := range p.w.hosts[name].containers {
			if c.keeper == nil || c.host.condition != well {
				continue
			}
			for s := range c.keeper.sessions {
				if s.p == p {
					s.close()
				}
			}
		}
	}
}

// Dead says whether it was killed.
func (p *Process) Dead() bool {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.dead
}

var errDead = errors.New("the process is dead")

// begin counts a call, and is where a process may die before it is made. The lock is held.
func (p *Process) begin(where string, c call) error {
	if p.dead {
		return fmt.Errorf("%w: %w", errDead, context.Canceled)
	}
	if !c.write || c.quiet {
		return nil
	}
	p.made++
	p.w.writes++
	p.w.note("%s: %s %s on %s", p.name, c.verb, c.object, where)
	if p.crashBefore && p.made == p.crashAt {
		p.die()
		return fmt.Errorf("%w: %w", errDead, context.Canceled)
	}
	return nil
}

// after is where a process may die before it reads an answer. The lock is held.
func (p *Process) after(c call) error {
	if c.write && !c.quiet && !p.crashBefore && p.crashAt > 0 && p.made >= p.crashAt {
		p.die()
	}
	if p.dead {
		return fmt.Errorf("%w: %w", errDead, context.Canceled)
	}
	return nil
}

// Read reads the documents of a revision.
func (w *World) Read(files map[string]string) (*spec.Spec, error) {
	all := fstest.MapFS{}
	for name, text := range files {
		all[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return loader.Load(all)
}
