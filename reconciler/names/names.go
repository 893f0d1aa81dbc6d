// Package names decides which records a fleet's external names need in a provider's zone, and which changes bring
// the zone there. Pure data in, pure data out.
//
// It never changes a record that isn't the fleet's own, and takes no name away from clients as long as anything
// wants it: what a cache remembers of a missing name outlives any operation. A zone that could not be read is
// not to be given to it: what isn't known isn't absent.
package names

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Name is an external name as an environment wants it. Several of one environment with the same name are one; they
// are expected to agree, and where they don't the shorter TTL holds, and proxied only what all want so.
type Name struct {
	Environment string
	Name        string
	TTL         time.Duration // 0: automatic
	Proxied     bool          // of addresses and aliases; no other record can be
	Targets     []Target
	// Others are nodes of other layers. Where the name led to some of them, and was given to the layers of Targets
	// since, those stand in until any of Targets is in.
	Others []Target
	// None: the spec wants no node of any layer that it leads to, and so no record once there is none in it.
	None bool
	// More: it may lead to nodes that nobody knows of now. What it says of none of the targets stays.
	More bool
}

// Target is a node that a name leads to.
type Target struct {
	Node fleet.NodeID
	Data []Data // what leads there: that of its host, so that two nodes may share it
	Out  bool   // it doesn't serve, or is about to be touched
}

// Data is what a record says.
type Data struct {
	Type    string
	Content string
}

// Address is the data that leads to an address.
func Address(a netip.Addr) Data {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return Data{fleet.TypeA, a.String()}
	}
	return Data{fleet.TypeAAAA, a.String()}
}

// Zone is a provider's zone with all records in it.
type Zone struct {
	Fleet   string // whose records are ours
	Name    string
	Records []fleet.DNSRecord
	// Keep leaves the fleet's records alone under names that nothing wants: it isn't sure that they may go.
	Keep bool
	// Said is what names were last made to say (fleet.SaidDigest); nil: nobody knows.
	Said map[string]string
	// Altered is what the provider has made of records: they aren't written again as long as neither changes.
	Altered []Altered
	// ReportOnly: what somebody else has changed under a name stays as long as the name is to say what it was made to.
	ReportOnly bool
}

// Altered is a record that the provider keeps as something else than it was asked to.
type Altered struct{ Asked, Kept fleet.DNSRecord }

// Result is what is to be done in a zone, and what is to be said of it, all sorted.
type Result struct {
	// Changes are in the order in which they are to be made: no name is without a record between two of them
	// (but for one that turns from an alias into addresses or back: the two exclude each other).
	Changes   []Change
	Conflicts []Conflict
	Warnings  []string
	// Drift are changes that put right what somebody else has done; with ReportOnly they aren't among Changes.
	Drift []Change
	// Foreign are records of others that have come to a name which once said what it was made to. They are left alone.
	Foreign []Foreign
	// Said is what names say that are as they should be, and what was known of the others.
	Said map[string]string
	// Held are nodes that are out and still to be found, because nothing else is left under the name.
	Held []Held
}

// Operation is what is done with a record.
type Operation string

// The operations.
const (
	Create Operation = "create"
	Update Operation = "update"
	Delete Operation = "delete"
)

// Change is one change of one record of ours.
type Change struct {
	Operation Operation
	Record    fleet.DNSRecord // as it is to be; what is to be deleted: as it is
	Was       fleet.DNSRecord // what is to be updated or deleted, as it is
	Why       string
}

// Conflict is something of others' that is in the way of a name. Nothing is done there.
type Conflict struct {
	Environment string
	Name        string
	Message     string // what is in the way, and the way out
}

// Foreign is a record of others' beside the fleet's own, or in their place.
type Foreign struct {
	Environment string
	Record      fleet.DNSRecord
	// Excludes is what of the fleet's it leaves no room for; empty: it is beside them.
	Excludes string
	// Owner is the mark that would make it the fleet's own, which says the same; empty: it says something else.
	Owner string
}

// Held is a node that a name still leads to.
type Held struct {
	Name string
	Node fleet.NodeID
}

// How long what a resolver was told lasts.
const (
	// automaticTTL is what Cloudflare makes of an automatic one.
	automaticTTL = 300 * time.Second
	// proxiedSettle is how long the provider's edge may go on after a change: resolvers know nothing but the edge.
	proxiedSettle = 5 * time.Second
)

// Lasts is how long clients may go on with a record after it is gone.
func Lasts(r fleet.DNSRecord) time.Duration {
	switch {
	case r.Proxied:
		return proxiedSettle
	case r.TTL == 0:
		return automaticTTL
	}
	return r.TTL
}

// Only returns the part of a result that concerns one environment: what is its own, or becomes so.
func Only(r Result, fleetName, environment string) Result {
	owner := fleet.DNSOwner(fleetName, environment)
	r.Changes = slices.DeleteFunc(slices.Clone(r.Changes), func(c Change) bool {
		return c.Record.Owner != owner
	})
	r.Drift = slices.DeleteFunc(slices.Clone(r.Drift), func(c Change) bool { return c.Record.Owner != owner })
	r.Conflicts = slices.DeleteFunc(slices.Clone(r.Conflicts), func(c Conflict) bool { return c.Environment != environment })
	r.Foreign = slices.DeleteFunc(slices.Clone(r.Foreign), func(f Foreign) bool { return f.Environment != environment })
	r.Held = slices.DeleteFunc(slices.Clone(r.Held), func(h Held) bool { return h.Node.Environment != environment })
	return r
}

// toASCII is lenient: what a zone can hold is its provider's to say.
var toASCII = idna.New(idna.MapForLookup(), idna.StrictDomainName(false), idna.ValidateLabels(false))

// Canonical is the form in which names are compared: lower case, Punycode, no dot at the end.
func Canonical(name string) string {
	name = strings.TrimSuffix(name, ".")
	if ascii, err := toASCII.ToASCII(name); err == nil {
		return ascii
	}
	return strings.ToLower(name)
}

func (d Data) canonical() Data {
	switch d.Type {
	case fleet.TypeA, fleet.TypeAAAA:
		if a, err := netip.ParseAddr(d.Content); err == nil {
			return Address(a)
		}
	case fleet.TypeCNAME:
		d.Content = Canonical(d.Content)
	case fleet.TypeSRV:
		fields := strings.Fields(d.Content)
		if n := len(fields); n > 0 {
			fields[n-1] = Canonical(fields[n-1])
		}
		d.Content = strings.Join(fields, " ")
	}
	return d
}

func dataOf(r fleet.DNSRecord) Data { return Data{r.Type, r.Content} }

func isAddress(kind string) bool { return kind == fleet.TypeA || kind == fleet.TypeAAAA }

func proxiable(kind string) bool { return isAddress(kind) || kind == fleet.TypeCNAME }

func inZone(name, zone string) bool { return name == zone || strings.HasSuffix(name, "."+zone) }
