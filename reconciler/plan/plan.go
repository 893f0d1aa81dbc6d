// Package plan decides what would make the observed state match the desired one: pure data in, pure data
// out, byte-identical for identical input. It knows no network, no clock and no Docker; every operation
// that it returns says why.
package plan

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
	"github.com/evenkeel/evenkeel/spec"
)

// Input is everything that a decision rests on.
type Input struct {
	Revision string
	Desired  *spec.Spec
	Observed fleet.Observed // also hosts that are no longer in the spec and are known from the keepers' copy
	// Images are the digests (or, for images that are in no registry, the IDs by host) of the images that
	// Unresolved named; see there.
	Images map[string]Image
	// Taken are the addresses of containers that are about to be created: no instance has them yet.
	Taken []netip.Addr
	// Tags are what the images that nodes were made of stand for by now, by what is written, as far as that was
	// found out. A tag that moved is told of, and changes nothing.
	Tags map[string]Tag
	// KeeperVersion is that of the keeper which would be put on hosts; an older one there is replaced.
	KeeperVersion int
	// Weighed is what a former plan of the same revision weighed its removals with; nil: there was none.
	Weighed *Weighed
	// Zones are the zones at DNS providers as they were last read, also those that couldn't be.
	Zones []Zone
	// Said is what external names were last made to say, by fleet.SaidKey; nil: nobody knows.
	Said map[string]string
	// Out says which nodes are kept out of their names now; nil: none is.
	Out func(fleet.NodeID) bool
}

// Zone is a zone at a DNS provider.
type Zone struct {
	Name    string // the Fleet's name for it
	Records []fleet.DNSRecord
	Altered []names.Altered // what its provider has made of some
	// Seen: it was read once, and Records are those of then.
	Seen bool
	// Problem is why the records aren't known, for people; empty: they are.
	Problem string
}

// Image is what a written image stands for.
type Image struct {
	// Digest is repo@sha256:…; empty for an image that is only on the hosts.
	Digest string
	// IDs are the image's IDs by host, for an image that is only on the hosts.
	IDs map[string]string
	// Problem is why the image could not be resolved, for people; its layers' creates wait.
	Problem string
	// Refused: a registry's clear answer, or the lack of one under that name, is the problem.
	Refused bool
	// Before is the digest that was pulled for the image last, where its registry gives no answer; empty: none is known.
	// A layer of which no instance is left is made from it.
	Before string
}

// Tag is what a written image stood for when it was last looked up.
type Tag struct {
	Digest  string            // in its registry
	IDs     map[string]string // on the hosts, for an image that nodes have from there
	At      time.Time         // when the lookup began
	Problem string            // why it could not be looked up again; empty: it could
}

// Kind is a kind of operation, in the words of the spec's `updatePolicy.operations`.
type Kind string

// The kinds of operations.
const (
	Create   Kind = "create"
	Start    Kind = "start"
	Restart  Kind = "restart"
	Redeploy Kind = "redeploy"
	Resize   Kind = "resize"
	Remove   Kind = "remove"
)

// Plan is all that would be done, sorted.
type Plan struct {
	Revision   string          `json:"revision"`
	HasChanges bool            `json:"hasChanges"`
	Layers     []Layer         `json:"layers"`
	Hosts      []HostOperation `json:"hosts"`
	DNS        []DNSOperation  `json:"dns"`
	Warnings   []string        `json:"warnings"`
	// Refused are reasons for which this plan isn't carried out as it is wished: a host that was taken out
	// of the spec with nodes on it, a prune beyond its share, a host out of reach. Nothing is lost by them; `apply` exits 1.
	Refused []string `json:"refused,omitempty"`

	// Networks say where each environment's network is on each host that has or gets nodes of it.
	Networks []EnvironmentNetwork `json:"-"`
	// Records are to be written to keepers without an operation: a restart text that is adopted.
	Records []RecordWrite `json:"-"`
	// Weighed is for the input of the revision's next plan; the input's own where nothing was found since.
	Weighed *Weighed `json:"-"`
	// Due: external records are to be changed now, whatever becomes of the nodes.
	Due   bool            `json:"-"`
	dueTo map[string]bool // whose they are
	// about are the environments that a text of Refused concerns, where it doesn't concern all.
	about map[string][]string
	// KeepNames: records under names that no environment wants are left alone. Their removal is refused, or isn't
	// known to be meant.
	KeepNames bool `json:"-"`
	// Said is for the next input, and for the keepers; nil: nothing was found out.
	Said map[string]string `json:"-"`
	// Settled are the layers for which nothing is to be done: what is at hand there, for a revision before
	// this one, isn't wanted any more.
	Settled []Layer `json:"-"`
}

// Layer is what would be done to one layer.
type Layer struct {
	Environment string        `json:"environment"`
	Layer       string        `json:"layer"`
	Strategy    spec.Strategy `json:"strategy"`
	// MinServing is how many nodes serve at least while the operations are carried out.
	MinServing int `json:"minServing"`
	// Downtime: there is a moment in which no node serves.
	Downtime bool `json:"downtime"`
	// EstimatedDuration is how long the operations take at least: delays, TTLs and minHealthy.
	EstimatedDuration Duration    `json:"estimatedDuration"`
	Operations        []Operation `json:"operations"`
	// Waiting are nodes for which nothing can be done now, and why.
	Waiting []Waiting `json:"waiting,omitempty"`
	// Paused is why the layer's intrusive operations are held back; empty: they aren't.
	Paused string `json:"paused,omitempty"`

	// Removed: the layer is no longer in the spec.
	Removed bool `json:"-"`
	// Spec is the layer as wanted; nil when Removed.
	Spec *spec.Layer `json:"-"`
}

