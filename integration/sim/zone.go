package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/external"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names/memory"
)

// zoneName is the zone at the provider.
const zoneName = "example.com"

// zoneOf is the zone at the provider as one process reaches it.
type zoneOf struct {
	w    *World
	p    *Process
	zone *memory.Zone
}

var _ external.Zone = zoneOf{}

// zoneTimeout is how long the provider is waited for.
const zoneTimeout = 30 * time.Second

// ask makes a call to the provider.
func (z zoneOf) ask(ctx context.Context, verb, object string, write bool, work func() error) error {
	w := z.w
	c := call{verb: verb, object: object, write: write}
	w.mu.Lock()
	if err := z.p.begin("the provider", c); err != nil {
		w.mu.Unlock()
		return err
	}
	r := w.chance.of("zone", z.p.name, verb, object, w.nth("zone"+z.p.name+verb+object))
	f := fate{there: between(r, 5*time.Millisecond, 100*time.Millisecond), back: between(r, 5*time.Millisecond, 50*time.Millisecond)}
	refused := false
	if w.rough {
		f.roughen(r, c)
		refused = oneIn(r, 20)
	}
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, zoneTimeout)
	defer cancel()
	if err := w.sleep(ctx, f.there); err != nil {
		return err
	}
	var err error
	switch {
	case f.lost:
	case refused:
		err = fmt.Errorf("%s %s: the provider answered 503", verb, object)
	default:
		w.mu.Lock()
		err = work()
		w.mu.Unlock()
	}
	if f.lost || f.mute {
		<-ctx.Done()
		return fmt.Errorf("%s %s: %w: no answer: %w", verb, object, fleet.ErrUnreachable, ctx.Err())
	}
	if e := w.sleep(ctx, f.back); e != nil {
		return e
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := z.p.after(c); e != nil {
		return e
	}
	return err
}

// Records returns all of them. A reading may be a little older than the last change: not all of a provider's servers
// hear of it at once.
func (z zoneOf) Records(ctx context.Context) (records []fleet.DNSRecord, err error) {
	err = z.ask(ctx, "reading", zoneName, false, func() (e error) {
		records, e = z.zone.Records(ctx)
		if e == nil && z.w.rough {
			r := z.w.chance.of("lag", z.p.name, z.w.nth("lag"+z.p.name))
			if oneIn(r, 4) {
				records = z.w.zoneAt(time.Now().Add(-between(r, 0, mostLag)), records)
			}
		}
		return e
	})
	return records, err
}

// mostLag is how far a reading of the zone is behind at most.
const mostLag = 3 * time.Second

// zoneMoment is what the zone was like from a moment on.
type zoneMoment struct {
	at      time.Time
	records []fleet.DNSRecord
}

// zoneChanged notes what the zone is like now. The lock is held.
func (w *World) zoneChanged() {
	if records, err := w.Zone.Records(context.Background()); err == nil {
		w.zoneWas = append(w.zoneWas, zoneMoment{time.Now(), records})
	}
}

// zoneAt is what the zone was like at a moment; without a change since then it is what it is. The lock is held.
func (w *World) zoneAt(at time.Time, is []fleet.DNSRecord) []fleet.DNSRecord {
	for i := len(w.zoneWas) - 1; i >= 0; i-- {
		if m := &w.zoneWas[i]; !m.at.After(at) {
			return slices.Clone(m.records)
		}
	}
	return is
}

// Create makes a record.
func (z zoneOf) Create(ctx context.Context, r fleet.DNSRecord) error {
	return z.ask(ctx, "creating record", r.String(), true, func() error { return z.changed(z.zone.Create(ctx, r), "created", r) })
}

// Update changes a record.
func (z zoneOf) Update(ctx context.Context, was, is fleet.DNSRecord) error {
	return z.ask(ctx, "updating record", is.String(), true, func() error {
		err := z.zone.Update(ctx, was, is)
		if err == nil {
			z.w.rules.recordGone(was)
		}
		return z.changed(err, "updated", is)
	})
}

// Delete removes a record.
func (z zoneOf) Delete(ctx context.Context, was fleet.DNSRecord) error {
	return z.ask(ctx, "deleting record", was.String(), true, func() error {
		err := z.zone.Delete(ctx, was)
		if err == nil {
			z.w.rules.recordGone(was)
		}
		return z.changed(err, "deleted", was)
	})
}

func (z zoneOf) changed(err error, what string, r fleet.DNSRecord) error {
	if err == nil {
		z.w.zoneChanged()
		z.w.note("record %s %s", r, what)
	}
	return err
}
