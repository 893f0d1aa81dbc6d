package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/external"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
	"github.com/evenkeel/evenkeel/spec"
)

// Controller makes one fleet match its repository.
type Controller struct {
	opts  Options
	slots *rollout.Slots

	mu       sync.Mutex
	revision string
	desired  *spec.Spec
	weighed  *plan.Weighed // what the revision's removals were weighed with; nil: not yet
	offered  bool          // the first plan of a run has been handed out
	refused  string        // why a newer revision isn't in force
	noSource bool          // the source could not be read the last time
	waiting  string        // who holds the lease, while it isn't us
	hosts    map[string]*host
	out      map[fleet.NodeID]string // nodes that are kept out of their layer's names, and why
	gated    map[fleet.NodeID]int    // nodes that were started and have not been found ready; how often they were
	ends     map[fleet.NodeID]bool   // those that may be ending, as a controller before this one wished
	stop     <-chan struct{}         // closed: what waits only for the time ends
	outages  map[fleet.LayerID]bool  // layers that were said to have no healthy node
	images   map[string]*lookup      // by what is written
	lookedUp int                     // attempts that have ended
	tags     map[string]plan.Tag     // what the images of nodes stand for by now, as it was last found out
	workers  map[fleet.LayerID]*rollout.Worker
	// newWorker makes a worker; nil: none may be begun.
	newWorker func(fleet.LayerID) *rollout.Worker
	choring   rollout.Crew
	chores    map[string]time.Time // host operations at hand (atHand) or not to be tried before
	done      map[string]int       // those that ended well, by the number of the newest input then
	repeats   plan.Repeats         // what was done again and again
	plan      plan.Plan            // the newest
	outside   *outside             // zones at DNS providers
	said      said
	damping   names.Damping         // of nodes whose health comes and goes
	nothing   bool                  // all of the fleet goes: no external name is wanted
	cleared   map[string]bool       // records that were to be removed then, by their zones and IDs, and whether they were
	drifting  *drifting             // nil: nobody follows it
	planned   int                   // the number of the input that it was computed from
	inputs    int                   // gathered so far
	ended     map[fleet.LayerID]int // how many inputs were gathered when a layer's last operation ended

	gathering sync.Mutex // one input at a time, so that their numbers tell which is newer

	ending  bool         // no image is looked up any more
	lasting bool         // a run: what a registry refuses may be there later
	besides rollout.Crew // what is neither a worker's nor a chore: nobody waits for it but the end

	shared  time.Time     // when the copy was last handed out
	handed  fleet.Copy    // the last one that was
	resting chan struct{} // see idle

	// glances: it reads once and writes nothing.
	glances atomic.Bool

	// leading: the leases were taken, and operations are begun.
	leading atomic.Bool

	// yield is who took a lease that was ours; nil: nobody did. Nothing is begun meanwhile.
	yield atomic.Pointer[HeldError]

	kicks chan struct{} // something changed: plan anew
}

// New returns a controller. It does nothing until it is asked to.
func New(o Options) *Controller {
	if o.Interval <= 0 {
		o.Interval = 30 * time.Second
	}
	if o.KeepImages <= 0 {
		o.KeepImages = time.Hour
	}
	if o.Load == nil {
		o.Load = new(spec.Loader).Load
	}
	if o.Report == nil {
		o.Report = func(rollout.Progress) {}
	}
	if o.Notice == nil {
		o.Notice = func(Notice) {}
	}
	return &Controller{
		opts: o, slots: rollout.NewSlots(),
		outages: map[fleet.LayerID]bool{},
		hosts:   map[string]*host{}, ended: map[fleet.LayerID]int{}, out: map[fleet.NodeID]string{}, gated: map[fleet.NodeID]int{}, cleared: map[string]bool{}, ends: map[fleet.NodeID]bool{}, images: map[string]*lookup{},
		outside: &outside{Names: external.New(external.Options{})},
		workers: map[fleet.LayerID]*rollout.Worker{}, chores: map[string]time.Time{},
		kicks: make(chan struct{}, 1),
	}
}

// Close ends all sessions and connections. Leases end with the sessions.
func (c *Controller) Close() error {
	hosts := c.allHosts()
	c.mu.Lock()
	c.hosts = map[string]*host{}
	c.mu.Unlock()
	var errs []error
	for _, h := range hosts {
		errs = append(errs, h.close())
	}
	return errors.Join(errs...)
}

// kick asks for a new plan. Many kicks at once are one.
func (c *Controller) kick() {
	select {
	case c.kicks <- struct{}{}:
	default:
	}
}

