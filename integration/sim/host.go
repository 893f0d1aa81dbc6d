package sim

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// condition is how a host is to be reached.
type condition int

const (
	well condition = iota
	hung           // what is asked of its engine is done when it goes on, and answered then
	cut            // nothing gets there, nor back
	off            // it has no power: nothing on it runs
)

func (c condition) String() string { return [...]string{"well", "hung", "cut off", "powered off"}[c] }

// Host is a machine with an engine.
type Host struct {
	w    *World
	name string

	// The world's lock guards what follows.
	condition  condition
	resumed    chan struct{} // closed when the condition changes
	containers []*container  // in the order in which they were made
	networks   []*network
	volumes    map[string]*volume
	images     map[string]*image // by ID
	subnets    byte              // that the engine chose by itself
	listeners  []*listener
	seen       map[string]*fleet.HostState // by fleet; what Observe told last, until something changes
}

type network struct{ fleet.Network }

// volume is a named volume; what a keeper keeps on it is its disk.
type volume struct {
	labels map[string]string
	disk   *disk
}

type image struct {
	id   string
	tags []string // under which it is known, and its digests
}

func newHost(w *World, name string) *Host {
	return &Host{
		w: w, name: name, resumed: make(chan struct{}), volumes: map[string]*volume{}, images: map[string]*image{},
		seen: map[string]*fleet.HostState{},
	}
}

// Name is the host's name.
func (h *Host) Name() string { return h.name }

// changed has the world looked at after the host changed. The lock is held.
func (h *Host) changed(by cause) {
	clear(h.seen)
	h.w.rules.look(by)
}

// find finds a container by its ID or name. The lock is held.
func (h *Host) find(id string) *container {
	for _, c := range h.containers {
		if c.id == id || c.name == id {
			return c
		}
	}
	return nil
}

func (h *Host) network(name string) *network {
	for _, n := range h.networks {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// image finds an image by ID, tag or digest. The lock is held.
func (h *Host) image(ref string) *image {
	if i := h.images[ref]; i != nil {
		return i
	}
	for _, i := range h.images {
		if slices.Contains(i.tags, ref) {
			return i
		}
	}
	return nil
}

// PutImage has an image on the host, as if somebody had loaded it.
func (h *Host) PutImage(ref string) {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	h.putImage(imageID(ref), ref)
}

func (h *Host) putImage(id, ref string) {
	i := h.images[id]
	if i == nil {
		i = &image{id: id}
		h.images[id] = i
	}
	if !slices.Contains(i.tags, ref) {
		i.tags = append(i.tags, ref)
	}
}

// holder is a running container that has an address or a port of those. The lock is held.
func (h *Host) holder(but *container, address netip.Addr, ports []fleet.Published) *container {
	for _, c := range h.containers {
		if c == but || !c.running() {
			continue
		}
		o := c.occupant()
		if o.Holds(address, ports) {
			return c
		}
	}
	return nil
}

// state is what the host has of a fleet. It isn't changed any more by anybody. The lock is held.
func (h *Host) state(fleetName string) *fleet.HostState {
	if st := h.seen[fleetName]; st != nil {
		return st
	}
	st := &fleet.HostState{
		Name: h.name, Reachable: true,
		Engine: fleet.Engine{ID: "engine-" + h.name, Name: h.name, Version: "sim", OS: "linux", Arch: "amd64", CPUs: 8, Memory: 64 << 30},
	}
	for _, c := range h.containers {
		switch of := c.labels[fleet.LabelFleet]; {
		case of == "":
		case of != fleetName:
			if st.OtherFleets == nil {
				st.OtherFleets = map[string]int{}
			}
			st.OtherFleets[of]++
		case c.labels[fleet.LabelRole] == fleet.RoleKeeper:
			st.Keepers = append(st.Keepers, c.keeperContainer())
		default:
			st.Instances = append(st.Instances, c.instance())
		}
	}
	fleet.SortInstances(st.Instances)
	slices.SortFunc(st.Keepers, func(a, b fleet.KeeperContainer) int { return cmp.Compare(a.Name, b.Name) })
	for _, n := range h.networks {
		st.Networks = append(st.Networks, n.Network)
		if n.Gateway.IsValid() {
			st.Addresses = append(st.Addresses, netip.PrefixFrom(n.Gateway, n.Subnet.Bits()))
		}
	}
	slices.SortFunc(st.Networks, func(a, b fleet.Network) int { return cmp.Compare(a.Name, b.Name) })
	st.Volumes = h.nodeVolumes(fleetName)
	h.seen[fleetName] = st
	return st
}

func (h *Host) nodeVolumes(fleetName string) []fleet.Volume {
	var list []fleet.Volume
	for name, v := range h.volumes {
		id, ok := nodeOf(v.labels)
		if of, rest, _ := strings.Cut(name, "_"); of != fleetName || v.labels[fleet.LabelFleet] != fleetName || !strings.Contains(rest, "_") {
			continue
		}
		if !ok { // the suite labels volumes with fleet and environment alone: the name says the rest
			id, ok = nodeOfVolume(name)
		}
		if ok {
			list = append(list, fleet.Volume{NodeID: id, Host: h.name, Name: name, Volume: name[strings.LastIndex(name, "_")+1:]})
		}
	}
	slices.SortFunc(list, func(a, b fleet.Volume) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// become changes how the host is to be reached. The lock is held.
func (h *Host) become(c condition) {
	h.condition = c
	close(h.resumed)
	h.resumed = make(chan struct{})
	if c == well {
		h.emit(fleet.Event{Kind: "host", Action: "connected"})
		return
	}
	h.w.later(5*time.Second, func() {
		if h.condition != well {
			h.emit(fleet.Event{Kind: "host", Action: "lost"})
		}
	})
}
