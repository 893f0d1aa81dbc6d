// Package drift finds what differs between the last revision that was carried out and the hosts, and no
// commit explains. It decides nothing: what is put right, and how, is the plan's.
package drift

import (
	"cmp"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Report is all drift that was found, sorted by host and node.
type Report struct {
	Revision string    `json:"revision"`
	Time     time.Time `json:"time"`
	// SelfHeal: what evenkeel can put right it does; otherwise it is only reported.
	SelfHeal bool      `json:"selfHeal"`
	Drift    []Finding `json:"drift"`
	// Ended is what a running controller saw come and go lately, the newest first.
	Ended []Finding `json:"ended,omitempty"`
	// Unknown is what could not be read, and why: there may be drift.
	Unknown []string `json:"unknown"`

	unread map[string]bool // hosts
}

// What a finding is about.
const (
	Node      = "node"
	Keeper    = "keeper"
	Links     = "links"
	Network   = "network"
	Volume    = "volume"
	Container = "container" // one that only looks like ours
	Record    = "record"    // at a DNS provider
)

// Finding is one field that isn't as it should be.
type Finding struct {
	Host string `json:"host"` // empty: nobody knows any more where the node was, or it is a record
	Zone string `json:"zone,omitempty"`
	What string `json:"what"`
	Node string `json:"node,omitempty"` // shop/web/3
	Name string `json:"name"`           // the engine's; of a node its container's

	Field  string `json:"field"`
	Wanted string `json:"wanted"`
	Found  string `json:"found"`
	// Since is when it came about, as the engine tells, or when a running controller first saw it; nil: not known.
	Since *time.Time `json:"since"`
	// Until is when it was over.
	Until *time.Time `json:"until,omitempty"`
	// Remedy is what becomes of it, or what people can do.
	Remedy string `json:"remedy"`

	Environment string       `json:"-"` // empty: it concerns the fleet
	ID          fleet.NodeID `json:"-"`
}

// Key is what two findings of the same drift have in common, wherever they were found.
func (f *Finding) Key() string {
	where := f.Node
	if where == "" {
		where = f.Host + f.Zone + " " + f.Name
	}
	if f.What == Volume {
		where += " " + f.Name
	}
	key := f.What + " " + where + " " + f.Field + " " + f.Wanted
	if f.Wanted == "" && f.What != Container { // there may be several that aren't wanted
		key += f.Found
	}
	return key
}

func (r *Report) sort() {
	slices.SortFunc(r.Drift, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.What, b.What), cmp.Compare(a.Environment, b.Environment),
			cmp.Compare(a.Node, b.Node), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Found, b.Found))
	})
	slices.Sort(r.Unknown)
}

// Only returns the part of a report that concerns one environment, and what concerns the fleet as a whole.
func (r Report) Only(environment string) Report {
	r.Drift = slices.DeleteFunc(slices.Clone(r.Drift), func(f Finding) bool { return f.Environment != "" && f.Environment != environment })
	return r
}

// After returns a report that follows an earlier one: with the times at which what it holds was first seen,
// the earlier one's for what was in that already, else its own. What the engine tells stays. The host of a
// node that nobody knows any more is the one that was known. What is over is kept for a while, the newest of it.
func (r Report) After(earlier Report, keep time.Duration, most int) Report {
	known := make(map[string]*Finding, len(earlier.Drift))
	for i := range earlier.Drift {
		known[earlier.Drift[i].Key()] = &earlier.Drift[i]
	}
	r.Drift = slices.Clone(r.Drift)
	for i := range r.Drift {
		f := &r.Drift[i]
		before := known[f.Key()]
		if before != nil && f.Host == "" {
			f.Host = before.Host
		}
		switch {
		case before != nil && before.Since != nil:
			f.Since = before.Since
		case f.Since == nil:
			at := r.Time
			f.Since = &at
		}
		delete(known, f.Key())
	}
	r.Ended = nil
	for i := range earlier.Drift {
		f := known[earlier.Drift[i].Key()]
		switch {
		case f == nil:
		case r.unread[f.Host]:
			r.Drift = append(r.Drift, *f) // unknown isn't over
		default:
			over, at := *f, r.Time
			over.Until = &at
			r.Ended = append(r.Ended, over)
		}
	}
	for _, f := range earlier.Ended {
		if r.Time.Sub(*f.Until) < keep {
			r.Ended = append(r.Ended, f)
		}
	}
	r.sort()
	r.Ended = r.Ended[:min(len(r.Ended), most)]
	return r
}
