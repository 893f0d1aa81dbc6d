// Package external brings a fleet's zones at DNS providers to what package names decides, and takes nodes out of their
// external names. It decides nothing, waits for no cache, and takes a zone that can't be read for unknown: nothing is
// done there.
package external

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
)

const (
	// patience is how long a call may take, and all that a node's names need: it is out meanwhile.
	patience = time.Minute
	// turn is how long a zone is worked on before a node that waits for it has its turn: providers take few calls a
	// second, and a zone may need many.
	turn = 10 * time.Second
)

// Zone is a zone at a DNS provider. Errors of what is in the way are fleet.ErrConflict.
type Zone interface {
	// Records returns all of them, or an error.
	Records(ctx context.Context) ([]fleet.DNSRecord, error)
	// Create makes a record; one of the fleet's that says the same becomes it.
	Create(ctx context.Context, r fleet.DNSRecord) error
	// Update and Delete change a record as long as it is what it was; what is gone already is deleted.
	Update(ctx context.Context, was, is fleet.DNSRecord) error
	Delete(ctx context.Context, was fleet.DNSRecord) error
}

// Provider is an entry of the Fleet's external DNS.
type Provider struct {
	Name    string // public
	Zone    string // example.com
	Records Zone
}

// Options wires it.
type Options struct {
	Fleet     string
	Only      string // the only environment to touch; empty: all
	Providers []Provider
	// Wanted says what is wanted of a provider's zone now, who is out included. It calls nothing of Names, and nor do
	// the others.
	Wanted func(provider string) Wanted
	// Before is told which names are about to be changed, and may refuse; nil: nobody is.
	Before func(ctx context.Context, provider string, changing []string) error
	// MayLead says whether a zone that was never read may lead to a node; nil: it doesn't.
	MayLead func(provider string, node fleet.NodeID) bool
	// Leads is what may lead to a node's host under any name; nil: nothing.
	Leads func(node fleet.NodeID) []names.Data
	// Ending has settling end before its next change; nil: it never does.
	Ending func() bool
	// May refuses a write: the lease has too little time left.
	May func() error
	// Changed is told of each change that was tried; nil: nobody is.
	Changed func(p Provider, c names.Change, err error)
}

// Wanted is what is wanted of a zone.
type Wanted struct {
	Names []names.Name
	// Keep, Said and ReportOnly are as in names.Zone.
	Keep       bool
	Said       map[string]string
	ReportOnly bool
}

// Names are a fleet's external names. They are safe for concurrent use.
type Names struct {
	options Options
	zones   []*zone
}

// zone is a provider's with what was last seen of it.
type zone struct {
	Provider
	*state
}

// state is what is known of a zone, whoever works on it.
type state struct {
	working chan struct{} // full from a reading to the last change that follows from it

	mu      sync.Mutex
	view    View
	begun   time.Time // when the newest good reading began
	changed time.Time // when the last change ended: no reading that began before is good
	// asked are records that were written since the newest reading began, and altered those that were read back as
	// something else.
	asked   []fleet.DNSRecord
	altered []names.Altered
	// gone are records that were deleted a while ago and that caches may still have.
	gone []gone
	// deleted are records that are gone, by their IDs, and until when a reading that still has them is older than that.
	deleted map[string]time.Time
}

// gone is a record that was deleted.
type gone struct {
	record fleet.DNSRecord
	until  time.Time // caches may have it
}

// View is what is known of a zone.
type View struct {
	Provider string
	Records  []fleet.DNSRecord
	Altered  []names.Altered
	At       time.Time // when it was last read; zero: never
	Problem  error     // why it couldn't be read last: nothing is known of it now
}

// New returns names; nothing is asked yet.
func New(o Options) *Names {
	n := &Names{options: o}
	for _, p := range o.Providers {
		n.zones = append(n.zones, &zone{p, &state{working: make(chan struct{}, 1)}})
	}
	return n
}

// Succeed has names take the place of others, before they are used: in zones that both have what is under way there is
// waited for, and what is known goes on being known.
func (n *Names) Succeed(before *Names) {
	for _, z := range n.zones {
		for _, was := range before.zones {
			if was.Zone == z.Zone {
				z.state = was.state
			}
		}
	}
}

