package reconciler

import (
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// Status is what is, for people and for the API.
type Status struct {
	Fleet    string    `json:"fleet"`
	Revision string    `json:"revision"` // the last good one
	Time     time.Time `json:"time"`
	// Converged: nothing is left to do and everything was read.
	Converged bool `json:"converged"`
	// Refused is why a newer revision isn't in force: an invalid spec, a repository that can't be read.
	Refused string `json:"refused,omitempty"`
	// Waiting is why this controller changes nothing: somebody else holds the lease.
	Waiting      string              `json:"waiting,omitempty"`
	Hosts        []HostStatus        `json:"hosts"`
	Environments []EnvironmentStatus `json:"environments"`
	Problems     []string            `json:"problems"`
}

// HostStatus is one host.
type HostStatus struct {
	Name      string         `json:"name"`
	Address   string         `json:"address"`
	State     spec.HostState `json:"state"` // wanted; empty: no longer in the spec
	Reachable bool           `json:"reachable"`
	Problem   string         `json:"problem,omitempty"`
	Engine    fleet.Engine   `json:"engine"`
	Nodes     int            `json:"nodes"`
	Reserved  spec.Resources `json:"reserved"`
	Capacity  spec.Resources `json:"capacity"`
	Keeper    int            `json:"keeper"` // version; 0: none answers
	Lease     *fleet.Lease   `json:"lease,omitempty"`
}

// EnvironmentStatus is one environment.
type EnvironmentStatus struct {
	Name   string        `json:"name"`
	Layers []LayerStatus `json:"layers"`
}

// LayerStatus is one layer.
type LayerStatus struct {
	Name    string `json:"name"`
	Image   string `json:"image"`
	Wanted  int    `json:"wanted"`
	Serving int    `json:"serving"`
	// Unknown counts nodes on hosts out of reach: they may well serve.
	Unknown int          `json:"unknown,omitempty"`
	Paused  string       `json:"paused,omitempty"`
	Nodes   []NodeStatus `json:"nodes"`
}

// StateUnknown is the state of a node that is known to be on a host out of reach.
const StateUnknown fleet.State = "unknown"

// NodeStatus is one node's current instance.
type NodeStatus struct {
	Node       int         `json:"node"`
	Host       string      `json:"host"`
	State      fleet.State `json:"state"`
	Serving    bool        `json:"serving"`
	Reason     string      `json:"reason,omitempty"` // why it doesn't serve
	Waits      string      `json:"waits,omitempty"`  // why what is to be done to it can't be done now
	Generation int         `json:"generation"`
	Address    string      `json:"address"`
	Image      string      `json:"image"` // the digest
	Revision   string      `json:"revision"`
	Since      time.Time   `json:"since"` // started at
	UpToDate   bool        `json:"upToDate"`
	Ports      []string    `json:"ports,omitempty"` // http 8080 -> 32768
}
