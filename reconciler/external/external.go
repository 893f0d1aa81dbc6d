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
	// Wanted says what is wanted of a provider's zone now, who is out included. It calls nothing of Names.
	Wanted func(provider string) []names.Name
	// May refuses a write: the lease has too little time left.
	May func() error
}

// Names are a fleet's external names. They are safe for concurrent use.
type Names struct {
	options Options
	zones   []*zone
}

// zone is a provider's with what was last seen of it.
type zone struct {
	Provider
	working chan struct{} // full from a reading to the last change that follows from it

	mu   sync.Mutex
	view View
}

// View is what is known of a zone.
type View struct {
	Provider string
	Records  []fleet.DNSRecord
	At       time.Time // when it was last read; zero: never
	Problem  error     // why it couldn't be read last: nothing is known of it now
}

// New returns names; nothing is asked yet.
func New(o Options) *Names {
	n := &Names{options: o}
	for _, p := range o.Providers {
		n.zones = append(n.zones, &zone{Provider: p, working: make(chan struct{}, 1), view: View{Provider: p.Name}})
	}
	return n
}

// Views are what was last seen.
func (n *Names) Views() []View {
	var views []View
	for _, z := range n.zones {
		z.mu.Lock()
		views = append(views, z.view)
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
		j := job{some: func(names.Change) bool { return true }, broken: map[string]bool{}, turn: turn}
		for {
			if more, err := n.settle(ctx, n.zones[i], &j); !more || err != nil {
				return errors.Join(append(j.failed, err)...)
			}
		}
	})
}

// job is some of the changes that are due in a zone.
type job struct {
	some   func(names.Change) bool
	turn   time.Duration   // after which others have theirs; 0: it is done in one
	broken map[string]bool // names of which a change failed: the next one counts on it
	failed []error
}

// Withdraw takes a node out of its external names; Wanted has it out already. It returns once no zone says otherwise,
// and what becomes of its names: caches are still to be waited for.
func (n *Names) Withdraw(ctx context.Context, node fleet.NodeID) (names.Leave, error) {
	leaves := make([]names.Leave, len(n.zones))
	err := n.ofNode(ctx, node, func(i int, z *zone, wanted []names.Name) error {
		l := names.Leaving(z.as(n.options.Fleet), wanted, node)
		leaves[i] = l
		if !l.Gone() {
			return fmt.Errorf("%s still leads to %s in the zone %s", first(l.Records), node, z.Zone)
		}
		return nil
	})
	var all names.Leave
	for _, l := range leaves {
		all = all.And(l)
	}
	return all, err
}

// Restore puts a node back into its external names; Wanted has it in already. It returns once the zones say so.
func (n *Names) Restore(ctx context.Context, node fleet.NodeID) error {
	return n.ofNode(ctx, node, func(_ int, z *zone, wanted []names.Name) error {
		mine := of(wanted, node)
		for _, c := range names.Compute(z.as(n.options.Fleet), wanted).Changes {
			if c.Operation == names.Create && mine(c) {
				return fmt.Errorf("%s isn't in the zone %s yet", c.Record, z.Zone)
			}
		}
		return nil
	})
}

// ofNode settles the names of a node where it has any, and has what is there then confirmed. What failed elsewhere
// under the same names is for the next pass.
func (n *Names) ofNode(ctx context.Context, node fleet.NodeID, confirm func(i int, z *zone, wanted []names.Name) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return n.each(ctx, func(ctx context.Context, i int) error {
		z := n.zones[i]
		wanted := n.options.Wanted(z.Name)
		mine := of(wanted, node)
		if !slices.ContainsFunc(wanted, func(w names.Name) bool { return leads(w, node) }) {
			return nil
		}
		j := job{some: mine, broken: map[string]bool{}}
		_, err := n.settle(ctx, z, &j)
		if err := errors.Join(append(j.failed, err)...); err != nil {
			return err
		}
		return confirm(i, z, n.options.Wanted(z.Name))
	})
}

func leads(n names.Name, node fleet.NodeID) bool {
	return slices.ContainsFunc(n.Targets, func(t names.Target) bool { return t.Node == node })
}

// of chooses the changes of those names that lead to a node.
func of(wanted []names.Name, node fleet.NodeID) func(names.Change) bool {
	mine := map[string]bool{}
	for _, w := range wanted {
		if leads(w, node) {
			mine[names.Canonical(w.Name)] = true
		}
	}
	return func(c names.Change) bool { return mine[c.Record.Name] }
}

// settle reads a zone, makes the changes of a job that are due, and reads it again where it made any. It says whether
// its turn was over before all were made; an error means that the zone couldn't be read.
func (n *Names) settle(ctx context.Context, z *zone, j *job) (more bool, err error) {
	select {
	case z.working <- struct{}{}:
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	defer func() { <-z.working }()
	if err := z.read(ctx); err != nil {
		return false, err
	}
	r := names.Compute(z.as(n.options.Fleet), n.options.Wanted(z.Name))
	if n.options.Only != "" {
		r = names.Only(r, n.options.Fleet, n.options.Only)
	}
	begun, made := time.Now(), false
	for _, c := range r.Changes {
		if !j.some(c) || j.broken[c.Record.Name] {
			continue
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
	if made {
		return false, z.read(ctx)
	}
	return false, nil
}

func (n *Names) change(ctx context.Context, z *zone, c names.Change) error {
	if err := n.options.May(); err != nil {
		return fmt.Errorf("%s %s: %w", c.Operation, c.Record, err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	switch c.Operation {
	case names.Create:
		return z.Provider.Records.Create(ctx, c.Record)
	case names.Update:
		return z.Provider.Records.Update(ctx, c.Was, c.Record)
	default:
		return z.Provider.Records.Delete(ctx, c.Was)
	}
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

func (z *zone) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	records, err := z.Provider.Records.Records(ctx)
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.view.Problem = err; err == nil {
		z.view.Records, z.view.At = records, time.Now()
	}
	return err
}

// as is a zone as package names knows it.
func (z *zone) as(fleetName string) names.Zone {
	z.mu.Lock()
	defer z.mu.Unlock()
	return names.Zone{Fleet: fleetName, Name: z.Zone, Records: z.view.Records}
}

// first is the first record that is still there.
func first(records []fleet.DNSRecord) fleet.DNSRecord {
	return records[slices.IndexFunc(records, func(r fleet.DNSRecord) bool { return r.ID != "" })]
}
