// Package spec is the language that users write: its types, how documents are loaded, the defaults,
// and the rules that a JSON Schema can't say. It reads from an [io/fs.FS] that it is given and never
// touches a network, a clock or a Docker host.
package spec

import (
	"cmp"
	"net/netip"
	"sort"
	"time"

	"github.com/evenkeel/evenkeel/schema"
)

// APIVersion is the API group and version that every document names.
const APIVersion = schema.APIVersion

// The two kinds of documents.
const (
	KindFleet       = schema.KindFleet
	KindEnvironment = schema.KindEnvironment
)

// Spec is one revision, loaded whole: valid, with defaults filled in and sorted by name.
type Spec struct {
	Fleet        Fleet
	Environments []Environment
	// Warnings are places that are valid and probably not meant.
	Warnings []Problem
}

// Environment returns the environment of that name, or nil.
func (s *Spec) Environment(name string) *Environment {
	i, ok := sort.Find(len(s.Environments), func(i int) int { return cmp.Compare(name, s.Environments[i].Name) })
	if !ok {
		return nil
	}
	return &s.Environments[i]
}

// Bytes is an amount of memory or disk, in bytes. It is written with a unit: 128Mi, 1Gi, 500M.
type Bytes int64

// MilliCPU is an amount of CPU, in thousandths of a core. It is written 200m or 1.5.
type MilliCPU int64

// Resources is room: what a host has, or what a node reserves or may use. Zero means not set.
type Resources struct {
	Memory Bytes
	CPU    MilliCPU
}

// Fleet is all hosts that one installation manages, with their common settings.
type Fleet struct {
	Name     string
	Cloudlet Resources // what one cloudlet is
	Hosts    []Host    // sorted by name
	// Registries are those with credentials, sorted by server.
	Registries []Registry
	Network    Network
	Internal   InternalDNS
	External   []ExternalZone // sorted by name
	Allow      Allow
	SelfHeal   bool
	// PruneMaxShare is the largest share of all nodes, in percent, that one plan may remove.
	PruneMaxShare int
}

// Host returns the host of that name, or nil.
func (f *Fleet) Host(name string) *Host {
	i, ok := sort.Find(len(f.Hosts), func(i int) int { return cmp.Compare(name, f.Hosts[i].Name) })
	if !ok {
		return nil
	}
	return &f.Hosts[i]
}

// HostState is what is wanted of a host.
type HostState string

// The states that can be wanted of a host.
const (
	HostActive   HostState = "active"
	HostCordoned HostState = "cordoned"
)

// Host is one machine with a Docker Engine.
type Host struct {
	Name     string
	Endpoint string // unix:///path, tcp://host:port or ssh://user@host[:port][/path of the socket]
	Insecure bool   // a plain tcp endpoint is only accepted with `insecure: true`
	TLS      TLS    // for a tcp endpoint
	SSH      SSH    // for an ssh endpoint
	Address  string // what other hosts reach it by
	// PublicAddresses are what external names lead to, sorted; empty: there is none to lead to.
	PublicAddresses []netip.Addr
	Labels          map[string]string
	State           HostState
	Capacity        Resources // zero: what the engine reports, less Reserve
	Reserve         Resources
}

// SameEngine says whether the engine of another entry is reached in the same way.
func (h *Host) SameEngine(other *Host) bool {
	return h.Endpoint == other.Endpoint && h.Insecure == other.Insecure && h.TLS == other.TLS && h.SSH == other.SSH
}

// TLS names the files with which an engine is spoken to over TLS, in both directions proven. Each is
// absolute or a file of the credentials directory. Empty: plain text.
type TLS struct {
	CA   string `json:"ca"`   // who signed the engine's certificate
	Cert string `json:"cert"` // ours
	Key  string `json:"key"`
}

// SSH names files for an ssh endpoint, each absolute or of the credentials directory.
type SSH struct {
	Key        string `json:"key,omitempty"`        // empty: the agent's, then ~/.ssh/id_*
	KnownHosts string `json:"knownHosts,omitempty"` // empty: ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts
}

