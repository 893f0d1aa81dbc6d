package external

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
)

func (z *zone) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	begun := time.Now()
	records, err := z.Provider.Records.Records(ctx)
	z.mu.Lock()
	defer z.mu.Unlock()
	if begun.Before(z.begun) || begun.Before(z.changed) {
		return err // what has been seen or done since is newer
	}
	if z.view.Problem = err; err == nil {
		z.view.Records, z.view.At, z.begun = records, time.Now(), begun
		z.compare()
	}
	return err
}

// compare finds what the provider has made of what was written since the last reading, and forgets what was made of
// records that are another's or none by now. The lock is held.
func (z *zone) compare() {
	kept := slices.DeleteFunc(slices.Clone(z.altered), func(a names.Altered) bool { return !slices.Contains(z.view.Records, a.Kept) })
	for _, asked := range z.asked {
		kept = slices.DeleteFunc(kept, func(a names.Altered) bool { return a.Kept.ID == asked.ID })
		for _, r := range z.view.Records {
			same := r.ID == asked.ID || asked.ID == "" && r.Owner == asked.Owner && r.Name == asked.Name && r.Type == asked.Type && r.Content == asked.Content
			if wanted := withID(asked, r.ID); same && r != wanted {
				kept = append(kept, names.Altered{Asked: wanted, Kept: r})
			}
		}
	}
	z.altered, z.asked = kept, nil
}

func withID(r fleet.DNSRecord, id string) fleet.DNSRecord {
	r.ID = id
	return r
}

// written notes what a record was asked to be.
func (z *zone) written(r fleet.DNSRecord, err error) error {
	if err == nil || errors.Is(err, fleet.ErrAltered) {
		z.mu.Lock()
		defer z.mu.Unlock()
		z.asked = append(z.asked, r)
	}
	return err
}

// readSince says whether a good reading began after a moment, and nothing has been changed since.
func (z *zone) readSince(moment time.Time) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.view.Problem == nil && z.begun.After(moment) && !z.begun.Before(z.changed)
}

func (z *zone) change(ctx context.Context, c names.Change) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer z.noteChanged()
	switch c.Operation {
	case names.Create:
		return z.written(c.Record, z.Provider.Records.Create(ctx, c.Record))
	case names.Update:
		defer z.going(c.Was)()
		return z.written(c.Record, z.Provider.Records.Update(ctx, c.Was, c.Record))
	default:
		defer z.going(c.Was)()
		return z.deletes(c.Was, z.Provider.Records.Delete(ctx, c.Was))
	}
}

// settles is how long a provider's servers may take until all have heard of a change.
const settles = 30 * time.Second

// current is a zone whose readings are never older than its last change. A record that comes back may have the ID there
// that it had.
type current interface{ Current() bool }

// deletes notes a record that was deleted.
func (z *zone) deletes(r fleet.DNSRecord, err error) error {
	if c, can := z.Provider.Records.(current); err != nil || can && c.Current() {
		return err
	}
	now := time.Now()
	z.mu.Lock()
	defer z.mu.Unlock()
	maps.DeleteFunc(z.deleted, func(_ string, until time.Time) bool { return !now.Before(until) })
	if z.deleted == nil {
		z.deleted = map[string]time.Time{}
	}
	z.deleted[r.ID] = now.Add(settles)
	return nil
}

// without is a zone without the records that were deleted a moment ago, so that none of a name is taken for another one
// that is left.
func (z *zone) without(zone names.Zone) names.Zone {
	now := time.Now()
	z.mu.Lock()
	defer z.mu.Unlock()
	zone.Records = slices.DeleteFunc(slices.Clone(zone.Records), func(r fleet.DNSRecord) bool { return now.Before(z.deleted[r.ID]) })
	return zone
}

func (z *zone) noteChanged() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.changed = time.Now()
}

