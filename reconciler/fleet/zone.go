package fleet

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"sort"
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

// ZoneNode is an instance that the keeper's nodes may reach.
type ZoneNode struct {
	NodeID
	// Host is where it is; empty: on the keeper's own.
	Host       string `json:"host,omitempty"`
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
	// Services are its ports, as SRV records say them, sorted by name.
	Services []ZoneService `json:"services,omitempty"`
}

// MaxServices is how many of a node's ports are named at most; the others have no names.
const MaxServices = 64

// ZoneService is a port of a node that a name stands for: _http._tcp.web.
type ZoneService struct {
	Name     string        `json:"name"`
	Protocol spec.Protocol `json:"protocol"`
	Port     uint16        `json:"port"`
}

// Same says whether two zones say the same. What one lacks the other may have without anything in it, as after the
// way over a wire.
func (z *Zone) Same(o *Zone) bool {
	if z.Fleet != o.Fleet || z.Host != o.Host || z.Domain != o.Domain || z.TTL != o.TTL || z.Pool != o.Pool {
		return false
	}
	return slices.EqualFunc(z.Networks, o.Networks, func(a, b ZoneNetwork) bool {
		return a.Environment == b.Environment && a.Name == b.Name && a.Subnet == b.Subnet && a.Address == b.Address && slices.Equal(a.Layers, b.Layers)
	}) && slices.EqualFunc(z.Nodes, o.Nodes, func(a, b ZoneNode) bool {
		return a.NodeID == b.NodeID && a.Host == b.Host && a.Generation == b.Generation && a.Instance == b.Instance && a.Epoch == b.Epoch && a.Address == b.Address &&
			a.Candidate == b.Candidate && a.Out == b.Out && slices.Equal(a.Probes, b.Probes) && slices.Equal(a.Services, b.Services)
	})
}

// Node is what the zone says of an instance; nil: nothing.
func (z *Zone) Node(in *Instance) *ZoneNode {
	of := func(n *ZoneNode) bool { return n.Instance == in.ID }
	i, _ := sort.Find(len(z.Nodes), func(i int) int { return in.Compare(z.Nodes[i].NodeID) }) // as the controller sorts them
	for ; i < len(z.Nodes) && z.Nodes[i].NodeID == in.NodeID; i++ {
		if of(&z.Nodes[i]) {
			return &z.Nodes[i]
		}
	}
	for i := range z.Nodes {
		if of(&z.Nodes[i]) {
			return &z.Nodes[i]
		}
	}
	return nil
}

// Gated says whether a node is only asked whether it is ready: it has been started, and nothing else checks it.
func (z *ZoneNode) Gated() bool {
	return len(z.Probes) > 0 && !slices.ContainsFunc(z.Probes, func(p Probe) bool { return !p.Gate })
}

// StillTold are the results that still hold once a keeper has been told the next zone: those of instances that were
// started anew, or are asked something else, say nothing any more.
func (z *Zone) StillTold(results []ProbeResult, next *Zone) []ProbeResult {
	before := make(map[string]*ZoneNode, len(z.Nodes))
	for i := range z.Nodes {
		before[z.Nodes[i].Instance] = &z.Nodes[i]
	}
	changed := map[string]bool{}
	for i := range next.Nodes {
		n := &next.Nodes[i]
		b := before[n.Instance]
		changed[n.Instance] = b != nil && (b.Epoch != n.Epoch || !slices.Equal(b.Probes, n.Probes))
	}
	return slices.DeleteFunc(slices.Clone(results), func(r ProbeResult) bool { return changed[r.Instance] })
}

// OutWithdrawn begins ZoneNode.Out of a node that left its names for an operation.
const OutWithdrawn = "withdrawn: "

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
	// Said is what external names were last made to say, as digests by SaidKey. Of a name that isn't in it, nothing
	// is known: it is being changed, or was never as it should be.
	Said map[string]string `json:"said,omitempty"`
}

// Same says whether two copies say the same, whatever their serials: one that came over a wire has nil where another
// has nothing.
func (c *Copy) Same(d *Copy) bool {
	if len(c.Nodes) != len(d.Nodes) {
		return false
	}
	for i := range c.Nodes {
		if !c.Nodes[i].same(&d.Nodes[i]) {
			return false
		}
	}
	return slices.EqualFunc(c.Hosts, d.Hosts, CopyHost.same) &&
		slices.EqualFunc(c.Environments, d.Environments, CopyEnvironment.same) && maps.Equal(c.Said, d.Said)
}

func (h CopyHost) same(g CopyHost) bool {
	return h.Name == g.Name && h.Endpoint == g.Endpoint && h.Insecure == g.Insecure && h.TLS == g.TLS && h.SSH == g.SSH &&
		h.Address == g.Address && slices.Equal(h.PublicAddresses, g.PublicAddresses)
}

func (e CopyEnvironment) same(f CopyEnvironment) bool {
	return e.Name == f.Name && e.Subnet == f.Subnet && slices.Equal(e.Hosts, f.Hosts) && maps.Equal(e.Gateways, f.Gateways)
}

func (n *CopyNode) same(m *CopyNode) bool {
	return n.NodeID == m.NodeID && n.Host == m.Host && n.Generation == m.Generation && n.Address == m.Address && n.Reserved == m.Reserved && n.Unproven == m.Unproven &&
		slices.Equal(n.Volumes, m.Volumes) && slices.Equal(n.Published, m.Published) && slices.Equal(n.Zones, m.Zones)
}

// CopyHost is a host's entry in the Fleet, so that it can still be asked after it was taken out.
type CopyHost struct {
	Name     string   `json:"name"`
	Endpoint string   `json:"endpoint"`
	Insecure bool     `json:"insecure,omitempty"`
	TLS      spec.TLS `json:"tls,omitzero"`
	SSH      spec.SSH `json:"ssh,omitzero"`
	Address  string   `json:"address"`
	// PublicAddresses are what external names lead to.
	PublicAddresses []netip.Addr `json:"publicAddresses,omitempty"`
}

// CopyEnvironment is an environment's subnet and where it has a network.
type CopyEnvironment struct {
	Name   string       `json:"name"`
	Subnet netip.Prefix `json:"subnet"`
	Hosts  []string     `json:"hosts,omitempty"`
	// Gateways are the hosts' addresses in it, by host, of those that are known: nobody else is given them, nor the
	// keeper's that goes with each, while the host is out of reach.
	Gateways map[string]netip.Addr `json:"gateways,omitempty"`
}

// CopyNode is where a node's current instance is, or its newest one where it has none yet.
type CopyNode struct {
	NodeID
	Host       string `json:"host"`
	Generation int    `json:"generation"`
	// Unproven: it has not been healthy yet.
	Unproven bool           `json:"unproven,omitempty"`
	Address  netip.Addr     `json:"address"`
	Volumes  []string       `json:"volumes,omitempty"`
	Reserved spec.Resources `json:"reserved"`
	// Published are its ports, where an external name says them.
	Published []Published `json:"published,omitempty"`
	// Zones are those at DNS providers, by their names in the Fleet, with records that may lead to it, also of names
	// that nobody wants any more.
	Zones []string `json:"zones,omitempty"`
}
