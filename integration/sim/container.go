package sim

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// container is one container of an engine. The world's lock guards it.
type container struct {
	host   *Host
	id     string
	name   string
	labels map[string]string
	image  string // as it was asked for
	made   time.Time
	stop   time.Duration // the grace that it was made with

	state    fleet.State
	started  time.Time
	finished time.Time
	exit     int
	restarts int
	// byHand: it was ended through the engine, which leaves it alone from then on.
	byHand bool
	asked  bool // it was asked to end before it answered, and so won't begin to
	life   int  // counts its starts and ends
	// resumes: it is started again when its host has power again.
	resumes bool

	limits    fleet.Limits
	imposed   []fleet.Imposed
	restart   string
	published []fleet.Published
	mounts    []string
	wanted    []fleet.Published
	networks  map[string]endpoint
	exec      bool // the engine checks its health
	listens   bool // it has a port, or is checked
	files     map[string]file

	behaviour behaviour
	sickUntil time.Time
	deaf      bool    // what asks it waits in vain
	keeper    *keeper // of a keeper that runs
}

// endpoint is a container on a network.
type endpoint struct {
	network string // its ID
	address netip.Addr
}

// behaviour is how a program of an image goes about.
type behaviour struct {
	startup time.Duration // until it answers
	ending  time.Duration // after its signal
	broken  bool          // it never answers
	crashes time.Duration // after which it ends by itself; zero: it doesn't
}

func imageID(ref string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(ref))
	return fmt.Sprintf("sha256:%064x", h.Sum64())
}

func (c *container) running() bool {
	return c.state == fleet.StateRunning || c.state == fleet.StatePaused || c.state == fleet.StateRestarting
}

// node is the node of this simulation's fleet that the container is; false: it is none.
func (c *container) node() (fleet.NodeID, bool) {
	if c.labels[fleet.LabelFleet] != FleetName {
		return fleet.NodeID{}, false
	}
	return nodeOf(c.labels)
}

func nodeOf(labels map[string]string) (fleet.NodeID, bool) {
	n, err := strconv.Atoi(labels[fleet.LabelNode])
	return fleet.NodeID{Environment: labels[fleet.LabelEnvironment], Layer: labels[fleet.LabelLayer], Node: n}, err == nil && n > 0
}

// nodeOfVolume reads a volume's name, which says all of it.
func nodeOfVolume(name string) (fleet.NodeID, bool) {
	parts := strings.Split(name, "_")
	if len(parts) != 5 {
		return fleet.NodeID{}, false
	}
	n, err := strconv.Atoi(parts[3])
	return fleet.NodeID{Environment: parts[1], Layer: parts[2], Node: n}, err == nil
}

// ready says whether its program answers: what a probe, and whoever uses it, finds.
func (c *container) ready() bool {
	now := time.Now()
	if !c.listens {
		return c.state == fleet.StateRunning // nobody can tell more
	}
	return c.state == fleet.StateRunning && !c.asked && !c.behaviour.broken && !now.Before(c.started.Add(c.behaviour.startup)) && !now.Before(c.sickUntil)
}

// execInterval is how often the engine checks, and how many checks in a row make it unhealthy.
const (
	execInterval = 5 * time.Second
	execRetries  = 3
)

func (c *container) health() fleet.Health {
	switch {
	case !c.exec || !c.running():
		return fleet.HealthNone
	case c.behaviour.broken && time.Since(c.started) > execRetries*execInterval, time.Now().Before(c.sickUntil):
		return fleet.HealthUnhealthy
	case c.behaviour.broken, time.Since(c.started) < c.behaviour.startup:
		return fleet.HealthStarting
	}
	return fleet.HealthHealthy
}

func (c *container) instance() fleet.Instance {
	id, _ := nodeOf(c.labels)
	generation, _ := strconv.Atoi(c.labels[fleet.LabelGeneration])
	in := fleet.Instance{
		NodeID: id, Host: c.host.name, Generation: generation, ID: c.id, Name: c.name,
		Written: c.labels[fleet.LabelWritten], Spec: c.labels[fleet.LabelSpec], Image: c.labels[fleet.LabelImage],
		Revision: c.labels[fleet.LabelRevision], State: c.state, Health: c.health(), CreatedAt: c.made, StartedAt: c.started,
		FinishedAt: c.finished, ExitCode: c.exit, RestartCount: c.restarts, Limits: c.limits, Imposed: slices.Clone(c.imposed), RestartPolicy: c.restart,
		StopGrace: c.stop, Published: slices.Clone(c.published), Volumes: slices.Clone(c.mounts),
	}
	if i := c.host.image(c.image); i != nil {
		in.ImageID = i.id
	}
	of := c.labels[fleet.LabelFleet]
	if name := fleet.ContainerName(of, id, generation); name != c.name {
		in.Renamed = name
	}
	own := fleet.NetworkName(of, id.Environment)
	for name, e := range c.networks {
		if name == own {
			in.Network, in.NetworkID, in.Address = name, e.network, e.address
			continue
		}
		in.OtherNetworks = append(in.OtherNetworks, name)
	}
	slices.Sort(in.OtherNetworks)
	return in
}

