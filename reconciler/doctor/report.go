// Package doctor says whether all that a fleet rests on is well, and what to do about what isn't. It is given
// facts and returns findings; it asks nobody, and nothing is changed by what it says.
package doctor

import (
	"cmp"
	"slices"
	"time"
)

// Severity is how bad a finding is.
type Severity string

// The severities.
const (
	Problem Severity = "problem" // something doesn't work, or will stop working soon
	Warning Severity = "warning" // it works, and probably isn't meant
	Advice  Severity = "advice"  // it works, and would be better otherwise
)

// Area is what a finding is about.
type Area string

// The areas, in the order in which they are told: what the others rest on comes first.
const (
	Repository  Area = "repository"
	Spec        Area = "spec"
	Host        Area = "host"
	Certificate Area = "certificate"
	Engine      Area = "engine"
	Clock       Area = "clock"
	Disk        Area = "disk"
	Keeper      Area = "keeper"
	Links       Area = "links"
	Address     Area = "address"
	Port        Area = "port"
	Registry    Area = "registry"
	DNS         Area = "dns"
	Fleet       Area = "fleet"
	Node        Area = "node"
)

var areas = []Area{Repository, Spec, Host, Certificate, Engine, Clock, Disk, Keeper, Links, Address, Port, Registry, DNS, Fleet, Node}

var severities = []Severity{Problem, Warning, Advice}

// Finding is one thing that isn't as it should be.
type Finding struct {
	Severity Severity `json:"severity"`
	Area     Area     `json:"area"`
	Host     string   `json:"host,omitempty"` // empty: it concerns no single one
	// Subject is what of it: a file, a port, an image, another fleet; empty: the area says it.
	Subject string `json:"subject,omitempty"`
	What    string `json:"what"`
	Remedy  string `json:"remedy"` // what to do
}

// Report is what was found, the worst first.
type Report struct {
	Fleet    string    `json:"fleet"` // empty: the Fleet could not be read
	Revision string    `json:"revision"`
	Time     time.Time `json:"time"`
	// Well: there is no problem. There may be warnings and advice.
	Well     bool      `json:"well"`
	Checked  Checked   `json:"checked"`
	Findings []Finding `json:"findings"`
}

// Checked counts what was looked at.
type Checked struct {
	Hosts        int `json:"hosts"`
	Reached      int `json:"reached"` // hosts
	Keepers      int `json:"keepers"` // that answered
	Environments int `json:"environments"`
	Images       int `json:"images"`
	Zones        int `json:"zones"` // at DNS providers
}

// Count is how many findings of a severity there are.
func (r *Report) Count(s Severity) (n int) {
	for i := range r.Findings {
		if r.Findings[i].Severity == s {
			n++
		}
	}
	return n
}

func (r *Report) add(f Finding) { r.Findings = append(r.Findings, f) }

func (r *Report) sort() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(slices.Index(severities, a.Severity), slices.Index(severities, b.Severity)),
			cmp.Compare(slices.Index(areas, a.Area), slices.Index(areas, b.Area)),
			cmp.Compare(a.Host, b.Host), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.What, b.What),
		)
	})
	r.Findings = slices.Compact(r.Findings)
}