// Views are what was last seen.
func (n *Names) Views() []View {
	var views []View
	for _, z := range n.zones {
		z.mu.Lock()
		v := z.view
		v.Provider, v.Altered = z.Name, z.altered
		views = append(views, v)
		z.mu.Unlock()
	}
	return views
}

// Read reads all zones, side by side. What went wrong is in the views, too.
func (n *Names) Read(ctx context.Context) error {
	return n.each(ctx, func(ctx context.Context, i int) error { return n.zones[i].read(ctx) })
}

// Settle reads all zones and makes the changes that are due, side by side; one that fails holds up neither those of
// other names nor other zones. It takes as long as it takes; nodes that leave or come back aren't held up by it. The
// views are what is there afterwards.
func (n *Names) Settle(ctx context.Context) error {
	return n.each(ctx, func(ctx context.Context, i int) error {
		if !n.concerned(n.zones[i]) {
			return nil
		}
		j := job{some: func(all []names.Change) []names.Change { return all }, broken: map[string]bool{}, turn: turn}
		for {
			if more, err := n.settle(ctx, n.zones[i], &j); !more || err != nil {
				return errors.Join(append(j.failed, err)...)
			}
		}
	})
}

// concerned says whether a zone has anything to do with the only environment to touch, where there is one.
func (n *Names) concerned(z *zone) bool {
	only := n.options.Only
	if only == "" {
		return true
	}
	owner := fleet.DNSOwner(n.options.Fleet, only)
	return slices.ContainsFunc(n.options.Wanted(z.Name).Names, func(w names.Name) bool { return w.Environment == only }) ||
		slices.ContainsFunc(z.seen(), func(r fleet.DNSRecord) bool { return r.Owner == owner })
}

// job is some of the changes that are due in a zone.
type job struct {
	some   func([]names.Change) []names.Change
	turn   time.Duration   // after which others have theirs; 0: it is done in one
	broken map[string]bool // names of which a change failed: the next one counts on it
	failed []error
}

// Withdraw takes a node out of its external names; Wanted has it out already. It returns once no zone says otherwise,
// and what becomes of its names: caches are still to be waited for.
func (n *Names) Withdraw(ctx context.Context, node fleet.NodeID) (names.Leave, error) {
	leaves := make([]names.Leave, len(n.zones))
	err := n.ofNode(ctx, node, func(i int, z *zone, o concern) error {
		if kept := names.Kept(z.seen(), o.wanted.Names, o.owner, o.leads); o.wanted.Keep && kept != "" {
			return fmt.Errorf("%s still leads to the host of %s in the zone %s, and isn't to be taken away", kept, node, z.Zone)
		}
		l := names.Leaving(z.as(n.options.Fleet, o.wanted), o.wanted.Names, node)
		l.Lasts = max(l.Lasts, z.remembered(o, time.Now()))
		leaves[i] = l
		if !l.Gone() {
			return fmt.Errorf("%s still leads to %s in the zone %s", first(l.Records), node, z.Zone)
		}
		for _, c := range names.Compute(z.as(n.options.Fleet, o.wanted), o.wanted.Names).Changes {
			if o.frees(c) {
				return fmt.Errorf("%s still leads to the host of %s in the zone %s", c.Was, node, z.Zone)
			}
		}
		return nil
	})
	var all names.Leave
	for _, l := range leaves {
		all = all.And(l)
	}
	return all, err
}

// Remembered is how long caches may still have records that led to a node, as far as they were deleted by us.
func (n *Names) Remembered(node fleet.NodeID) (longest time.Duration) {
	for _, z := range n.zones {
		longest = max(longest, z.remembered(n.concern(z, node), time.Now()))
	}
	return longest
}

// Restore puts a node back into its external names; Wanted has it in already. It returns once the zones say so.
func (n *Names) Restore(ctx context.Context, node fleet.NodeID) error {
	return n.ofNode(ctx, node, func(_ int, z *zone, o concern) error {
		for _, c := range names.Compute(z.as(n.options.Fleet, o.wanted), o.wanted.Names).Changes {
			if c.Operation == names.Create && o.names[c.Record.Name] {
				return fmt.Errorf("%s isn't in the zone %s yet", c.Record, z.Zone)
			}
		}
		return nil
	})
}

