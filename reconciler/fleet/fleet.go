// Package fleet holds what exists, as plain data: hosts, instances, networks, volumes, the zones that
// keepers serve. It decides nothing and does no I/O.
package fleet

import (
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/spec"
)

// Observed is what was seen of a fleet. Hosts are sorted by name and hold an entry for every host that
// was asked, reached or not.
type Observed struct {
	Hosts []HostState
}

// Host returns the state of the host of that name, or nil.
func (o *Observed) Host(name string) *HostState {
	i, ok := sort.Find(len(o.Hosts), func(i int) int { return strings.Compare(name, o.Hosts[i].Name) })
	if !ok {
		return nil
	}
	return &o.Hosts[i]
}

// HostState is what was seen of one host. Where Reachable is false everything but Name and Problem is
// unknown, which is not the same as absent.
type HostState struct {
	Name      string
	Reachable bool
	Problem   string // why the host couldn't be read, for people
	Engine    Engine
	Instances []Instance // sorted by node, then generation
	Networks  []Network  // all of the host's networks, ours and others', sorted by name
	Volumes   []Volume   // ours, sorted by name
	Keepers   []KeeperContainer
	// Strangers are containers with the fleet's label that are neither a node's nor the keeper's: made by
	// hand. They are told of and never touched. Sorted by name.
	Strangers []Stranger
	Links     *LinksContainer // what joins its networks to those of other hosts; nil: there is none
	Keeper    *KeeperState    // what the keeper answered; nil: there is none or it doesn't answer
	// KeeperProblem is why there is no answer of the keeper, for people.
	KeeperProblem string
	// OtherFleets counts containers that carry another fleet's label, by that fleet's name.
	OtherFleets map[string]int
	// Files are the files of ours in the nodes, by instance, as far as they were read. What is known of an
	// instance's stays known while it can't be read.
	Files map[string]Files
	// Addresses are the host's own, as far as they are known (its endpoint's, its networks' gateways).
	Addresses []netip.Prefix
}

// Engine is what a Docker Engine says of itself.
type Engine struct {
	ID            string
	Name          string
	Version       string
	APIVersion    string // the negotiated one
	OS            string
	Arch          string // as in Go: amd64, arm64
	StorageDriver string
	CPUs          int
	Memory        spec.Bytes
	// Unproven are the registries that the engine trusts without proof, over plain HTTP or TLS that isn't
	// checked: host[:port] and ranges of addresses.
	Unproven []string `json:"-"`
	// Mirrored: it asks mirrors of Docker Hub, which may have what that hasn't.
	Mirrored bool `json:"-"`
	// NoSwapLimit and NoPidsLimit: its kernel can't hold containers to those, and what it says of them means nothing.
	NoSwapLimit, NoPidsLimit bool `json:"-"`
}

// Trusts says whether an engine trusts a registry without proof. Names aren't looked up in ranges.
func (e Engine) Trusts(registry string) bool {
	address, err := netip.ParseAddr(strings.Trim(registry, "[]"))
	if withPort, e := netip.ParseAddrPort(registry); e == nil {
		address, err = withPort.Addr(), nil
	}
	return slices.ContainsFunc(e.Unproven, func(u string) bool {
		network, no := netip.ParsePrefix(u)
		return u == registry || err == nil && no == nil && network.Contains(address.Unmap())
	})
}

// State is a container's state, in the engine's words.
type State string

// The states of a container.
const (
	StateCreated    State = "created"
	StateRunning    State = "running"
	StatePaused     State = "paused"
	StateRestarting State = "restarting"
	StateExited     State = "exited"
	StateRemoving   State = "removing"
	StateDead       State = "dead"
)

// Health is the result of the engine's own health check.
type Health string

// The results of the engine's own health check; HealthNone: the container has none.
const (
	HealthNone      Health = ""
	HealthStarting  Health = "starting"
	HealthHealthy   Health = "healthy"
	HealthUnhealthy Health = "unhealthy"
)

// Instance is one container that is, was or will be a node.
type Instance struct {
	NodeID
	Host       string
	Generation int

	ID   string // the container's
	Name string // without a leading slash
	// Renamed is the name that its labels stand for, where it has another one.
	Renamed  string
	Written  string // labels, see spec.Layer
	Spec     string
	Image    string // the digest or image ID that it was created from
	Revision string
	// Mended is how often in a row the node had been made anew, for the last time with this instance, since files
	// of ours in it were changed soon after it started.
	Mended int

	ImageID      string
	State        State
	Health       Health
	CreatedAt    time.Time
	StartedAt    time.Time // zero: never
	FinishedAt   time.Time // zero: never
	ExitCode     int
	OOMKilled    bool
	RestartCount int
	// FailingStreak is how often in a row the engine's health check has failed.
	FailingStreak int
	Error         string // the engine's, of the last start

	Limits        Limits
	Imposed       []Imposed // sorted by field
	RestartPolicy string
	StopGrace     time.Duration // how long the container itself wants to be given; 0: the engine's default
	Network       string        // the environment's network, where it is attached to it
	NetworkID     string        // the network's that it was last attached to under that name; empty: not known
	Address       netip.Addr    // assigned on that network; known also while stopped
	OtherNetworks []string      // names of the networks that it is attached to besides, sorted
	Published     []Published
	Volumes       []string // names, sorted
}

