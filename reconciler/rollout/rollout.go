// Package rollout carries a layer's operations out at its update policy's pace. It makes one transition
// of one node at a time, each of which can be repeated: what a crash leaves half done is observed and
// planned anew. It never decides what to change, and never touches a node that the guard protects.
package rollout

import (
	"context"
	"errors"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// Engine is a host's Docker Engine, as far as a rollout uses it.
type Engine interface {
	Containers
	// Pull fetches an image, with the credentials that its registry wants.
	Pull(ctx context.Context, ref string) error
}

// Containers is what an engine does by itself.
type Containers interface {
	Inspect(ctx context.Context, id string) (fleet.Instance, error)
	Create(ctx context.Context, c fleet.Container) (id string, err error)
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id, signal string, grace time.Duration) error
	Restart(ctx context.Context, id, signal string, grace time.Duration) error
	Remove(ctx context.Context, id string) error
	Update(ctx context.Context, id string, l fleet.Limits) error
	Image(ctx context.Context, ref string) (fleet.ImageInfo, error)
	// Occupants are all containers that run on the host, also others', and what they hold.
	Occupants(ctx context.Context) ([]fleet.Occupant, error)
	Logs(ctx context.Context, id string, lines int) ([]string, error)
}

// Hosts gives access to engines for writing.
type Hosts interface {
	// Engine returns a host's engine, for one write: an error where the host is out of reach or the lease
	// has less than 5 s left.
	Engine(host string) (Engine, error)
	// Prepare sees to it that a host has the keeper and the environment's network.
	Prepare(ctx context.Context, host, environment string) error
	// Saw and Gone tell what the rollout knows of an instance after a write, before it is observed again.
	Saw(in fleet.Instance)
	Gone(host, id string)
}

// Names puts nodes into names and takes them out.
type Names interface {
	// Withdraw takes a node out of its layer's names and returns once that is confirmed everywhere.
	Withdraw(ctx context.Context, n fleet.NodeID, reason string) (Withdrawn, error)
	// Remembered is how long caches may still have names outside that led to a node, also such as came and went while
	// it was out already.
	Remembered(n fleet.NodeID) time.Duration
	// Restore puts it back, and returns once that is confirmed.
	Restore(ctx context.Context, n fleet.NodeID) error
	// Hold keeps a node that is about to be started out of its layer's names until it is restored.
	Hold(n fleet.NodeID)
	// Probe has an instance probed from now on.
	Probe(ctx context.Context, in fleet.Instance) error
	// Health is what the keeper's probes say of an instance; false: it has not looked yet.
	Health(ctx context.Context, host, instance string) (fleet.ProbeResult, bool, error)
	// Drain returns when a node's open connections have ended, or after the timeout; it says how many are left.
	Drain(ctx context.Context, in fleet.Instance, ports []uint16, timeout time.Duration) (left int, err error)
}

// Withdrawn is a confirmed withdrawal.
type Withdrawn struct {
	TTL time.Duration
	// Served: it served, or may have, until then.
	Served bool
	// Internal: keepers that answered with it answer with others now, whatever the plan thought of who would be left.
	Internal bool
	// External: it has left names at DNS providers, or others that led to it went a moment ago.
	External bool
	// Stale are hosts whose keepers were out of reach: names there may be stale.
	Stale []string
}

// Records keeps small facts on keepers.
type Records interface {
	PutRecord(ctx context.Context, host, key string, value any) error
	DeleteRecord(ctx context.Context, host, key string) error
	// Promote records that an instance is its node's current one from now on.
	Promote(ctx context.Context, in fleet.Instance) error
	// Pause holds the layer's intrusive operations back, on the keepers of all its hosts.
	Pause(ctx context.Context, l fleet.LayerID, p fleet.PauseRecord) error
}

// Planner gives a layer's newest plan.
type Planner interface {
	// Layer reads the layer's hosts anew and plans with the newest revision.
	Layer(ctx context.Context, l fleet.LayerID) (View, error)
}

// View is a layer as it is now.
type View struct {
	Plan plan.Layer
	// Serving has an entry for each node that is wanted or exists.
	Serving map[int]bool
	// Unknown are the nodes of which it isn't known whether they serve: they run, and their keeper doesn't answer, or
	// has them in the names and has not probed them yet.
	Unknown map[int]bool
}

// World is all that a rollout works with.
type World struct {
	Hosts    Hosts
	Names    Names
	Records  Records
	Planner  Planner
	Fleet    func() string // its name
	Report   func(Progress)
	Revision func() string
	// Released is told that a node isn't worked on any more.
	Released func()
	// Slots limits how many nodes of one host are stopped and started at once.
	Slots *Slots
}

// Why an operation ended without being done and without having failed.
var (
	// ErrOvertaken: a newer revision changes the node.
	ErrOvertaken = errors.New("overtaken by a newer revision")
	// ErrGone: the container that was to be started was removed meanwhile, by somebody else.
	ErrGone = errors.New("its container was removed meanwhile; it is planned anew")
	// ErrInterrupted: evenkeel was asked to stop.
	ErrInterrupted = errors.New("interrupted")
	// ErrGuard: too few other nodes served for too long.
	ErrGuard = errors.New("too few other nodes serve")
	// ErrUnguarded: others stopped serving while the node left its names. It is weighed anew.
	ErrUnguarded = errors.New("too few other nodes serve by now; it is left as it is until they do")
)