// ID returns the layer's name in the fleet.
func (l *Layer) ID() fleet.LayerID { return fleet.LayerID{Environment: l.Environment, Layer: l.Layer} }

// Operation is one change of one node.
type Operation struct {
	Node      int         `json:"node"`
	Kind      Kind        `json:"operation"`
	Host      string      `json:"host"`
	FromHost  string      `json:"fromHost"`
	Intrusive bool        `json:"intrusive"`
	Causes    []Cause     `json:"causes"`
	DNS       *Withdrawal `json:"dns,omitempty"`
	// After are the layers that this create waits for (dependsOn), as long as their nodes don't all run.
	After []fleet.LayerID `json:"after,omitempty"`

	ID fleet.NodeID `json:"-"`
	// Instance is the node's current instance; nil for a create.
	Instance *fleet.Instance `json:"-"`
	// Candidate is an instance that was prepared earlier, fits, and is used; nil: there is none.
	Candidate *fleet.Instance `json:"-"`
	// Others are the instances of the node that run besides those: they end before a container of it is
	// started, since they hold its address, its ports and its volumes (create, start and redeploy).
	Others []*fleet.Instance `json:"-"`
	// Container is what is created, unless Candidate is set (create and redeploy).
	Container *fleet.Container `json:"-"`
	// Pull is the image reference to pull on Host if it is missing there (create and redeploy).
	Pull string `json:"-"`
	// Image is what Pull was written as.
	Image string `json:"-"`
	// Limits are what a resize sets.
	Limits fleet.Limits `json:"-"`
	// Lasts is how long the records that are gone meanwhile may be remembered elsewhere.
	Lasts time.Duration `json:"-"`
	// Sick: a restart of a node that has been unhealthy for too long. Its failure pauses nothing.
	Sick bool `json:"-"`
	// Serving: the node serves now, so the guard holds for it.
	Serving bool `json:"-"`
}

// Cause is a field whose wanted value differs from what is.
type Cause struct {
	Field string `json:"field"`
	From  string `json:"from"`
	To    string `json:"to"`
}

// Withdrawal lists the records that are gone while the node is touched.
type Withdrawal struct {
	Withdraw []string `json:"withdraw"`
}

// Waiting is a node for which nothing can be done now.
type Waiting struct {
	Node   int    `json:"node"`
	Reason string `json:"reason"`
}

// Waits are nodes of a layer that wait for the same reason.
type Waits struct {
	Nodes  []int // sorted
	Reason string
}

// WaitingAlike gathers the nodes that wait by their reasons, in the order of the first node of each.
func (l *Layer) WaitingAlike() []Waits {
	var alike []Waits
	for _, w := range l.Waiting {
		i := slices.IndexFunc(alike, func(a Waits) bool { return a.Reason == w.Reason })
		if i < 0 {
			i, alike = len(alike), append(alike, Waits{Reason: w.Reason})
		}
		alike[i].Nodes = append(alike[i].Nodes, w.Node)
	}
	return alike
}

// Ordinals are the nodes as text: 1, 2, 5.
func (w Waits) Ordinals() string {
	texts := make([]string, len(w.Nodes))
	for i, n := range w.Nodes {
		texts[i] = number(n)
	}
	return strings.Join(texts, ", ")
}

// HostOperation is a change of something on a host that is no node.
type HostOperation struct {
	Host      string `json:"host"`
	Operation string `json:"operation"` // create, start, remove, connect, disconnect, replace, rename, update
	What      string `json:"what"`      // keeper, links, network, volume, container
	Name      string `json:"name"`
	// Causes are what was changed by hand, where that is put back.
	Causes []Cause `json:"causes,omitempty"`
	// Waits is why it isn't done now; empty: it is.
	Waits string `json:"waits,omitempty"`

	Environment string `json:"-"`
	// Instance is the container that is removed as a leftover, or put right, for what container.
	Instance *fleet.Instance `json:"-"`
	// Within: a container runs that an operation of its node ends first; it is removed after that.
	Within bool `json:"-"`
	// Network is what the container is connected to (with Address) or disconnected from.
	Network string     `json:"-"`
	Address netip.Addr `json:"-"`
}

// DNSOperation is a change of an external record.
type DNSOperation struct {
	Operation string `json:"operation"` // create, update, delete
	Provider  string `json:"provider"`  // the zone's name in the Fleet
	Record    string `json:"record"`
	Why       string `json:"why,omitempty"`

	Owner string `json:"-"` // fleet.DNSOwner
}

// EnvironmentNetwork is an environment's part on one host.
type EnvironmentNetwork struct {
	Environment string
	Host        string
	Subnet      netip.Prefix
	Gateway     netip.Addr
	Keeper      netip.Addr   // the keeper's address on it
	IPRange     netip.Prefix // what Docker may hand out by itself; nothing of ours is in it
}

// RecordWrite is a record to be written to a host's keeper; a nil Value: to be deleted from it.
type RecordWrite struct {
	Host  string
	Key   string
	Value any
}

// Duration is a length of time that is written as text: 1m40s.
type Duration time.Duration

// MarshalText writes the duration as people write it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}