// Fetch takes the newest revision into force, if it is valid. The last good one stays in force otherwise.
func (c *Controller) Fetch(ctx context.Context) (changed bool, err error) {
	rev, err := c.opts.Source.Fetch(ctx)
	again := c.readable(err == nil)
	if err != nil {
		c.refuse(err)
		return false, err
	}
	c.mu.Lock()
	same := rev.ID == c.revision && c.desired != nil && c.refused == ""
	invalid := c.refused != "" && !again
	c.mu.Unlock()
	if same {
		return false, nil
	}
	if rev.Rewound {
		c.notice("warning", "", fmt.Sprintf("revision %s isn't made upon the one before it: the branch was force-pushed, reset, or changed for another; "+
			"what it says counts, and what was only in the other history is gone", fleet.Short(rev.ID)))
	}
	for _, w := range rev.Warnings {
		c.notice("warning", "", w)
	}
	desired, err := c.opts.Load(rev.Files)
	if err != nil {
		err = &InvalidError{Revision: rev.ID, Problems: err}
		c.refuse(err)
		return false, err
	}
	if err := c.enforce(rev.ID, desired); err != nil {
		return true, err
	}
	if invalid {
		c.notice("info", "", fmt.Sprintf("revision %s is valid and in force", fleet.Short(rev.ID)))
	}
	return true, nil
}

// readable notes whether the source could be read, and says when it can be again.
func (c *Controller) readable(yes bool) (again bool) {
	c.mu.Lock()
	again = yes && c.noSource
	c.noSource = !yes
	c.mu.Unlock()
	if again {
		c.notice("info", "", "the repository can be read again")
	}
	return again
}

// InvalidError is a revision that can't be in force because its documents aren't valid.
type InvalidError struct {
	Revision string
	Problems error
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("revision %s is invalid:\n%s", fleet.Short(e.Revision), e.Problems)
}

func (e *InvalidError) Unwrap() error { return e.Problems }

func (c *Controller) refuse(err error) {
	c.mu.Lock()
	known := c.refused == err.Error()
	c.refused = err.Error()
	c.mu.Unlock()
	if !known {
		c.notice("error", "", err.Error())
	}
}

// enforce puts a valid revision into force and opens the hosts that it names.
func (c *Controller) enforce(revision string, desired *spec.Spec) error {
	if e := c.opts.Only; e != "" && desired.Environment(e) == nil {
		return fmt.Errorf("revision %s has no environment %q", fleet.Short(revision), e)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range desired.Fleet.Hosts {
		if err := c.openHost(desired.Fleet.Hosts[i]); err != nil {
			return err
		}
	}
	if err := c.openZones(desired); err != nil {
		return err
	}
	c.forgetImages(c.desired, desired)
	if revision != c.revision {
		c.weighed = nil
	}
	c.revision, c.desired, c.refused = revision, desired, ""
	return nil
}

// openHost makes a host known; one whose way to it changed is opened anew. c.mu is held.
func (c *Controller) openHost(s spec.Host) error {
	h, ok := c.hosts[s.Name]
	if ok && h.spec.SameEngine(&s) {
		h.spec = s
		return nil
	}
	e, err := c.opts.Open(s)
	if err != nil {
		return err // it says of which host
	}
	if ok {
		c.leave(h)
	}
	c.hosts[s.Name] = newHost(s, e)
	return nil
}

// leave closes a host that isn't known any more, aside: that is I/O. c.mu is held, or h is nobody's.
func (c *Controller) leave(h *host) {
	c.besides.Go(func() {
		if err := h.close(); err != nil {
			c.notice("warning", h.name, "closing the old connection: "+err.Error())
		}
	})
}

func (c *Controller) notice(level, host, message string) {
	c.opts.Notice(Notice{Time: time.Now(), Level: level, Host: host, Message: message})
}

func (c *Controller) fleetName() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.desired == nil {
		return ""
	}
	return c.desired.Fleet.Name
}

func (c *Controller) currentRevision() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.revision
}

// host returns a known host, or nil.
func (c *Controller) host(name string) *host {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hosts[name]
}

// allHosts returns the known hosts, sorted by name.
func (c *Controller) allHosts() []*host {
	c.mu.Lock()
	defer c.mu.Unlock()
	hosts := make([]*host, 0, len(c.hosts))
	for _, h := range c.hosts {
		hosts = append(hosts, h)
	}
	slices.SortFunc(hosts, func(a, b *host) int { return cmp.Compare(a.name, b.name) })
	return hosts
}

// wantedHosts are the known hosts that the spec names, sorted.
func (c *Controller) wantedHosts() []*host {
	hosts := c.allHosts()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(hosts, func(h *host) bool { return c.desired == nil || c.desired.Fleet.Host(h.name) == nil })
}
