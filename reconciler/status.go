package reconciler

import (
	"encoding/json"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
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
	Zones        []ZoneStatus        `json:"zones,omitempty"`
	Problems     []string            `json:"problems"`
}

// HostStatus is one host.
type HostStatus struct {
	Name      string         `json:"name"`
	Address   string         `json:"address"`
	State     spec.HostState `json:"state"` // wanted; empty: no longer in the spec
	Reachable bool           `json:"reachable"`
	Problem   string         `json:"problem,omitempty"`
	Engine    EngineStatus   `json:"engine"`
	Nodes     int            `json:"nodes"`
	Reserved  Room           `json:"reserved"`
	Capacity  Room           `json:"capacity"`
	Keeper    int            `json:"keeper"` // version; 0: none answers
	Lease     *LeaseStatus   `json:"lease,omitempty"`
}

// ZoneStatus is a zone at a DNS provider.
type ZoneStatus struct {
	Name    string    `json:"name"` // in the Fleet
	Zone    string    `json:"zone"`
	Records int       `json:"records"`           // of the fleet
	Read    time.Time `json:"read,omitzero"`     // when that was read last
	Problem string    `json:"problem,omitempty"` // why it couldn't be read since
}

// EngineStatus is what a host's Docker Engine says of itself; empty: it wasn't reached.
type EngineStatus struct {
	Name          string `json:"name,omitempty"`
	Version       string `json:"version,omitempty"`
	APIVersion    string `json:"apiVersion,omitempty"` // the negotiated one
	OS            string `json:"os,omitempty"`
	Arch          string `json:"arch,omitempty"` // as in Go: amd64, arm64
	StorageDriver string `json:"storageDriver,omitempty"`
	CPUs          int    `json:"cpus,omitempty"`
	Memory        string `json:"memory,omitempty"` // as in a spec: 24Gi
}

func engineStatus(e fleet.Engine) EngineStatus {
	s := EngineStatus{
		Name: e.Name, Version: e.Version, APIVersion: e.APIVersion, OS: e.OS, Arch: e.Arch,
		StorageDriver: e.StorageDriver, CPUs: e.CPUs,
	}
	if e.Memory > 0 {
		s.Memory = e.Memory.String()
	}
	return s
}

// Room is memory and processor time, in JSON written as in a spec, 256Mi and 400m, and left out where there
// is none.
type Room spec.Resources

type roomText struct {
	Memory string `json:"memory,omitempty"`
	CPU    string `json:"cpu,omitempty"`
}

// MarshalJSON writes the quantities as people write them.
func (r Room) MarshalJSON() ([]byte, error) {
	var t roomText
	if r.Memory != 0 {
		t.Memory = r.Memory.String()
	}
	if r.CPU != 0 {
		t.CPU = r.CPU.String()
	}
	return json.Marshal(t)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Room) UnmarshalJSON(data []byte) error {
	var t roomText
	if err := json.Unmarshal(data, &t); err != nil {
		return err
	}
	*r = Room{}
	var err error
	if t.Memory != "" {
		r.Memory, err = spec.ParseBytes(t.Memory)
	}
	if t.CPU != "" && err == nil {
		r.CPU, err = spec.ParseCPU(t.CPU)
	}
	return err
}

// LeaseStatus says which controller may change a host.
type LeaseStatus struct {
	Holder string        `json:"holder"` // user@machine (pid)
	Held   plan.Duration `json:"held"`   // for how long
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