func (c *container) keeperContainer() fleet.KeeperContainer {
	k := fleet.KeeperContainer{
		RestartPolicy: c.restart,
		ID:            c.id, Name: c.name, Image: imageID(c.image), State: c.state, CreatedAt: c.made, Networks: map[string]netip.Addr{},
	}
	k.Version, _ = strconv.Atoi(c.labels[fleet.LabelVersion])
	for name, e := range c.networks {
		k.Networks[name] = e.address
	}
	return k
}

func (c *container) occupant() fleet.Occupant {
	o := fleet.Occupant{ID: c.id, Name: c.name, Fleet: c.labels[fleet.LabelFleet], Ports: slices.Clone(c.published)}
	o.NodeID, _ = nodeOf(c.labels)
	for _, e := range c.networks {
		if e.address.IsValid() {
			o.Addresses = append(o.Addresses, e.address)
		}
	}
	slices.SortFunc(o.Addresses, netip.Addr.Compare)
	return o
}

// run starts its process. The lock is held.
func (c *container) run(by cause) error {
	h := c.host
	for name := range c.networks {
		n := h.network(name)
		if n == nil {
			return fmt.Errorf("network %s not found: %w", name, fleet.ErrNotFound)
		}
		e := c.networks[name]
		e.network = n.ID
		c.networks[name] = e
		if o := h.holder(c, e.address, nil); o != nil {
			return fmt.Errorf("address %s already in use: %w", e.address, fleet.ErrConflict)
		}
	}
	if o := h.holder(c, netip.Addr{}, c.wanted); o != nil {
		return fmt.Errorf("port is already allocated: %w", fleet.ErrConflict)
	}
	c.published = slices.Clone(c.wanted)
	c.state, c.started, c.exit, c.byHand, c.asked = fleet.StateRunning, time.Now(), 0, false, false
	c.life++
	h.w.note("%s: %s started by %s", h.name, c.name, by)
	if c.labels[fleet.LabelRole] == fleet.RoleKeeper {
		c.keeper = startKeeper(c)
	}
	life := c.life
	if c.behaviour.crashes > 0 {
		h.w.later(c.behaviour.crashes, func() {
			if c.life == life && c.running() {
				c.end(1, byItself)
			}
		})
	}
	h.w.later(c.behaviour.startup, func() {
		if c.life == life {
			h.w.detail("%s: %s answers", h.name, c.name)
			h.tell(c, "health_status: healthy")
			h.changed(byItself)
		}
	})
	h.tell(c, "start")
	h.changed(by)
	return nil
}

// end is its process's end. What ended by itself the engine starts again. The lock is held.
func (c *container) end(code int, by cause) {
	if !c.running() {
		return
	}
	h := c.host
	c.state, c.finished, c.exit = fleet.StateExited, time.Now(), code
	c.life++
	h.w.note("%s: %s ended by %s", h.name, c.name, by)
	if c.keeper != nil {
		c.keeper.stop()
		c.keeper = nil
	}
	h.tell(c, "die")
	life := c.life
	if by == byItself && !c.byHand && (c.restart == "always" || c.restart == "unless-stopped") {
		c.state = fleet.StateRestarting
		h.w.later(100*time.Millisecond<<min(c.restarts, 6), func() {
			if c.life == life && h.condition != off && !c.byHand {
				c.restarts++
				if c.run(byItself) != nil {
					c.state = fleet.StateExited
				}
			}
		})
	}
	h.changed(by)
}

// resize is a `docker update` that another can take back. The lock is held.
func (c *container) resize() {
	c.limits.PidsLimit = 0
	if c.limits.Memory > 0 {
		c.limits.Swap = fleet.AnySwap
	}
	c.host.tell(c, "update")
	c.host.changed(byFault)
}

// impose is a `docker update` that no other can take back. The lock is held.
func (c *container) impose() {
	c.imposed = []fleet.Imposed{{Field: "cpuset-cpus", Value: "0"}}
	c.host.tell(c, "update")
	c.host.changed(byFault)
}
