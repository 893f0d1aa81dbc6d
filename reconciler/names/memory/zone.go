// Package memory is a zone at a DNS provider that is none: it keeps its records in memory. It stands in for real ones
// where a whole fleet is simulated, and refuses what they refuse.
package memory

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Zone is a zone. It is safe for concurrent use.
type Zone struct {
	name string

	mu      sync.Mutex
	records []fleet.DNSRecord
	made    int
	fault   func(call string) error
	alter   func(*fleet.DNSRecord)
}

// New returns an empty zone.
func New(name string) *Zone { return &Zone{name: name} }

// Fail has calls (read, create, update, delete) fail with what a function returns, before they do anything; nil: none
// does.
func (z *Zone) Fail(fault func(call string) error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.fault = fault
}

// Alter has it keep each record that is made or updated as what a function makes of it; nil: as it is.
func (z *Zone) Alter(alter func(*fleet.DNSRecord)) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.alter = alter
}

// kept is what it makes of a record.
func (z *Zone) kept(r fleet.DNSRecord) fleet.DNSRecord {
	if z.alter != nil {
		z.alter(&r)
	}
	return r
}

// Put adds a record as somebody else does, and fails where there is no room for it.
func (z *Zone) Put(r fleet.DNSRecord) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.add(r)
}

// Take removes all records that a function wants, as somebody else does.
func (z *Zone) Take(wanted func(fleet.DNSRecord) bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records = slices.DeleteFunc(z.records, wanted)
}

// Records returns all records, in the order in which they were made.
func (z *Zone) Records(context.Context) ([]fleet.DNSRecord, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if err := z.fails("read"); err != nil {
		return nil, err
	}
	return slices.Clone(z.records), nil
}

// Create makes a record; one of the same fleet that says the same becomes the wanted one.
func (z *Zone) Create(_ context.Context, r fleet.DNSRecord) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if err := z.fails("create"); err != nil {
		return err
	}
	if r.Owner == "" {
		return fmt.Errorf("creating %s: it belongs to nobody", r)
	}
	for i := range z.records {
		if there := &z.records[i]; same(*there, r) && fleet.DNSOwnerFleet(there.Owner) == fleet.DNSOwnerFleet(r.Owner) {
			r.ID = there.ID
			*there = z.kept(r)
			return nil
		}
	}
	return z.add(z.kept(r))
}

// Update makes one record of ours out of another, if that is still there as it was.
func (z *Zone) Update(_ context.Context, was, is fleet.DNSRecord) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if err := z.fails("update"); err != nil {
		return err
	}
	i, err := z.find(was)
	switch {
	case err != nil:
		return err
	case i < 0:
		return fmt.Errorf("updating %s: %w", was, fleet.ErrNotFound)
	}
	if err := z.room(is, was.ID); err != nil {
		return err
	}
	is.ID = was.ID
	z.records[i] = z.kept(is)
	return nil
}

// Delete removes a record of ours, if it is still there as it was.
func (z *Zone) Delete(_ context.Context, was fleet.DNSRecord) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if err := z.fails("delete"); err != nil {
		return err
	}
	i, err := z.find(was)
	if err == nil && i >= 0 {
		z.records = slices.Delete(z.records, i, i+1)
	}
	return err
}

func (z *Zone) fails(call string) error {
	if z.fault == nil {
		return nil
	}
	return z.fault(call)
}

// find finds a record of ours to be changed; -1: it is gone.
func (z *Zone) find(was fleet.DNSRecord) (int, error) {
	i := slices.IndexFunc(z.records, func(r fleet.DNSRecord) bool { return r.ID == was.ID })
	if was.Owner == "" || i >= 0 && (!same(z.records[i], was) || z.records[i].Owner != was.Owner) {
		return 0, fmt.Errorf("changing %s: %w: it isn't ours", was, fleet.ErrConflict)
	}
	return i, nil
}

func (z *Zone) add(r fleet.DNSRecord) error {
	if err := z.room(r, ""); err != nil {
		return err
	}
	z.made++
	r.ID = fmt.Sprint(z.made)
	z.records = append(z.records, r)
	return nil
}

// room says why there is no room for a record beside all but one of the others.
func (z *Zone) room(r fleet.DNSRecord, id string) error {
	for _, o := range z.records {
		if o.ID == id || o.Name != r.Name {
			continue
		}
		alias := o.Type == fleet.TypeCNAME || r.Type == fleet.TypeCNAME
		delegated := (o.Type == "NS" || r.Type == "NS") && r.Name != z.name
		if same(o, r) || delegated || alias && !beside(o) && !beside(r) {
			return fmt.Errorf("%s: %w: %s is there", r, fleet.ErrConflict, o)
		}
	}
	return nil
}

// beside says whether a record is of a kind that Cloudflare takes beside an alias.
func beside(r fleet.DNSRecord) bool { return r.Type == "TXT" || r.Type == "MX" || r.Type == "NS" }

func same(a, b fleet.DNSRecord) bool {
	return a.Name == b.Name && a.Type == b.Type && a.Content == b.Content
}
