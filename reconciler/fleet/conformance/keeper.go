package conformance

import (
	"context"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Keeper is what the suites ask of a session with a host's keeper.
type Keeper interface {
	State(ctx context.Context) (*fleet.KeeperState, error)
	Acquire(ctx context.Context, holder string) error
	Release(ctx context.Context) error
	LeaseLeft() time.Duration
	SetZone(ctx context.Context, z fleet.Zone) error
	PutRecord(ctx context.Context, key string, value any) error
	DeleteRecord(ctx context.Context, key string) error
	SetCopy(ctx context.Context, c fleet.Copy) error
	Watch(ctx context.Context) <-chan struct{}
	Retire(ctx context.Context) error
	Done() <-chan struct{}
	Close() error
}

// KeeperSite is a keeper that has just been started on an empty volume.
type KeeperSite struct {
	Fleet string
	// Dial opens a session as the process of that name, which is the same one each time.
	Dial func(ctx context.Context, process string) (Keeper, error)
	// Cut has nothing get to the keeper or back from it, and nobody told of that, until mend is called.
	Cut func() (mend func())
	// Kill ends the keeper, without a word to anybody but those who have a session with it.
	Kill func()
	// Start starts another keeper on the volume, beside the one that may be running on it.
	Start func() KeeperSite
}

// What both sides of a session rely on.
const (
	silence    = 15 * time.Second // after which a keeper closes a session
	grace      = 2 * time.Second  // that a lease outlives its session
	callBound  = 5 * time.Second  // for an answer
	noticed    = 5 * time.Second  // by when a session has noticed that its lease is another's
	freshLease = 10 * time.Second // that a lease is certain to last, at least, while the keeper answers
)