// NetworkDriver is how environments' networks span hosts.
type NetworkDriver string

// The drivers. With a bridge each host's part of an environment is a network of its own; VXLAN joins them.
const (
	NetworkBridge NetworkDriver = "bridge"
	NetworkVXLAN  NetworkDriver = "vxlan"
)

// Network says how environments' networks are made.
type Network struct {
	Driver NetworkDriver
	Pool   netip.Prefix // each environment gets a /22 of it
}

// InternalDNS is the zone that keepers serve to nodes.
type InternalDNS struct {
	Zone string // without a trailing dot
	TTL  time.Duration
}

// Allow names the environments that may ask for more than the safe default.
type Allow struct {
	Privileged   []string
	HostPaths    []string
	Capabilities []string
}

// Environment is one application: its layers, names and network; the unit of isolation.
type Environment struct {
	Name   string
	Layers []Layer        // sorted by name
	DNS    []ExternalName // sorted by name and layer
	// Source is the file and line of the document, for messages.
	Source string
}

// Layer returns the layer of that name, or nil.
func (e *Environment) Layer(name string) *Layer {
	for i := range e.Layers {
		if e.Layers[i].Name == name {
			return &e.Layers[i]
		}
	}
	return nil
}

// Pull says when an image is fetched.
type Pull string

// The pull policies.
const (
	PullMissing Pull = "missing"
	PullAlways  Pull = "always"
	PullNever   Pull = "never"
)

// Layer is the nodes of one kind in an environment.
type Layer struct {
	Name     string
	Image    string // as written
	Pull     Pull
	Replicas int

	// Reserved is what placement counts for a node (one cloudlet where nothing is written).
	Reserved Resources
	// Limit is the most that a node may use; zero: no limit.
	Limit Resources
	// Reservation is the memory reservation and the CPU share that the engine is told; zero: none.
	Reservation Resources

	Placement Placement
	DependsOn []string // sorted

	Command    []string // nil: the image's
	Entrypoint []string // nil: the image's
	WorkingDir string
	User       string
	Init       bool
	Env        map[string]string
	Labels     map[string]string
	Logging    Logging
	Tmpfs      []string // sorted; "/path" or "/path:options"
	Ulimits    []Ulimit // sorted by name
	Files      []File   // sorted by path
	Volumes    []Volume // sorted by name
	Ports      []Port   // sorted by name
	Security   Security

	HealthCheck *HealthCheck // nil: none of ours
	Stop        Stop
	Restart     string
	Redeploy    string
	Update      UpdatePolicy

	// Written is the canonical JSON of what the user wrote that makes a node what it is (DESIGN §4):
	// quantities normalised, sets sorted, files as salted digests; no default of ours, and neither scale,
	// policy, placement, http and tcp probes, resources, pull nor restart.
	Written string
	// Hash is the versioned hash of Written.
	Hash string
	// LayerHash is the versioned hash of everything that is written for the layer; a pause is bound to it.
	LayerHash string
}

// Port returns the declared port of that name, or nil.
func (l *Layer) Port(name string) *Port {
	for i := range l.Ports {
		if l.Ports[i].Name == name {
			return &l.Ports[i]
		}
	}
	return nil
}

// AntiAffinity says whether two nodes of a layer may share a host.
type AntiAffinity string

// The kinds of anti-affinity.
const (
	AntiAffinityPreferred AntiAffinity = "preferred"
	AntiAffinityRequired  AntiAffinity = "required"
)

// Placement restricts where a layer's nodes may be.
type Placement struct {
	AntiAffinity AntiAffinity
	Hosts        map[string]string // labels that a host must carry
}

// Logging is the engine's log driver and its options; an empty driver is the engine's default.
type Logging struct {
	Driver  string
	Options map[string]string
}

// Ulimit is one resource limit of the node's processes.
type Ulimit struct {
	Name       string
	Soft, Hard int64
}

// File is a file that is put into each node before it starts.
type File struct {
	Path    string // absolute, in the node
	Mode    uint32 // permission bits
	Content []byte // from `content` or from the file that `from` names
}

