package sim

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// strike has something go wrong, for a while where it can pass by itself. It says what.
func (w *World) strike(r *rand.Rand) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.hosts[w.names[r.IntN(len(w.names))]]
	long := between(r, 2*time.Second, 60*time.Second)
	switch kind := r.IntN(14); kind {
	case 0, 1, 2:
		if h.condition != well || w.anyAway() {
			return "nothing"
		}
		c := [...]condition{hung, cut, off}[kind]
		w.note("FAULT: %s is %s for %s", h.name, c, long)
		h.fall(c)
		w.later(long, func() { h.rise() })
		return c.String()
	case 3:
		w.note("FAULT: the registry is down for %s", long)
		w.Registry.Down(true)
		w.later(long, func() { w.Registry.Down(false) })
		return "registry"
	case 4:
		w.note("FAULT: the repository is down for %s", long)
		w.Repo.Down(true)
		w.later(long, func() { w.Repo.Down(false) })
		return "repository"
	case 5:
		w.note("FAULT: the repository hangs for %s", long)
		w.Repo.Hang()
		w.later(long, w.Repo.Resume)
		return "repository"
	case 6:
		return w.strikeKeeper(r, h)
	case 7:
		return w.strikeZone(r)
	}
	return w.strikeNode(r, h, long)
}

func (w *World) anyAway() bool {
	for _, h := range w.hosts {
		if h.condition != well {
			return true
		}
	}
	return false
}

func (w *World) strikeKeeper(r *rand.Rand, h *Host) string {
	c := h.find(fleet.KeeperName(FleetName))
	if c == nil || h.condition == off {
		return "nothing"
	}
	switch r.IntN(4) {
	case 0:
		w.note("FAULT: the keeper of %s is removed", h.name)
		h.remove(c, byFault)
	case 1:
		w.note("FAULT: the keeper of %s is killed", h.name)
		c.end(137, byFault)
	case 2:
		w.note("FAULT: the keeper of %s is removed with its volume", h.name)
		h.remove(c, byFault)
		delete(h.volumes, fleet.KeeperVolume(FleetName))
	default:
		w.note("FAULT: the keeper of %s ends", h.name)
		c.end(1, byItself)
	}
	return "keeper"
}

// strikeNode has something happen to a node on a host.
func (w *World) strikeNode(r *rand.Rand, h *Host, long time.Duration) string {
	var nodes []*container
	for _, c := range h.containers {
		if _, ok := c.node(); ok && c.running() {
			nodes = append(nodes, c)
		}
	}
	if len(nodes) == 0 || h.condition == off {
		return "nothing"
	}
	slices.SortFunc(nodes, func(a, b *container) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	c := nodes[r.IntN(len(nodes))]
	mayBeSick := "ends"
	if l := w.rules.layerOf(c); l != nil && l.HealthCheck != nil { // else nobody finds out
		mayBeSick = "sick"
	}
	kind := pick(r, "killed", "ends", "ends", mayBeSick, mayBeSick, "removed", "paused", "renamed", "disconnected", "restart policy", "file changed", "limits", "cpuset")
	w.note("FAULT: %s on %s: %s", c.name, h.name, kind)
	if kind == "sick" {
		w.sicken(c, long)
	} else {
		h.meddle(c, kind)
	}
	return kind
}

// sicken has a container not answer for a while.
func (w *World) sicken(c *container, long time.Duration) {
	h := c.host
	c.sickUntil = time.Now().Add(long)
	w.later(execRetries*execInterval, func() { h.tell(c, "health_status: unhealthy"); h.changed(byFault) })
	w.later(long, func() { h.tell(c, "health_status: healthy"); h.changed(byFault) })
	h.changed(byFault)
}

// meddle has somebody, or something, do it to a container.
func (h *Host) meddle(c *container, kind string) {
	switch kind {
	case "killed":
		c.byHand = true
		c.end(137, byFault)
	case "ends":
		c.end(1, byItself)
	case "removed":
		h.remove(c, byFault)
	case "paused":
		c.state = fleet.StatePaused
		h.tell(c, "pause")
		h.changed(byFault)
	case "renamed":
		c.name += "-by-hand"
		h.tell(c, "rename")
		h.changed(byFault)
	case "disconnected":
		for _, name := range slices.Sorted(maps.Keys(c.networks)) {
			h.disconnect(name, c, byFault)
		}
	case "file changed":
		for path := range c.files {
			c.files[path] = file{[]byte("changed by hand"), 0o644, time.Now()}
		}
	case "limits":
		c.resize()
	case "cpuset":
		c.impose()
	case "restart policy":
		c.restart = "no"
		h.tell(c, "update")
		h.changed(byFault)
	}
}

// strikeZone has somebody remove one of our records, or change where it leads or for how long.
func (w *World) strikeZone(r *rand.Rand) string {
	all, err := w.Zone.Records(context.Background())
	if err != nil {
		return "nothing"
	}
	all = slices.DeleteFunc(all, func(o fleet.DNSRecord) bool { return fleet.DNSOwnerFleet(o.Owner) != FleetName })
	if len(all) == 0 {
		return "nothing"
	}
	was := all[r.IntN(len(all))]
	is := was
	switch r.IntN(3) {
	case 0:
		w.note("FAULT: record %s is removed", was)
		w.Zone.Take(func(o fleet.DNSRecord) bool { return o.ID == was.ID })
	case 1:
		is.Content = "198.51.100.99"
		w.note("FAULT: record %s becomes %s", was, is)
		err = w.Zone.Update(context.Background(), was, is)
	default:
		is.TTL = 90 * time.Second
		w.note("FAULT: record %s is for %s", was, is.TTL)
		err = w.Zone.Update(context.Background(), was, is)
	}
	if err != nil {
		return "nothing"
	}
	w.zoneChanged()
	w.rules.meddled[was.Name] = time.Now()
	return "record"
}

// fall has a host be out of reach. The lock is held.
func (h *Host) fall(c condition) {
	h.become(c)
	if c != off {
		return
	}
	for _, o := range slices.Clone(h.containers) {
		o.resumes = o.running() && !o.byHand && (o.restart == "always" || o.restart == "unless-stopped")
		o.end(137, byFault)
	}
}

// rise has it be as it was. The lock is held.
func (h *Host) rise() {
	was := h.condition
	if was == well {
		return
	}
	h.w.note("%s is well again", h.name)
	h.become(well)
	if was != off {
		return
	}
	for _, o := range slices.Clone(h.containers) {
		if o.resumes {
			o.resumes = false
			_ = o.run(byFault) // an address that somebody took: it stays down, as with the engine
		}
	}
}

// heal ends all that goes wrong.
func (w *World) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note("all faults end")
	w.rough = false
	w.Registry.Down(false)
	w.Repo.Down(false)
	w.Repo.Resume()
	for _, name := range w.names {
		h := w.hosts[name]
		h.rise()
		for _, c := range h.containers {
			if c.sickUntil.After(time.Now()) {
				c.sickUntil = time.Now()
				h.tell(c, "health_status: healthy")
			}
		}
		h.changed(byFault)
	}
}