// Running says whether its process runs (also paused ones hold their address and memory).
func (i *Instance) Running() bool {
	return i.State == StateRunning || i.State == StatePaused || i.State == StateRestarting
}

// MadeFor says whether an instance was made for what is written of a layer now. The text decides: a newer
// version of the hash over the same text changes nothing.
func (i *Instance) MadeFor(l *spec.Layer) bool {
	return i.Spec == l.Hash || i.Written == l.Written && i.Written != ""
}

// TCPPorts are the tcp ports that were declared for an instance when it was made; false: its label can't
// be read.
func (i *Instance) TCPPorts() ([]uint16, bool) { return spec.WrittenTCPPorts(i.Written) }

// Limits are the resources that an engine holds a container to; zero: none.
type Limits struct {
	Memory            spec.Bytes // memory and swap together: there is no swap beyond it
	Swap              spec.Bytes // what a limited container may use beyond its memory all the same; never wanted; AnySwap: any amount
	MemoryReservation spec.Bytes
	NanoCPUs          int64
	CPUShares         int64
	PidsLimit         int64 // processes
}

// AnySwap is the Swap of a container that may use as much as there is.
const AnySwap spec.Bytes = -1

// Imposed is a limit of a kind that evenkeel never sets, as somebody has put it onto a container.
type Imposed struct {
	Field string // as docker update calls it: cpuset-cpus
	Value string
}

// Published is a port of a node as it is published on its host.
type Published struct {
	Port     uint16
	Protocol spec.Protocol
	HostPort uint16 // 0 in a wish: any free one
}

// Network is a Docker network of a host.
type Network struct {
	ID          string
	Name        string
	Fleet       string // label; empty: not ours
	Environment string // label
	Role        string // label; RoleKeeper: the uplink
	Driver      string
	Subnet      netip.Prefix
	Gateway     netip.Addr
	IPRange     netip.Prefix
	Bridge      string // the device that it is on the host, of driver bridge
	MTU         int    // in bytes; 0: the engine's default
}

// DefaultMTU is that of an engine's networks for which nothing was said, in bytes.
const DefaultMTU = 1500

// Volume is a named volume of ours.
type Volume struct {
	NodeID
	Host   string
	Name   string // the engine's name
	Volume string // as the spec calls it
	// OnRemove is what its label wishes (LabelOnRemove); empty: keep.
	OnRemove spec.OnRemove
}

// KeeperContainer is a container with the keeper's role (two while one replaces the other).
type KeeperContainer struct {
	ID        string
	Name      string
	Version   int
	Image     string // its ID
	State     State
	CreatedAt time.Time
	Networks  map[string]netip.Addr // by network name

	RestartPolicy string
}

// LinksContainer is the container with the links' role.
type LinksContainer struct {
	ID            string
	Name          string
	Version       int
	Image         string // its ID
	State         State
	RestartPolicy string
}

// Container is what an engine is asked to create for an instance. Everything is explicit.
type Container struct {
	NodeID
	Generation int
	Host       string
	Name       string
	Image      string // reference or ID that the engine knows
	Labels     map[string]string

	Command    []string // nil: the image's
	Entrypoint []string // nil: the image's
	WorkingDir string
	User       string
	Init       bool
	Env        []string // NAME=value, sorted
	Hostname   string
	Domainname string

	Network string
	Address netip.Addr // invalid: the engine chooses
	DNS     []netip.Addr
	DNSOpts []string
	Search  []string

	Logging      spec.Logging
	Tmpfs        []string
	Ulimits      []spec.Ulimit
	Volumes      []Mount
	HostPaths    []spec.HostPath
	Ports        []Published
	Exposed      []Published // declared and not published
	Privileged   bool
	Capabilities []string // all that it has; every other is dropped
	ReadOnly     bool
	Limits       Limits

	StopSignal string
	StopGrace  time.Duration
	Restart    string // the engine's restart policy
	// NoHealthCheck turns the image's health check off, since one of ours stands in for it.
	NoHealthCheck bool
	Exec          *spec.HealthCheck // with Exec set: the engine's own health check
	Files         []spec.File
}

// Mount is a named volume in a container.
type Mount struct {
	Name   string
	Target string
	Labels map[string]string // of the volume, where it has to be created
}

// ImageInfo is an image that a host has.
type ImageInfo struct {
	ID      string   // the config's digest on this host
	Digests []string // repo@sha256:…, sorted; none for an image that was never pulled or pushed
}

// Event is something that an engine told of a container, a network or a volume. It is a hint to look.
type Event struct {
	Host     string
	Kind     string // container, network, volume
	Action   string
	ID       string
	Name     string
	Labels   map[string]string
	Time     time.Time
	ExitCode string
}