// OnRemove says what becomes of a volume whose node is removed for good.
type OnRemove string

// What can become of a volume.
const (
	OnRemoveKeep   OnRemove = "keep"
	OnRemoveDelete OnRemove = "delete"
)

// Volume is a named volume of each node, one for each ordinal.
type Volume struct {
	Name     string
	Path     string
	OnRemove OnRemove
}

// Protocol of a port.
type Protocol string

// The protocols.
const (
	TCP Protocol = "tcp"
	UDP Protocol = "udp"
)

// Port is one that a node listens on.
type Port struct {
	Name     string
	Port     uint16
	Protocol Protocol
	// Publish is the host's port: nil inside only, 0 any free one, else that one.
	Publish *uint16
}

// Security asks for more, or less, than the safe default.
type Security struct {
	Privileged   bool
	Capabilities []string // sorted, without CAP_
	HostPaths    []HostPath
	ReadOnly     bool
}

// HostPath is a path of the host that is mounted into the node.
type HostPath struct {
	Source   string
	Target   string
	ReadOnly bool
}

// HealthCheck says when a node counts as healthy. Exactly one of HTTP, TCP and Exec is set.
type HealthCheck struct {
	HTTP *HTTPCheck
	TCP  *TCPCheck
	Exec *ExecCheck

	Interval     time.Duration
	Timeout      time.Duration
	Retries      int
	StartPeriod  time.Duration
	RestartAfter time.Duration // 0: never
}

// HTTPCheck is healthy when a GET is answered with a status from 200 to 399.
type HTTPCheck struct {
	Port string // a declared port's name
	Path string
}

// TCPCheck is healthy when a connection is accepted.
type TCPCheck struct {
	Port string
}

// ExecCheck is healthy when the command ends with status 0 inside the node; the engine runs it.
type ExecCheck struct {
	Command []string
}

// Stop says how a node is stopped. An empty signal is the image's.
type Stop struct {
	Signal string
	Grace  time.Duration
}

// Strategy is how the operations of a layer are paced.
type Strategy string

// The strategies.
const (
	Sequential   Strategy = "sequential"
	Simultaneous Strategy = "simultaneous"
)

// FailureAction says what follows on a node that failed.
type FailureAction string

// What can follow on a failure.
const (
	FailurePause    FailureAction = "pause"
	FailureContinue FailureAction = "continue"
)

// DefaultDrainTimeout is how long open connections may go on after a node has left its names, unless said.
const DefaultDrainTimeout = 30 * time.Second

// UpdatePolicy is how operations of a layer are paced.
type UpdatePolicy struct {
	Strategy       Strategy
	Delay          time.Duration
	RemoveFromDNS  bool
	MaxUnavailable int
	DrainTimeout   time.Duration
	HealthTimeout  time.Duration
	MinHealthy     time.Duration
	FailureAction  FailureAction
	// Operations overrides single settings for one kind of operation, by its name.
	Operations map[string]PolicyOverride
}

// PolicyOverride holds the settings that differ for one kind of operation; nil: as in the policy.
type PolicyOverride struct {
	Strategy       *Strategy
	Delay          *time.Duration
	RemoveFromDNS  *bool
	MaxUnavailable *int
	DrainTimeout   *time.Duration
	HealthTimeout  *time.Duration
	MinHealthy     *time.Duration
	FailureAction  *FailureAction
}

// For returns the policy as it is for one kind of operation, its overrides applied.
func (p UpdatePolicy) For(operation string) UpdatePolicy {
	o, ok := p.Operations[operation]
	if !ok {
		return p
	}
	set(&p.Strategy, o.Strategy)
	set(&p.Delay, o.Delay)
	set(&p.RemoveFromDNS, o.RemoveFromDNS)
	set(&p.MaxUnavailable, o.MaxUnavailable)
	set(&p.DrainTimeout, o.DrainTimeout)
	set(&p.HealthTimeout, o.HealthTimeout)
	set(&p.MinHealthy, o.MinHealthy)
	set(&p.FailureAction, o.FailureAction)
	return p
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}
