package doctor

import (
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// Facts are all that findings rest on. What could not be found out is left out of them, with its reason where
// there is a place for it: one thing that failed hides no other.
type Facts struct {
	Now        time.Time
	Repository Source
	// Problems are what is wrong with the documents.
	Problems spec.Problems
	// Desired is what they say; nil: it isn't known. Where there are problems it has no environments.
	Desired *spec.Spec
	// Observed holds the hosts that were read, also those that left the spec and carry nodes.
	Observed      fleet.Observed
	Plan          *plan.Plan // nil: nothing could be planned
	KeeperVersion int        // of the keeper that would be put on hosts
	Hosts         []Patient  // of the spec, sorted by name
	Images        []Image    // sorted
	Zones         []Zone     // at DNS providers, sorted by name
	// Listens are ports of hosts, wanted for nodes, on which something answers.
	Listens []HostPort
}

// Source is the repository.
type Source struct {
	Revision string
	// Problem is why there is no newest revision, Remedy what to do about it; empty: there is one.
	Problem, Remedy string
	Warnings        []string // of the revision
}

// Patient is one host, as far as it isn't in Observed.
type Patient struct {
	Name string
	// Unasked is why the host could not even be asked; empty: it was.
	Unasked string
	Checkup *fleet.Checkup // nil: it failed, or the host is out of reach
	// Problem is why there is no checkup of a host in reach.
	Problem      string
	Certificates []fleet.Certificate
	// Room is that of the file system that the keeper's volume is on, which is the engine's; nil: not known.
	Room *fleet.Room
	// NoProgram is why no keeper can be made for the host; empty: one can, or need not.
	NoProgram string
}

// Image is an image as it is written, and what its registry says of it.
type Image struct {
	Ref  string
	Pull spec.Pull
	// Problem is why it has no digest, for people; empty: it has.
	Problem string
	// Denied: the registry wants other credentials, or there are none where the Fleet says. Absent: it answered
	// that there is none, or there is no such registry. Neither, with a problem: nobody answered.
	Denied, Absent bool
	// On are the hosts that have it.
	On []string
}

// Zone is a zone at a DNS provider, and what the provider says of it.
type Zone struct {
	Name string // in the Fleet
	Zone string // example.com
	// Problem is why it can't be read, or may not be changed; empty: it can.
	Problem string
	Unset   bool // the token or key can't be read here
	Denied  bool // the provider wants another token or key, or one that may do more; also where there is no such zone
	Read    bool // Records are all of its records
	Records []fleet.DNSRecord
}

// HostPort is a port of a host.
type HostPort struct {
	Host string
	Port uint16
}

// Examine turns facts into findings.
func Examine(f Facts) Report {
	e := &examination{Facts: f, report: Report{Revision: f.Repository.Revision, Time: f.Now, Findings: []Finding{}}}
	e.repository()
	e.spec()
	if f.Desired != nil {
		e.report.Fleet = f.Desired.Fleet.Name
		for i := range f.Hosts {
			e.host(&f.Hosts[i])
		}
		e.sameEngines()
		e.addresses()
		e.ports()
		e.images()
		e.zones()
		e.otherFleets()
		e.plan()
	}
	e.report.Checked = e.checked()
	e.report.Well = e.report.Count(Problem) == 0
	e.report.sort()
	return e.report
}

// examination is one examination under way.
type examination struct {
	Facts
	report Report
}

func (e *examination) checked() Checked {
	c := Checked{Hosts: len(e.Hosts), Images: len(e.Images), Zones: len(e.Zones)}
	if e.Desired != nil {
		c.Environments = len(e.Desired.Environments)
	}
	for i := range e.Hosts {
		if st := e.Observed.Host(e.Hosts[i].Name); st != nil && st.Reachable {
			c.Reached++
			if st.Keeper != nil {
				c.Keepers++
			}
		}
	}
	return c
}

// reached is what was seen of a host; nil: it is out of reach.
func (e *examination) reached(name string) *fleet.HostState {
	if st := e.Observed.Host(name); st != nil && st.Reachable {
		return st
	}
	return nil
}
