package names

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Compute compares what environments want of names in a zone with what is there. The order of what it is given
// doesn't matter.
func Compute(z Zone, wanted []Name) Result {
	c := read(z, wanted)
	for _, name := range c.names() {
		c.compare(name, c.entries[name])
	}
	maps.DeleteFunc(c.result.Said, func(name, _ string) bool { return c.entries[name] == nil })
	slices.SortFunc(c.result.Conflicts, func(a, b Conflict) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Environment, b.Environment), cmp.Compare(a.Message, b.Message))
	})
	c.result.Conflicts = slices.Compact(c.result.Conflicts)
	return c.result
}

// read brings together what is wanted of each name and what is there.
func read(z Zone, wanted []Name) *comparison {
	z.Name = Canonical(z.Name)
	c := &comparison{zone: z, result: Result{Said: map[string]string{}}, entries: map[string]*entry{}}
	maps.Copy(c.result.Said, z.Said)
	for _, n := range sorted(wanted) {
		c.want(n)
	}
	for i := range z.Records {
		e := c.entry(z.Records[i].Name)
		if fleet.DNSOwnerFleet(z.Records[i].Owner) == z.Fleet {
			e.ours = append(e.ours, z.Records[i])
		} else {
			e.foreign = append(e.foreign, z.Records[i])
		}
	}
	for _, e := range c.entries {
		slices.SortFunc(e.ours, compareRecords)
		slices.SortFunc(e.foreign, compareRecords)
	}
	return c
}

func (c *comparison) names() []string { return slices.Sorted(maps.Keys(c.entries)) }

// sorted is what is wanted, in an order of its own.
func sorted(wanted []Name) []Name {
	wanted = slices.Clone(wanted)
	for i := range wanted {
		wanted[i].Name = Canonical(wanted[i].Name)
	}
	slices.SortStableFunc(wanted, func(a, b Name) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Environment, b.Environment), cmp.Compare(a.TTL, b.TTL))
	})
	return wanted
}

type comparison struct {
	zone    Zone // its name canonical
	entries map[string]*entry
	result  Result
}

// entry is all about one name.
type entry struct {
	wish          *wish
	ours, foreign []fleet.DNSRecord
}

func (c *comparison) entry(name string) *entry {
	e := c.entries[name]
	if e == nil {
		e = &entry{}
		c.entries[name] = e
	}
	return e
}

// want takes a wish in. A name belongs to one environment.
func (c *comparison) want(n Name) {
	e := c.entry(n.Name)
	switch {
	case !inZone(n.Name, c.zone.Name):
		c.conflict(n.Environment, n.Name, "it isn't in the zone %s: write a name that ends in .%s, or another provider", c.zone.Name, c.zone.Name)
	case e.wish == nil:
		e.wish = &wish{Name: n, fleet: c.zone.Fleet, owner: fleet.DNSOwner(c.zone.Fleet, n.Environment)}
		e.wish.Targets = slices.Clone(n.Targets)
		e.wish.None = n.None && !c.zone.Keep
	case e.wish.Environment != n.Environment:
		c.conflict(n.Environment, n.Name, "the environment %s has it already: a name leads to one environment; remove it from one of the two", e.wish.Environment)
	default:
		e.wish.merge(n)
	}
}

func (c *comparison) conflict(environment, name, format string, args ...any) {
	c.result.Conflicts = append(c.result.Conflicts, Conflict{environment, name, fmt.Sprintf(format, args...)})
}

// foreign takes in a record of others', where the name once said what it was to: else the plan alone says what is in
// the way.
func (c *comparison) foreign(name string, f Foreign) {
	if _, known := c.zone.Said[name]; known {
		c.result.Foreign = append(c.result.Foreign, f)
	}
}

func (c *comparison) compare(name string, e *entry) {
	if e.wish == nil && c.zone.Keep {
		return
	}
	var wanted []Data
	if e.wish != nil {
		e.wish.sort()
		var held []Held
		wanted, held = e.wish.data(e.ours, e.foreign)
		if c.excluded(name, e, wanted) {
			return
		}
		c.result.Held = append(c.result.Held, held...)
		wanted = c.besideForeign(e, wanted)
	}
	d := diff{wish: e.wish}
	d.compare(e.ours, wanted)
	c.add(name, e, wanted, c.unaltered(d.ordered()))
}

// unaltered leaves out what was written already and is kept as something else. Where a record leads is never left at that.
func (c *comparison) unaltered(changes []Change) []Change {
	return slices.DeleteFunc(changes, func(u Change) bool {
		known := u.Operation == Update && u.Record.Content == u.Was.Content && slices.Contains(c.zone.Altered, Altered{Asked: u.Record, Kept: u.Was})
		if known {
			c.result.Warnings = append(c.result.Warnings, fmt.Sprintf(
				"%s isn't as the spec has it, since its provider keeps it otherwise than it is asked to (%s): it isn't asked again until one of the two changes", u.Was, u.Why))
		}
		return known
	})
}

