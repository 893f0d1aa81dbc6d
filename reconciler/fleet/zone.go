package fleet

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/evenkeel/evenkeel/spec"
)

// Zone is what one host's keeper is told: the networks that it serves and who is to be found under which
// name. It is always sent whole, so that sending it again changes nothing.
type Zone struct {
	Fleet    string        `json:"fleet"`
	Host     string        `json:"host"`
	Domain   string        `json:"domain"` // without a trailing dot: internal
	TTL      time.Duration `json:"ttl"`
	Pool     netip.Prefix  `json:"pool"` // reverse lookups below it are never forwarded
	Networks []ZoneNetwork `json:"networks,omitempty"`
	Nodes    []ZoneNode    `json:"nodes,omitempty"`
}

// ZoneNetwork is an environment's network that the keeper answers on, for that environment only.
type ZoneNetwork struct {
	Environment string       `json:"environment"`
	Name        string       `json:"name"` // Docker's
	Subnet      netip.Prefix `json:"subnet"`
	Address     netip.Addr   `json:"address"` // the keeper's own on it
	// Layers are all layers of the environment, those without a node here too: their names are denied, not forwarded.
	Layers []string `json:"layers,omitempty"`
}

// ZoneNode is one instance on the keeper's host.
type ZoneNode struct {
	NodeID
	Generation int    `json:"generation"`
	Instance   string `json:"instance"` // the container's ID
	// Epoch tells one start of the instance from another, where that is known (its StartedAt): what the
	// probes said of an earlier start doesn't count for this one.
	Epoch   string     `json:"epoch,omitempty"`
	Address netip.Addr `json:"address"`
	// Candidate: not the node's current instance; it is probed and not answered with.
	Candidate bool `json:"candidate,omitempty"`
	// Out is why the node isn't to be found under its layer's name though its probes may succeed
	// (withdrawn, stopped, unhealthy by the engine's check); empty: it is to be found.
	Out    string  `json:"out,omitempty"`
	Probes []Probe `json:"probes,omitempty"`
}

// OutStarting is ZoneNode.Out of a node that is started and has not passed its gate yet.
const OutStarting = "starting"

// Probe is a check that a keeper runs against a node's own address. All of a node's probes must succeed.
type Probe struct {
	HTTP        bool          `json:"http,omitempty"` // else tcp
	Port        uint16        `json:"port"`
	Path        string        `json:"path,omitempty"`
	Interval    time.Duration `json:"interval"`
	Timeout     time.Duration `json:"timeout"`
	Retries     int           `json:"retries"`     // failures in a row that make a healthy node unhealthy
	StartPeriod time.Duration `json:"startPeriod"` // failures in it don't count, until the first success
	// Gate: only asked while the node's start is gated; it never takes a node out of the names.
	Gate bool `json:"gate,omitempty"`
}

// KeeperState is what a keeper says of itself, whole.
type KeeperState struct {
	Version int           `json:"version"`
	Fleet   string        `json:"fleet"`
	Host    string        `json:"host"`
	Serial  uint64        `json:"serial"` // of the zone; grows with each change
	Zone    Zone          `json:"zone"`
	Health  []ProbeResult `json:"health,omitempty"`
	Records []Record      `json:"records,omitempty"` // sorted by key
	Copy    Copy          `json:"copy"`
	Lease   *Lease        `json:"lease,omitempty"`
	// Unbound are the addresses of the zone's networks that the keeper can't answer on yet, with the reason.
	Unbound []string `json:"unbound,omitempty"`
	// Mode is KeeperActive, or why it neither grants nor writes while another keeper takes its place.
	Mode KeeperMode `json:"mode"`
	// Problems are what is wrong with the keeper's disk, for people.
	Problems []string `json:"problems,omitempty"`
}

// KeeperMode says which of two keepers of a host grants the lease and writes.
type KeeperMode string

// The modes of a keeper. In each of them it answers lookups, probes, and can be read.
const (
	KeeperActive  KeeperMode = "active"
	KeeperStandby KeeperMode = "standby" // its predecessor still holds the volume
	KeeperRetired KeeperMode = "retired" // it was told to leave the volume to its successor
)

// ProbeResult is what a keeper's probes say of one instance. Of an instance without a result nothing is
// known yet, which is not the same as unhealthy.
type ProbeResult struct {
	Instance string `json:"instance"`
	Healthy  bool   `json:"healthy"`
	// For is how long it has been so; a duration, since the clocks of two hosts differ. A start period
	// doesn't count for an instance that was never healthy.
	For time.Duration `json:"for"`
	// Pending: a probe that the instance has been given has not said anything yet, so that it isn't known
	// whether it is healthy.
	Pending bool   `json:"pending,omitempty"`
	Last    string `json:"last,omitempty"` // what the last failed probe said
}

// Record is a small fact that outlives controllers.
type Record struct {
	Key   string          `json:"key"` // e.g. current/shop/web/3
	Value json.RawMessage `json:"value"`
}

// Lease is the right to change a host, granted to one controller.
type Lease struct {
	Holder string        `json:"holder"` // for people: user@machine (pid)
	Token  uint64        `json:"token"`  // the fencing number
	Held   time.Duration `json:"held"`   // for how long
}

// Copy is the last known placement of the whole fleet, as each keeper has it.
type Copy struct {
	Serial       uint64            `json:"serial"`
	Hosts        []CopyHost        `json:"hosts,omitempty"`
	Environments []CopyEnvironment `json:"environments,omitempty"`
	Nodes        []CopyNode        `json:"nodes,omitempty"`
}

// CopyHost is a host's entry in the Fleet, so that it can still be asked after it was taken out.
type CopyHost struct {
	Name     string   `json:"name"`
	Endpoint string   `json:"endpoint"`
	Insecure bool     `json:"insecure,omitempty"`
	TLS      spec.TLS `json:"tls,omitzero"`
	SSH      spec.SSH `json:"ssh,omitzero"`
	Address  string   `json:"address"`
}

// CopyEnvironment is an environment's subnet and where it has a network.
type CopyEnvironment struct {
	Name   string       `json:"name"`
	Subnet netip.Prefix `json:"subnet"`
	Hosts  []string     `json:"hosts,omitempty"`
}

// CopyNode is where a node's current instance is.
type CopyNode struct {
	NodeID
	Host       string         `json:"host"`
	Generation int            `json:"generation"`
	Address    netip.Addr     `json:"address"`
	Volumes    []string       `json:"volumes,omitempty"`
	Reserved   spec.Resources `json:"reserved"`
}
