package names

import (
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Leave is what becomes of the names of a node while it is out. It is worked out from what is wanted and not from what
// is done: after a crash between the removal of a record and the touching of its node the wait is due all the same.
type Leave struct {
	// Records lead to the node and to no other that is in. Those that are still in the zone have their ID.
	Records []fleet.DNSRecord
	// Held are names that go on leading to it: nothing else is left under them.
	Held []string
	// Foreign are others' records that lead to it. They stay.
	Foreign []fleet.DNSRecord
	// Lasts is how long caches may go on with the records when they are gone.
	Lasts time.Duration
}

// Gone says whether the zone has none of the records any more.
func (l Leave) Gone() bool {
	return !slices.ContainsFunc(l.Records, func(r fleet.DNSRecord) bool { return r.ID != "" })
}

// And is what becomes of a node's names in two zones.
func (l Leave) And(m Leave) Leave {
	return Leave{
		Records: slices.Concat(l.Records, m.Records), Held: slices.Concat(l.Held, m.Held),
		Foreign: slices.Concat(l.Foreign, m.Foreign), Lasts: max(l.Lasts, m.Lasts),
	}
}

// Leaving says what becomes of a node's names in a zone while it is out, whether it is already or not.
func Leaving(z Zone, wanted []Name, node fleet.NodeID) Leave {
	c := read(z, wanted)
	var l Leave
	for _, name := range c.names() {
		if e := c.entries[name]; e.wish != nil {
			e.leave(node, &l)
		}
	}
	return l
}

func (e *entry) leave(node fleet.NodeID, l *Leave) {
	e.wish.sort()
	var leads []Data
	in := false
	for i := range e.wish.Targets {
		t := &e.wish.Targets[i]
		if t.Node == node {
			t.Out = true
			leads = append(leads, t.Data...)
		}
		in = in || !t.Out
	}
	e.wish.Others = slices.Clone(e.wish.Others)
	for i := range e.wish.Others {
		if o := &e.wish.Others[i]; o.Node == node {
			o.Out = true
		}
	}
	stay, _ := e.wish.data(e.ours, e.foreign)
	for _, o := range e.wish.standIns {
		if o.Node == node {
			leads = append(leads, slices.DeleteFunc(slices.Clone(o.Data), func(d Data) bool { return !e.says(d) })...)
		}
		in = in || !o.Out
	}
	slices.SortFunc(leads, compareData)
	held := false
	for _, d := range slices.Compact(leads) {
		for _, f := range e.foreign {
			if dataOf(f) == d {
				l.Foreign = append(l.Foreign, f)
			}
		}
		if slices.Contains(stay, d) {
			held = held || !in
			continue
		}
		e.record(d, l)
	}
	if held {
		l.Held = append(l.Held, e.wish.Name.Name)
	}
}

// says says whether a record of ours says something.
func (e *entry) says(d Data) bool {
	return slices.ContainsFunc(e.ours, func(r fleet.DNSRecord) bool { return dataOf(r) == d })
}

// record adds a record that goes: as it is in the zone, else as it would be.
func (e *entry) record(d Data, l *Leave) {
	wanted := e.wish.record(d)
	l.Lasts = max(l.Lasts, Lasts(wanted))
	there := false
	for _, r := range e.ours {
		if dataOf(r) == d {
			there = true
			l.Records, l.Lasts = append(l.Records, r), max(l.Lasts, Lasts(r))
		}
	}
	if !there {
		l.Records = append(l.Records, wanted)
	}
}
