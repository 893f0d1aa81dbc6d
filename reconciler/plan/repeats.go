package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// What was done well, and is to be done again for the same causes, is undone by something else: a cron job, another
// tool, an engine's default. Doing it once more for ever only harms the node.
//
//	done so often in a row  | the next one
//	1, 2                    | at once
//	3, 4, 5                 | after 1m, 4m, 16m
//	6 and more (MostTries)  | after 2h, 4h, 8h, 16h, then once a day; it is a problem
//
// What runs no longer, or isn't healthy, is of no use as it is: that is brought back at once, however often, and isn't
// counted.
const (
	// MostTries is how often the same is done to a node before it is left as it is for long.
	MostTries = 6

	triesAtOnce = 3
	firstWait   = time.Minute
	longestWait = 24 * time.Hour
	// quiet is how long nothing more is to happen before what was done is thought to last.
	quiet = 2 * time.Hour
)

// Repeats is what was done, and how often in a row. The zero value knows of nothing.
type Repeats struct {
	seen map[repeated]*repeat
}

// repeated is a cause of something that was done to something.
type repeated struct {
	to    string // a node, or what it is on a host
	field string
	want  string
}

type repeat struct {
	layer       fleet.LayerID // the zero value: of none
	hash        string        // of what is written for the layer
	operation   string
	from, want  string // what was found the last time, and what was wanted
	count       int
	first, last time.Time
}

// wait is how long the next one is waited for.
func (r *repeat) wait() time.Duration {
	switch {
	case r.count < triesAtOnce:
		return 0
	case r.count < MostTries:
		return firstWait << (2 * (r.count - triesAtOnce))
	}
	return min(quiet<<min(r.count-MostTries, 4), longestWait)
}

func (r *repeat) due() time.Time { return r.last.Add(r.wait()) }

// over says whether it hasn't been wanted again for long enough.
func (r *repeat) over(now time.Time) bool { return now.After(r.due().Add(quiet)) }

// Change is something that is done, or was: an operation on a node or on a host.
type Change struct {
	To        string // what it is done to, for people
	Layer     fleet.LayerID
	Hash      string // of what is written for the layer; another one begins anew
	Revision  string
	Operation string
	Causes    []Cause
}

// ChangeOf is an operation on a node.
func ChangeOf(node fleet.NodeID, kind Kind, causes []Cause, hash, revision string) Change {
	return Change{To: node.String(), Layer: node.LayerID(), Hash: hash, Revision: revision, Operation: string(kind), Causes: causes}
}

// ChangeOnHost is an operation on a host; false: such a one isn't counted, since it is part of others, ends something, or
// brings it back.
func ChangeOnHost(op HostOperation, hash string) (Change, bool) {
	ch := Change{To: "the keeper on " + op.Host, Operation: op.Operation, Causes: op.Causes}
	switch {
	case !slices.Contains([]string{"rename", "update", "disconnect"}, op.Operation):
		return Change{}, false
	case op.What == "container" && op.Instance != nil:
		ch.To, ch.Layer, ch.Hash = op.Instance.NodeID.String(), op.Instance.LayerID(), hash
	case op.What != "keeper":
		return Change{}, false
	case len(ch.Causes) == 0:
		ch.Causes = []Cause{{Field: op.Operation, To: op.Name}}
	}
	return ch, true
}

// down says whether it brings back what runs no longer, or isn't healthy.
func (ch Change) down() bool {
	return slices.Contains([]string{string(Create), string(Start)}, ch.Operation) ||
		slices.ContainsFunc(ch.Causes, func(c Cause) bool { return c.Field == "health" })
}

// keys are what its causes are known by; nil: it isn't counted, since it is asked for by a commit, or brings something back.
func (ch Change) keys() []repeated {
	var keys []repeated
	if ch.down() {
		return nil
	}
	for _, c := range ch.Causes {
		want := c.To
		switch {
		case ch.Operation == string(Remove):
			return nil
		case c.Field == "host":
			want += " " + ch.Revision // where nodes are to be is written for the fleet
		}
		keys = append(keys, repeated{ch.To, c.Field, want})
	}
	return keys
}

// Note notes that something was done, and says what to tell people where that became too much; empty: it didn't.
func (r *Repeats) Note(ch Change, now time.Time) (problem string) {
	if r.seen == nil {
		r.seen = map[repeated]*repeat{}
	}
	for i, k := range ch.keys() {
		seen := r.seen[k]
		if seen == nil || seen.hash != ch.Hash || seen.over(now) {
			seen = &repeat{first: now}
			r.seen[k] = seen
		}
		seen.layer, seen.hash, seen.operation = ch.Layer, ch.Hash, ch.Operation
		seen.from, seen.want = ch.Causes[i].From, ch.Causes[i].To
		seen.count, seen.last = seen.count+1, now
		if problem == "" && seen.count == MostTries {
			problem = r.text(k)
		}
	}
	return problem
}

// Wait is why something isn't done now; empty: it may be. It may where one of its causes is a new one.
func (r *Repeats) Wait(ch Change, now time.Time) string {
	var soonest *repeated
	for _, k := range ch.keys() {
		seen := r.seen[k]
		if seen == nil || seen.hash != ch.Hash || seen.over(now) || !now.Before(seen.due()) {
			return ""
		}
		if soonest == nil || seen.due().Before(r.seen[*soonest].due()) {
			soonest = &k
		}
	}
	if soonest == nil {
		return ""
	}
	return fmt.Sprintf("%s waits until %s: %s", ch.Operation, clock(r.seen[*soonest].due()), r.text(*soonest))
}

// Problems are the changes that were made too often, sorted.
func (r *Repeats) Problems(now time.Time) []string {
	var problems []string
	for k, seen := range r.seen {
		if seen.count >= MostTries && now.Before(seen.last.Add(max(seen.wait(), quiet))) {
			problems = append(problems, r.text(k))
		}
	}
	slices.Sort(problems)
	return problems
}

// text says what is done again and again, why, and what people can do.
func (r *Repeats) text(k repeated) string {
	seen := r.seen[k]
	cause := k.field
	if seen.from+seen.want != "" {
		cause += ": " + cmp.Or(seen.from, "none") + " → " + cmp.Or(seen.want, "none")
	}
	advice := "find what does, and end it"
	if seen.layer != (fleet.LayerID{}) {
		advice += "; a change of the layer (a new text in its redeploy) has it tried again at once"
	}
	return fmt.Sprintf("%s: %s was done %d times since %s for the same cause (%s), and something undoes it each time: %s",
		k.to, seen.operation, seen.count, clock(seen.first), cause, advice)
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// Hold returns a plan in which waits what was done too often a moment ago. hash is that of all that is written for a
// layer; what was done for another one doesn't count any more.
func (r *Repeats) Hold(p Plan, hash func(fleet.LayerID) string, now time.Time) Plan {
	for k, seen := range r.seen {
		if seen.over(now) || seen.layer != (fleet.LayerID{}) && hash(seen.layer) != seen.hash {
			delete(r.seen, k)
		}
	}
	if len(r.seen) == 0 {
		return p
	}
	p.Hosts = slices.Clone(p.Hosts)
	for i := range p.Hosts {
		op, written := &p.Hosts[i], ""
		if op.Instance != nil {
			written = hash(op.Instance.LayerID())
		}
		if ch, counts := ChangeOnHost(*op, written); counts {
			op.Waits = r.Wait(ch, now)
		}
	}
	return Hold(p, func(op Operation) string {
		return r.Wait(ChangeOf(op.ID, op.Kind, op.Causes, hash(op.ID.LayerID()), p.Revision), now)
	})
}