// ofNode settles the names of a node where it has any, and has what is there then confirmed. What failed elsewhere
// under the same names is for the next pass.
func (n *Names) ofNode(ctx context.Context, node fleet.NodeID, confirm func(i int, z *zone, o concern) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return n.each(ctx, func(ctx context.Context, i int) error {
		z := n.zones[i]
		if o := n.concern(z, node); !o.any(z.seen(), z.recently(o, time.Now())) && !n.mayLead(z, node) {
			return nil
		}
		j := job{some: func(all []names.Change) []names.Change { return n.concern(z, node).mine(all) }, broken: map[string]bool{}}
		_, err := n.settle(ctx, z, &j)
		if err := errors.Join(append(j.failed, err)...); err != nil {
			return err
		}
		return confirm(i, z, n.concern(z, node))
	})
}

// mayLead says whether a zone of which nothing has been seen may lead to a node.
func (n *Names) mayLead(z *zone, node fleet.NodeID) bool {
	return n.options.MayLead != nil && !z.wasRead() && n.options.MayLead(z.Name, node)
}

// settle reads a zone, makes the changes of a job that are due, and reads it again where it made any. It says whether
// its turn was over before all were made; an error means that the zone couldn't be read. A reading that began while it
// waited for its turn will do.
func (n *Names) settle(ctx context.Context, z *zone, j *job) (more bool, err error) {
	asked := time.Now()
	select {
	case z.working <- struct{}{}:
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	defer func() { <-z.working }()
	if !z.readSince(asked) {
		if err := z.read(ctx); err != nil {
			return false, err
		}
	}
	due := n.due(z, j)
	if len(due) == 0 {
		return false, nil
	}
	if err := n.before(ctx, z, due); err != nil {
		return false, err
	}
	begun, made := time.Now(), false
	for _, c := range due {
		if j.broken[c.Record.Name] {
			continue
		}
		if j.turn > 0 && n.options.Ending != nil && n.options.Ending() {
			return false, nil // the next pass goes on with it; nodes at hand still get what is theirs
		}
		if made && j.turn > 0 && time.Since(begun) >= j.turn {
			return true, nil
		}
		made = true
		if err := n.change(ctx, z, c); err != nil {
			j.failed = append(j.failed, err)
			j.broken[c.Record.Name] = true
		}
	}
	return false, z.read(ctx)
}

// due are the changes of a job that are due in a zone.
func (n *Names) due(z *zone, j *job) []names.Change {
	wanted := n.options.Wanted(z.Name)
	r := names.Compute(z.without(z.as(n.options.Fleet, wanted)), wanted.Names)
	if n.options.Only != "" {
		r = names.Only(r, n.options.Fleet, n.options.Only)
	}
	return slices.DeleteFunc(j.some(r.Changes), func(c names.Change) bool { return j.broken[c.Record.Name] })
}

// before tells which names are about to be changed.
func (n *Names) before(ctx context.Context, z *zone, due []names.Change) error {
	if n.options.Before == nil {
		return nil
	}
	var changing []string
	for _, c := range due {
		changing = append(changing, c.Record.Name)
	}
	slices.Sort(changing)
	return n.options.Before(ctx, z.Name, slices.Compact(changing))
}

func (n *Names) change(ctx context.Context, z *zone, c names.Change) error {
	if err := n.options.May(); err != nil {
		return fmt.Errorf("%s %s: %w", c.Operation, c.Record, err)
	}
	err := z.change(ctx, c)
	if n.options.Changed != nil {
		n.options.Changed(z.Provider, c, err)
	}
	if errors.Is(err, fleet.ErrAltered) {
		return nil // it is there; the reading that follows tells as what
	}
	return err
}

// each works on all zones side by side, and takes what went wrong together in their order.
func (n *Names) each(ctx context.Context, work func(ctx context.Context, i int) error) error {
	errs := make([]error, len(n.zones))
	var wg sync.WaitGroup
	for i := range n.zones {
		wg.Go(func() { errs[i] = work(ctx, i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// first is the first record that is still there.
func first(records []fleet.DNSRecord) fleet.DNSRecord {
	return records[slices.IndexFunc(records, func(r fleet.DNSRecord) bool { return r.ID != "" })]
}