// going notes that a record is about to go, also where that fails, and with what it returns when it was last there.
func (z *zone) going(r fleet.DNSRecord) (gone func()) {
	z.remember(r)
	return func() { z.remember(r) }
}

func (z *zone) remember(r fleet.DNSRecord) {
	now := time.Now()
	z.mu.Lock()
	defer z.mu.Unlock()
	z.gone = slices.DeleteFunc(z.gone, func(g gone) bool { return g.record == r || !now.Before(g.until) })
	z.gone = append(z.gone, gone{r, now.Add(names.Lasts(r))})
}

// as is a zone as package names knows it.
func (z *zone) as(fleetName string, w Wanted) names.Zone {
	z.mu.Lock()
	defer z.mu.Unlock()
	return names.Zone{
		Fleet: fleetName, Name: z.Zone, Records: z.view.Records, Keep: w.Keep, Said: w.Said, ReportOnly: w.ReportOnly,
		Altered: z.altered,
	}
}

// seen are the records as they were read last.
func (z *zone) seen() []fleet.DNSRecord {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.view.Records
}

func (z *zone) wasRead() bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	return !z.view.At.IsZero()
}

// recently says whether a record that led to a node was deleted a while ago.
func (z *zone) recently(o concern, now time.Time) bool { return z.remembered(o, now) > 0 }

// remembered is for how long caches may have records that led to a node.
func (z *zone) remembered(o concern, now time.Time) time.Duration {
	z.mu.Lock()
	defer z.mu.Unlock()
	var longest time.Duration
	for _, g := range z.gone {
		if o.led(g.record) {
			longest = max(longest, g.until.Sub(now))
		}
	}
	return longest
}

// concern is what a node has to do with a zone.
type concern struct {
	wanted Wanted
	names  map[string]bool // those of wanted that lead to it
	owner  string          // of its environment's records
	leads  []names.Data    // what leads to its host, whatever it is under
}

func (n *Names) concern(z *zone, node fleet.NodeID) concern {
	o := concern{names: map[string]bool{}, owner: fleet.DNSOwner(n.options.Fleet, node.Environment)}
	o.wanted = n.options.Wanted(z.Name)
	for _, w := range o.wanted.Names {
		if slices.ContainsFunc(w.Targets, func(t names.Target) bool { return t.Node == node }) {
			o.names[names.Canonical(w.Name)] = true
		}
	}
	if n.options.Leads != nil {
		o.leads = n.options.Leads(node)
	}
	return o
}

// mine are the changes under the node's names, and those that take away what led to its host under others: alone
// where the name isn't wanted any more; where it leads elsewhere now, with all of that name, which is empty otherwise.
func (o concern) mine(changes []names.Change) []names.Change {
	all := maps.Clone(o.names)
	for _, c := range changes {
		if o.frees(c) && slices.ContainsFunc(o.wanted.Names, func(w names.Name) bool { return names.Canonical(w.Name) == c.Record.Name }) {
			all[c.Record.Name] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(changes), func(c names.Change) bool { return !all[c.Record.Name] && !o.frees(c) })
}

// frees says whether a change takes away what leads to the node's host.
func (o concern) frees(c names.Change) bool {
	goes := c.Operation == names.Delete || c.Operation == names.Update && c.Record.Content != c.Was.Content
	return goes && o.led(c.Was)
}

// led says whether a record of the node's environment leads to its host.
func (o concern) led(r fleet.DNSRecord) bool {
	return r.Owner == o.owner && slices.ContainsFunc(o.leads, func(d names.Data) bool {
		return r.Type == d.Type && r.Content == d.Content ||
			r.Type == fleet.TypeSRV && d.Type == fleet.TypeCNAME && strings.HasSuffix(r.Content, " "+d.Content)
	})
}

// any says whether the node has anything to do with a zone at all.
func (o concern) any(records []fleet.DNSRecord, recently bool) bool {
	return len(o.names) > 0 || recently || slices.ContainsFunc(names.Stray(records, o.wanted.Names), o.led)
}