// add takes the changes of a name in. Where it doesn't say any more what it was made to, others have changed it:
//
//	it says what it was made to | it is to say that still | changes
//	yes, or nobody knows        | -                       | made: ours to make
//	no                          | yes                     | drift: made unless ReportOnly
//	no                          | no                      | drift, and made: a commit or a node asks for it
func (c *comparison) add(name string, e *entry, wanted []Data, changes []Change) {
	if len(changes) == 0 {
		c.say(name, e)
		return
	}
	said, known := c.zone.Said[name]
	drifted := known && said != fleet.SaidDigest(e.ours)
	if drifted {
		c.result.Drift = append(c.result.Drift, changes...)
	}
	if drifted && c.zone.ReportOnly && said == e.digest(wanted) {
		return
	}
	c.result.Changes = append(c.result.Changes, changes...)
}

// say notes what a name says that is as it should be.
func (c *comparison) say(name string, e *entry) {
	if e.wish != nil {
		c.result.Said[name] = fleet.SaidDigest(e.ours)
		return
	}
	delete(c.result.Said, name) // nothing of ours is under it any more
}

// digest is of what a name is to say.
func (e *entry) digest(wanted []Data) string {
	if e.wish == nil {
		return fleet.SaidDigest(nil)
	}
	records := make([]fleet.DNSRecord, len(wanted))
	for i, d := range wanted {
		records[i] = e.wish.record(d)
	}
	return fleet.SaidDigest(records)
}

// excluded says whether a record of others' leaves no room for the name.
func (c *comparison) excluded(name string, e *entry, wanted []Data) bool {
	if len(wanted) == 0 {
		return false
	}
	alias := wanted[0].Type == fleet.TypeCNAME
	for i := range e.foreign {
		f := &e.foreign[i]
		delegated := f.Type == "NS" && name != c.zone.Name
		if f.Type == fleet.TypeCNAME && !slices.Contains(wanted, dataOf(*f)) || delegated || alias && isAddress(f.Type) {
			c.foreign(name, Foreign{Environment: e.wish.Environment, Record: *f, Excludes: counted(wanted)})
			c.conflict(e.wish.Environment, name, "%s %s, which %s, leaves no room for %s: remove it, or use another name",
				f.Type, f.Content, whose(*f), counted(wanted))
			return true
		}
	}
	return false
}

// besideForeign takes out of what is wanted what others' records say already, and warns of those that say
// something else.
func (c *comparison) besideForeign(e *entry, wanted []Data) []Data {
	addresses := slices.ContainsFunc(wanted, func(d Data) bool { return isAddress(d.Type) })
	var beside []string
	for i := range e.foreign {
		f := &e.foreign[i]
		switch {
		case slices.Contains(wanted, dataOf(*f)):
			c.foreign(e.wish.Name.Name, Foreign{Environment: e.wish.Environment, Record: *f, Owner: e.wish.owner})
			c.conflict(e.wish.Environment, f.Name, "%s %s is there already and %s: remove it, and it is made anew as the fleet's own; as long as it is there the name can't be withdrawn from it",
				f.Type, f.Content, whose(*f))
		case addresses && isAddress(f.Type):
			c.foreign(e.wish.Name.Name, Foreign{Environment: e.wish.Environment, Record: *f})
			beside = append(beside, fmt.Sprintf("%s %s (%s)", f.Type, f.Content, whose(*f)))
		}
	}
	if len(beside) > 0 {
		c.result.Warnings = append(c.result.Warnings,
			fmt.Sprintf("%s also leads to %s: clients are sent there too, also while nodes change; remove what isn't meant to be there", e.wish.Name.Name, strings.Join(beside, ", ")))
	}
	return slices.DeleteFunc(wanted, func(d Data) bool {
		return slices.ContainsFunc(e.foreign, func(f fleet.DNSRecord) bool { return dataOf(f) == d })
	})
}

func whose(r fleet.DNSRecord) string {
	if r.Owner == "" {
		return "isn't evenkeel's"
	}
	return "belongs to the fleet " + fleet.DNSOwnerFleet(r.Owner)
}

func counted(wanted []Data) string {
	text := wanted[0].Type + " " + wanted[0].Content
	if more := len(wanted) - 1; more > 0 {
		return fmt.Sprintf("%s and %d more", text, more)
	}
	return text
}

func compareRecords(a, b fleet.DNSRecord) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Content, b.Content), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Owner, b.Owner))
}
