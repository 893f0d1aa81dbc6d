// Package reconciler is the loop: it fetches and loads revisions, observes hosts, asks the plan what to
// do, and has rollouts carry it out. It holds the lease, keeps keepers on the hosts and tells them who is
// where. It decides nothing that placement, plan and zone can decide purely.
package reconciler

import (
	"context"
	"io"
	"io/fs"
	"net"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/external"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
	"github.com/evenkeel/evenkeel/spec"
)

// Revision is one state of the repository.
type Revision struct {
	ID    string
	Files fs.FS
	// Rewound: it isn't made upon the revision that was fetched before.
	Rewound  bool
	Warnings []string
}

// Source is where revisions come from.
type Source interface {
	// Fetch returns the newest revision. An error means that the last good one stays in force.
	Fetch(ctx context.Context) (Revision, error)
	// Watch hints that there may be a newer one, until ctx ends.
	Watch(ctx context.Context) <-chan struct{}
}

// Engine is one host's Docker Engine.
type Engine interface {
	rollout.Containers
	Pull(ctx context.Context, ref string, as fleet.Credentials) error
	Observe(ctx context.Context, fleetName string) fleet.HostState
	Rename(ctx context.Context, id, name string) error
	SetRestartPolicy(ctx context.Context, id, policy string) error
	EnsureNetwork(ctx context.Context, n fleet.Network) error
	RemoveNetwork(ctx context.Context, name string) error
	RemoveVolume(ctx context.Context, name string) error
	Resolve(ctx context.Context, ref string, as fleet.Credentials) (digest string, err error)
	RemoveImage(ctx context.Context, id string) error
	// StatFile looks at what is at a path in a container: fleet.ErrNotFound is about the container.
	StatFile(ctx context.Context, id, path string) (fleet.File, error)
	// ReadFile also reads it, where it is a file of at most so many bytes; else there is no content.
	ReadFile(ctx context.Context, id, path string, most int64) (f fleet.File, content []byte, err error)
	LoadImage(ctx context.Context, tar io.Reader) error
	CreateService(ctx context.Context, s fleet.Service) (id string, err error)
	Connect(ctx context.Context, network, container, address string) error
	Disconnect(ctx context.Context, network, container string) error
	Exec(ctx context.Context, container string, argv []string) (net.Conn, error)
	// RunHelper runs a short-lived container of ours to its end and returns what it wrote.
	RunHelper(ctx context.Context, s fleet.Service) (output string, err error)
	Events(ctx context.Context, fleetName string) <-chan fleet.Event
	Close() error
}

// Registries are image registries, as this machine reaches them.
type Registries interface {
	// Credentials reads those for an image anew; entry is the Fleet's for its registry, or nil.
	Credentials(ctx context.Context, entry *spec.Registry, ref string) (fleet.Credentials, error)
	// Digest asks which digest a tag stands for, without fetching anything. trusted: the registry needs no
	// proof of who it is. An error that is neither fleet.ErrNoImage nor fleet.ErrDenied says nothing of the image.
	Digest(ctx context.Context, ref string, as fleet.Credentials, trusted bool) (digest string, err error)
}

// Keeper is a session with one host's keeper.
type Keeper interface {
	State(ctx context.Context) (*fleet.KeeperState, error)
	Acquire(ctx context.Context, holder string) error
	Release(ctx context.Context) error
	LeaseLeft() time.Duration
	SetZone(ctx context.Context, z fleet.Zone) error
	PutRecord(ctx context.Context, key string, value any) error
	DeleteRecord(ctx context.Context, key string) error
	SetCopy(ctx context.Context, c fleet.Copy) error
	// Watch hints that a probe's result changed, until ctx or the session ends.
	Watch(ctx context.Context) <-chan struct{}
	Retire(ctx context.Context) error
	Done() <-chan struct{}
	Close() error
}

// Journal keeps what was done.
type Journal interface {
	// Append is given every step of an operation.
	Append(rollout.Progress) error
	AppendStep(HostStep) error
}

// Options wires a controller.
type Options struct {
	Source Source
	// Load reads a revision's documents; nil: a [spec.Loader] does.
	Load func(files fs.FS) (*spec.Spec, error)
	// Open gives a host's engine, without speaking to it yet. Its error says of which host it is.
	Open func(h spec.Host) (Engine, error)
	// OpenZone gives a zone at a DNS provider, without speaking to it yet.
	OpenZone func(z spec.ExternalZone) (external.Zone, error)
	// Registries are asked before engines are; nil: only engines are asked, without credentials.
	Registries Registries
	// DialKeeper opens a session with a keeper over a connection that an exec session in its container gave.
	DialKeeper func(ctx context.Context, dial func(context.Context) (net.Conn, error)) (Keeper, error)
	// KeeperImage gives the image for keepers on hosts of an architecture.
	KeeperImage   func(arch string) (KeeperImage, error)
	KeeperVersion int
	// Holder says for people who holds the lease.
	Holder   string
	Interval time.Duration // between passes without a hint; default 30 s
	// KeepImages is how long an image that evenkeel pulled and that no node needs any more is kept; default 1 h.
	KeepImages time.Duration
	Only       string // the only environment to touch; empty: all
	Report     func(rollout.Progress)
	// Changed is told of operations on hosts beside nodes, once they have ended.
	Changed func(HostStep)
	// Passed is told of each pass of a run: what it found to do, and how long that took.
	Passed func(p plan.Plan, took time.Duration)
	// Notice is told what is worth saying beside operations: a revision refused, a host lost.
	Notice  func(Notice)
	Journal Journal
}

// Notice is something worth saying that is no operation.
type Notice struct {
	Time    time.Time `json:"time"`
	Level   string    `json:"level"` // info, warning, error
	Host    string    `json:"host,omitempty"`
	Message string    `json:"message"`
}

// Result is how a pass ended.
type Result struct {
	Revision string
	Plan     plan.Plan // what was to be done at its start
	// Left is what is still to be done; an empty one: converged.
	Left      plan.Plan
	Failed    []rollout.Progress // operations that failed or were given up
	Problems  []string
	Converged bool
}

// KeeperImage is evenkeel's own image. Its tag tells one content from another, so that what a host has under
// it needs no comparing.
type KeeperImage interface {
	Tag() string
	// Tar streams the image as an engine loads it.
	Tar() io.ReadCloser
	Close() error
}
