package rfc2136

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// attempts is how often a change is worked out anew that others have overtaken.
const attempts = 5

// Create makes a record. One of the same fleet that says the same is there already: it becomes the wanted one. One of
// others' is fleet.ErrConflict. Where others' records have the same name and type, it takes their TTL, which is
// fleet.ErrAltered if that isn't the wanted one.
func (z *Zone) Create(ctx context.Context, r fleet.DNSRecord) error {
	if r.Owner == "" {
		return z.failed("creating "+r.String(), errors.New("it belongs to nobody, and would never be removed"))
	}
	return z.write(ctx, "creating "+r.String(), &write{name: r.Name, kind: r.Type, is: &r})
}

// Update makes one record of ours out of another of its name and type. It is fleet.ErrNotFound where that isn't there
// any more, and fleet.ErrConflict where it isn't what it was. Of its TTL goes what Create says.
func (z *Zone) Update(ctx context.Context, was, is fleet.DNSRecord) error {
	doing := "updating " + was.String()
	switch {
	case was.Owner == "", is.Owner == "":
		return z.failed(doing, errForeign)
	case was.Name != is.Name, was.Type != is.Type:
		return z.failed(doing, fmt.Errorf("it can't become %s: make that one, and remove this", is))
	}
	return z.write(ctx, doing, &write{name: is.Name, kind: is.Type, was: &was, is: &is})
}

// Delete removes a record of ours. One that is gone already is done; one that isn't what it was is fleet.ErrConflict.
func (z *Zone) Delete(ctx context.Context, was fleet.DNSRecord) error {
	doing := "deleting " + was.String()
	if was.Owner == "" {
		return z.failed(doing, errForeign)
	}
	return z.write(ctx, doing, &write{name: was.Name, kind: was.Type, was: &was})
}

var errForeign = &conflictError{"it isn't evenkeel's: it is left as it is"}

// write is a change that is asked for: of what was into what is; nil: nothing.
type write struct {
	name, kind string
	was, is    *fleet.DNSRecord
}

func (z *Zone) write(ctx context.Context, doing string, w *write) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	err := w.valid(z.name)
	if err == nil {
		err = z.carryOut(ctx, w)
	}
	if err != nil {
		return z.failed(doing, err)
	}
	return nil
}

// valid says what can't be asked of any server.
func (w *write) valid(zone string) error {
	_, ok := dns.IsDomainName(markLabel + w.name)
	switch {
	case !slices.Contains(kinds, w.kind):
		return errForeign
	case !isBelow(w.name, zone):
		return errors.New("its name lies outside of the zone")
	case !ok:
		return errors.New("its name is too long: evenkeel writes below it whose it is")
	case w.is == nil:
		return nil
	case w.is.Proxied:
		return errors.New("only Cloudflare knows proxied records")
	case w.is.TTL < time.Second || w.is.TTL > maxTTL:
		return fmt.Errorf("a ttl of %s can't be had: write 1s or more", w.is.TTL)
	}
	_, err := toRR(*w.is, 0)
	return err
}

// maxTTL is the longest of RFC 2181.
const maxTTL = (1<<31 - 1) * time.Second

