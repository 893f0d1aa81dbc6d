package cloudflare

import (
	"context"
	"errors"
	"fmt"

	api "github.com/cloudflare/cloudflare-go"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Create makes a record. One of the same fleet that says the same is there already: it becomes the wanted one, so
// that a create whose answer was lost isn't made twice. One of others' is fleet.ErrConflict.
func (z *Zone) Create(ctx context.Context, r fleet.DNSRecord) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := z.create(ctx, r); err != nil {
		return z.failed("creating "+r.String(), err)
	}
	return nil
}

func (z *Zone) create(ctx context.Context, r fleet.DNSRecord) error {
	if r.Owner == "" {
		return errors.New("it belongs to nobody, and would never be removed")
	}
	w, err := toAPI(r)
	if err != nil {
		return err
	}
	zone, err := z.find(ctx)
	if err != nil {
		return err
	}
	made, err := z.api.CreateDNSRecord(ctx, zone, api.CreateDNSRecordParams{
		Type: r.Type, Name: r.Name, Content: w.content, Data: w.data, TTL: w.ttl, Proxied: &r.Proxied, Comment: fleet.DNSMark(r.Owner),
	})
	if err == nil {
		return asWanted(made, r)
	}
	if !hasCode(err, codeIdentical) && !uncertain(err) {
		return err
	}
	there, lookupErr := z.lookup(ctx, zone, r)
	switch {
	case lookupErr != nil:
		return fmt.Errorf("%w; what became of it isn't known: %w", err, lookupErr)
	case there == nil:
		return err
	case fleet.DNSOwnerFleet(there.Owner) != fleet.DNSOwnerFleet(r.Owner):
		return &conflictError{"it is there already, and " + whose(*there) + ": remove that one, or use another name"}
	case equal(*there, r):
		return nil
	}
	return z.update(ctx, *there, r)
}

// lookup finds the record that says what another one says; nil: there is none.
func (z *Zone) lookup(ctx context.Context, zone *api.ResourceContainer, r fleet.DNSRecord) (*fleet.DNSRecord, error) {
	found, err := z.list(ctx, zone, api.ListDNSRecordsParams{Type: r.Type, Name: r.Name})
	if err != nil {
		return nil, err
	}
	for i := range found {
		if is := fromAPI(found[i]); is.Name == r.Name && is.Type == r.Type && is.Content == r.Content {
			return &is, nil
		}
	}
	return nil, nil
}

// Update makes one record of ours out of another. It is fleet.ErrNotFound where that isn't there any more, and
// fleet.ErrConflict where it isn't what it was.
func (z *Zone) Update(ctx context.Context, was, is fleet.DNSRecord) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := z.update(ctx, was, is); err != nil {
		return z.failed("updating "+was.String(), err)
	}
	return nil
}

func (z *Zone) update(ctx context.Context, was, is fleet.DNSRecord) error {
	w, err := toAPI(is)
	if err != nil {
		return err
	}
	zone, present, err := z.read(ctx, was)
	if err != nil {
		return err
	}
	mark := fleet.DNSMark(is.Owner)
	made, err := z.api.UpdateDNSRecord(ctx, zone, api.UpdateDNSRecordParams{
		ID: was.ID, Type: is.Type, Name: is.Name, Content: w.content, Data: w.data, TTL: w.ttl, Proxied: &is.Proxied,
		Comment: &mark, Tags: present.Tags, // without them they would be taken off
	})
	if err != nil && uncertain(err) {
		now, readErr := z.api.GetDNSRecord(ctx, zone, was.ID)
		if readErr == nil && equal(fromAPI(now), is) {
			return nil
		}
	}
	if err != nil {
		return err
	}
	return asWanted(made, is)
}

// Delete removes a record of ours. One that is gone already is done; one that isn't what it was is
// fleet.ErrConflict.
func (z *Zone) Delete(ctx context.Context, was fleet.DNSRecord) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := z.delete(ctx, was); err != nil && !hasCode(err, codeNoRecord) {
		return z.failed("deleting "+was.String(), err)
	}
	return nil
}

func (z *Zone) delete(ctx context.Context, was fleet.DNSRecord) error {
	zone, _, err := z.read(ctx, was)
	if err != nil {
		return err
	}
	err = z.api.DeleteDNSRecord(ctx, zone, was.ID)
	if err != nil && uncertain(err) {
		if _, readErr := z.api.GetDNSRecord(ctx, zone, was.ID); readErr != nil && hasCode(readErr, codeNoRecord) {
			return nil
		}
	}
	return err
}

// read reads a record of ours before it is changed: what was taken for ours a while ago may have become
// somebody else's.
func (z *Zone) read(ctx context.Context, was fleet.DNSRecord) (*api.ResourceContainer, api.DNSRecord, error) {
	if was.Owner == "" || was.ID == "" {
		return nil, api.DNSRecord{}, &conflictError{"it isn't evenkeel's: it is left as it is"}
	}
	zone, err := z.find(ctx)
	if err != nil {
		return nil, api.DNSRecord{}, err
	}
	present, err := z.api.GetDNSRecord(ctx, zone, was.ID)
	if err != nil {
		return nil, api.DNSRecord{}, err
	}
	if now := fromAPI(present); !same(now, was) {
		return nil, api.DNSRecord{}, &conflictError{fmt.Sprintf("somebody has changed it to %s, and it %s: it is left as it is", now, whose(now))}
	}
	return zone, present, nil
}

// asWanted says whether Cloudflare has kept a record as it was asked for: what it hasn't would be changed again in each pass.
func asWanted(made api.DNSRecord, want fleet.DNSRecord) error {
	if is := fromAPI(made); !equal(is, want) {
		return &alteredError{is}
	}
	return nil
}

// alteredError is a record that Cloudflare keeps otherwise than it was asked to.
type alteredError struct{ is fleet.DNSRecord }

func (e *alteredError) Error() string {
	return fmt.Sprintf("Cloudflare has made something else of it: %s with ttl %s, proxied %t, owner %q", e.is, e.is.TTL, e.is.Proxied, e.is.Owner)
}

func (e *alteredError) Is(target error) bool { return target == fleet.ErrAltered }

func whose(r fleet.DNSRecord) string {
	if r.Owner == "" {
		return "isn't evenkeel's"
	}
	return "belongs to " + r.Owner
}