// carryOut makes a change: what is there is read, and changed if it is still so.
func (z *Zone) carryOut(ctx context.Context, w *write) error {
	s, err := z.dial(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	for range attempts {
		st, err := s.read(w.name, w.kind)
		if err != nil {
			return err
		}
		if done, err := w.done(st); done {
			return err
		}
		m := z.update()
		if err := w.fill(m, st); err != nil {
			return err
		}
		_, err = s.exchange(m)
		var silent *silentError
		switch {
		case err == nil:
			return w.verify(s)
		case errors.As(err, &silent):
			return z.lookUp(ctx, w, err)
		case !isMoved(err):
			return err
		}
	}
	return errMoving
}

// lookUp finds out what became of an update whose answer was lost.
func (z *Zone) lookUp(ctx context.Context, w *write, lost error) error {
	unknown := func(err error) error { return fmt.Errorf("%w; what became of it isn't known: %w", lost, err) }
	s, err := z.dial(ctx)
	if err != nil {
		return unknown(err)
	}
	defer s.close()
	st, err := s.read(w.name, w.kind)
	if err != nil {
		return unknown(err)
	}
	if done, err := w.done(st); done {
		return err
	}
	return lost
}

// verify reads a change that was made: a server ignores what it takes for wrong, and may have a mind of its own about
// the rest.
func (w *write) verify(s *session) error {
	st, err := s.read(w.name, w.kind)
	if err != nil {
		return fmt.Errorf("the server has taken it, and then couldn't be asked what it made of it: %w", err)
	}
	if done, err := w.done(st); done {
		return err
	}
	if w.is != nil {
		if rr := st.find(w.is.Content); rr != nil {
			return &alteredError{is: st.record(rr)}
		}
	}
	return errors.New("the server says that it has done it, and hasn't: its log may say why")
}

// done says whether everything is as it was asked for, as far as it can be.
func (w *write) done(st *state) (bool, error) {
	if w.is == nil {
		return st.find(w.was.Content) == nil && len(st.stale()) == 0, nil
	}
	rr := st.find(w.is.Content)
	switch {
	case rr == nil, st.owner(rr) != w.is.Owner:
		return false, nil
	case w.replaces() && st.find(w.was.Content) != nil:
		return false, nil
	case st.ttl() == seconds(w.is.TTL):
		return true, nil
	case st.shared(fleet.DNSOwnerFleet(w.is.Owner), w.is.Content):
		return true, &alteredError{is: st.record(rr), shared: true}
	}
	return false, nil
}

// replaces says whether one record makes room for another.
func (w *write) replaces() bool { return w.was != nil && w.is != nil && w.was.Content != w.is.Content }

// fill has an update make the change of what is there.
func (w *write) fill(m *dns.Msg, st *state) error {
	if err := w.allowed(st); err != nil {
		return err
	}
	st.unchanged(m)
	remove := st.stale()
	for _, r := range []*fleet.DNSRecord{w.was, w.is} {
		if r == nil || st.find(r.Content) == nil {
			continue
		}
		for _, mk := range st.marks {
			if mk.is(r.Type, r.Content) {
				remove = append(remove, mk)
			}
		}
	}
	if gone := w.goes(st); gone != nil {
		m.Remove(copies([]dns.RR{gone}))
	}
	for _, mk := range remove {
		m.Remove(copies([]dns.RR{mk.rr}))
	}
	if w.is == nil {
		return nil
	}
	return w.add(m, st)
}

// goes is the record that isn't to be there any more. An alias is replaced by its successor (RFC 2136, 3.4.2.2); where it
// is removed first, Knot doesn't take another one beside what is left of its signature.
func (w *write) goes(st *state) dns.RR {
	if w.was == nil || w.is != nil && (!w.replaces() || w.kind == fleet.TypeCNAME) {
		return nil
	}
	return st.find(w.was.Content)
}

// add has an update make the record, with its mark. All records of a name and type have one TTL: where they are all the
// fleet's they get the one that is wanted, else it is theirs.
func (w *write) add(m *dns.Msg, st *state) error {
	ttl, kept := seconds(w.is.TTL), st.ttl()
	aside := w.is.Content
	if w.replaces() {
		aside = w.was.Content
	}
	shared := st.shared(fleet.DNSOwnerFleet(w.is.Owner), aside)
	if shared {
		ttl = kept
	}
	rr, err := toRR(*w.is, ttl)
	if err != nil {
		return err
	}
	if len(st.set) > 0 && !shared && ttl != kept && w.kind != fleet.TypeCNAME {
		m.RemoveRRset(st.set[:1])
		gone := w.goes(st)
		for _, other := range copies(st.set) {
			if (gone == nil || content(other) != content(gone)) && content(other) != w.is.Content {
				other.Header().Ttl = ttl
				m.Insert([]dns.RR{other})
			}
		}
	}
	m.Insert([]dns.RR{rr})
	markedFor := uint32(markTTL)
	if len(st.texts) > 0 {
		markedFor = st.texts[0].Header().Ttl
	}
	m.Insert([]dns.RR{newMark(*w.is, markedFor)})
	return nil
}

// allowed says what of others' is in the way.
func (w *write) allowed(st *state) error {
	if w.was != nil {
		switch rr := st.find(w.was.Content); {
		case rr == nil && w.is == nil: // only marks are left of it
		case rr == nil:
			return errGone
		case st.owner(rr) != w.was.Owner:
			return &conflictError{fmt.Sprintf("it %s: it is left as it is", whose(st.record(rr)))}
		case w.is == nil || !w.replaces():
			return nil
		case st.find(w.is.Content) != nil:
			return &conflictError{w.is.String() + " is there already"}
		}
		return nil
	}
	rr := st.find(w.is.Content)
	switch {
	case rr == nil:
		return st.room()
	case fleet.DNSOwnerFleet(st.owner(rr)) != fleet.DNSOwnerFleet(w.is.Owner):
		return &conflictError{"it is there already, and " + whose(st.record(rr)) + ": remove that one, or use another name"}
	}
	return nil
}

func seconds(d time.Duration) uint32 { return uint32(d / time.Second) }
