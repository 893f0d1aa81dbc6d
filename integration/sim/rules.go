package sim

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// cause is who changed something.
type cause string

const (
	byEvenkeel cause = "evenkeel"
	byFault    cause = "a fault"
	byItself   cause = "itself"
	byProbe    cause = "a probe"
)

// rules are what must hold always. The world's lock guards them.
type rules struct {
	w *World
	// wanted is the newest revision; former are the layers of those before it, whose policies may still be followed.
	wanted *spec.Spec
	former map[fleet.LayerID][]former

	out      map[fleet.NodeID]outage    // nodes that don't serve
	back     map[fleet.NodeID]time.Time // when those serve again that a fault had taken out
	answered map[place]bool             // what is answered now
	left     map[place]time.Time        // when an address was last answered with, of those that aren't any more
	leads    map[led]time.Time          // until when caches may have a record that was deleted
	meddled  map[string]time.Time       // when somebody last changed a record of a name
	broken   []string
}

// former is a policy that was in force until a moment.
type former struct {
	layer *spec.Layer
	until time.Time
}

// outage is why and since when a node doesn't serve.
type outage struct {
	by    cause
	since time.Time
}

// place is an address that a host's keeper answers with under a layer's name.
type place struct {
	host    string
	layer   fleet.LayerID
	address netip.Addr
}

func (r *rules) init(w *World) {
	*r = rules{w: w, former: map[fleet.LayerID][]former{}, out: map[fleet.NodeID]outage{}, back: map[fleet.NodeID]time.Time{}, answered: map[place]bool{}, left: map[place]time.Time{}, leads: map[led]time.Time{}, meddled: map[string]time.Time{}}
}

// Violations are the rules that were broken, each with its moment.
func (w *World) Violations() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.rules.broken)
}

// violated notes a broken rule.
func (r *rules) violated(format string, a ...any) {
	text := fmt.Sprintf(format, a...)
	r.w.note("BROKEN: %s", text)
	if len(r.broken) < 20 {
		r.broken = append(r.broken, fmt.Sprintf("%s: %s", time.Since(r.w.begun), text))
	}
}

// load is how processes read a revision's documents.
func (w *World) load(files fs.FS) (*spec.Spec, error) { return loader.Load(files) }

// Want tells what is committed, so that it is known what may be expected.
func (w *World) Want(s *spec.Spec) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &w.rules
	if r.wanted != nil {
		for e := range r.wanted.Environments {
			env := &r.wanted.Environments[e]
			for i := range env.Layers {
				id := fleet.LayerID{Environment: env.Name, Layer: env.Layers[i].Name}
				r.former[id] = append(r.former[id], former{&env.Layers[i], time.Now()})
			}
		}
	}
	r.wanted = s
	r.look(byFault) // what is new isn't there yet
}

// layer is a layer as it is wanted now, or nil.
func (r *rules) layer(id fleet.LayerID) *spec.Layer {
	if r.wanted == nil {
		return nil
	}
	if e := r.wanted.Environment(id.Environment); e != nil {
		return e.Layer(id.Layer)
	}
	return nil
}

// layerOf is the layer of a container as it is wanted now, or nil.
func (r *rules) layerOf(c *container) *spec.Layer {
	id, ok := c.node()
	if !ok {
		return nil
	}
	return r.layer(id.LayerID())
}

// followed is how long after a commit an operation under the policy before it may still be at hand.
const followed = 3 * time.Minute

// policies are all that may be followed now.
func (r *rules) policies(id fleet.LayerID) []*spec.Layer {
	var list []*spec.Layer
	if l := r.layer(id); l != nil {
		list = append(list, l)
	}
	for _, f := range r.former[id] {
		if time.Since(f.until) < followed {
			list = append(list, f.layer)
		}
	}
	return list
}

// mostOut is how many nodes of a layer may be out at a time; false: any number.
func (r *rules) mostOut(id fleet.LayerID) (most int, bounded bool) {
	for _, l := range r.policies(id) {
		if l.Update.Strategy != spec.Sequential || l.Replicas < 2 {
			return 0, false
		}
		most = max(most, l.Update.MaxUnavailable)
	}
	return most, true
}

// ttl is how long an answer may be remembered.
func (r *rules) ttl() time.Duration { return r.wanted.Fleet.Internal.TTL }

// look looks at the whole world after a change.
func (r *rules) look(by cause) {
	if r.wanted == nil {
		return
	}
	serving := r.serving()
	touched := map[fleet.LayerID]bool{}
	now := time.Now()
	for e := range r.wanted.Environments {
		env := &r.wanted.Environments[e]
		for i := range env.Layers {
			for n := 1; n <= env.Layers[i].Replicas; n++ {
				id := fleet.NodeID{Environment: env.Name, Layer: env.Layers[i].Name, Node: n}
				_, out := r.out[id]
				switch {
				case serving[id]:
					if o, was := r.out[id]; was && o.by != byEvenkeel {
						r.back[id] = now
					}
					delete(r.out, id)
				case !out:
					r.out[id] = outage{by, now}
					r.w.note("%s doesn't serve any more, by %s", id, by)
					touched[id.LayerID()] = touched[id.LayerID()] || by == byEvenkeel
				}
			}
		}
	}
	for id, was := range touched {
		if was {
			r.guard(id)
		}
	}
}

// known is how long after a fault evenkeel is expected to know of it.
const known = 45 * time.Second

// guard: evenkeel never takes a node out that has to serve. What a fault has taken out counts as soon as evenkeel has
// to know of it.
func (r *rules) guard(id fleet.LayerID) {
	most, bounded := r.mostOut(id)
	l := r.layer(id)
	if !bounded || l == nil {
		return
	}
	var out []string
	for n := 1; n <= l.Replicas; n++ {
		node := fleet.NodeID{Environment: id.Environment, Layer: id.Layer, Node: n}
		o, is := r.out[node]
		if is && (o.by == byEvenkeel || time.Since(o.since) > known && !(l.HealthCheck == nil && r.answers(node))) {
			out = append(out, fmt.Sprintf("%d (by %s, for %s)", n, o.by, time.Since(o.since)))
		}
	}
	if len(out) > most {
		r.violated("guard: of %s %s don't serve; at most %d may", id, strings.Join(out, ", "), most)
	}
}

// answers says whether a node runs and is to be found. Where nothing checks it, more than that can't be known.
func (r *rules) answers(id fleet.NodeID) bool {
	for _, name := range r.w.names {
		for _, c := range r.w.hosts[name].containers {
			if of, ok := c.node(); ok && of == id && c.running() && r.w.hosts[name].condition == well && r.found(c) {
				return true
			}
		}
	}
	return false
}

// found says whether a container's keeper has it among those that are to be found, on its environment's network.
func (r *rules) found(c *container) bool {
	k := c.host.serving()
	if k == nil {
		return false
	}
	id, _ := c.node()
	has, _ := k.has(c)
	return has && c.networks[fleet.NetworkName(FleetName, id.Environment)].address.IsValid()
}

// serving are the nodes that run, answer, and are in the answers of their host's name server. It also notes what is
// answered now.
func (r *rules) serving() map[fleet.NodeID]bool {
	serving, answered := map[fleet.NodeID]bool{}, map[place]bool{}
	for _, name := range r.w.names {
		h := r.w.hosts[name]
		k := h.serving()
		if k == nil || h.condition == off {
			continue
		}
		answers := map[fleet.LayerID][]netip.Addr{}
		for _, c := range h.containers {
			id, ok := c.node()
			if !ok {
				continue
			}
			l := id.LayerID()
			if _, asked := answers[l]; !asked {
				var kept bool
				answers[l], kept = k.answers(l)
				for _, a := range answers[l] {
					if !kept {
						answered[place{name, l, a}] = true
					}
				}
			}
			has, kept := k.has(c)
			_, out := r.out[id]
			if c.ready() && (has || kept && !out) && slices.Contains(answers[l], c.networks[fleet.NetworkName(FleetName, id.Environment)].address) {
				serving[id] = true
			}
		}
	}
	for p := range r.answered {
		if !answered[p] {
			r.left[p] = time.Now()
		}
	}
	r.answered = answered
	return serving
}

// late is how much later than a fault ends something may come that was said of it.
const late = 100 * time.Millisecond

// zoned: a keeper has been told a zone. No name that had an answer is left without one while there is a node for it.
func (r *rules) zoned(k *keeper, before, after *fleet.Zone) {
	h := k.c.host
	layers := map[fleet.LayerID]bool{}
	for i := range before.Nodes {
		if b := &before.Nodes[i]; !b.Candidate && (b.Out == "" || strings.HasPrefix(b.Out, "withdrawn")) {
			layers[before.Nodes[i].LayerID()] = true
		}
	}
	for _, l := range slices.SortedFunc(maps.Keys(layers), fleet.LayerID.Compare) {
		if answers, _ := k.answers(l); len(answers) > 0 || r.layer(l) == nil {
			continue
		}
		for _, c := range h.containers {
			id, ok := c.node()
			if o, out := r.out[id]; out && o.by != byEvenkeel || time.Since(r.back[id]) < late {
				continue // what was told in a fault may come late
			}
			if ok && id.LayerID() == l && c.ready() && id.Node <= r.layer(l).Replicas && c.networks[fleet.NetworkName(FleetName, id.Environment)].address.IsValid() {
				r.violated("last record: %s has no answer on %s any more, and %s runs there", l, h.name, c.name)
			}
		}
	}
	if withdraws(before, after) {
		h.changed(byEvenkeel)
		return
	}
	h.changed(byFault) // it says what a fault has made of a node
}

// withdraws says whether a zone has a node withdrawn that the one before it hadn't.
func withdraws(before, after *fleet.Zone) bool {
	for i := range after.Nodes {
		n := &after.Nodes[i]
		was := slices.IndexFunc(before.Nodes, func(b fleet.ZoneNode) bool { return b.NodeID == n.NodeID && !b.Candidate })
		if !n.Candidate && strings.HasPrefix(n.Out, "withdrawn") && (was < 0 || before.Nodes[was].Out != n.Out) {
			return true
		}
	}
	return false
}

// starting: of no node two containers run.
func (r *rules) starting(c *container) {
	id, ok := c.node()
	if !ok {
		r.touching("container", c.name, c.labels)
		return
	}
	for _, name := range r.w.names {
		for _, o := range r.w.hosts[name].containers {
			if other, is := o.node(); is && other == id && o != c && o.running() && r.w.hosts[name].condition == well {
				r.violated("one instance: %s is started on %s while %s runs on %s", c.name, c.host.name, o.name, name)
			}
		}
	}
}

// stopping: a node is stopped no earlier than nobody is sent to it any more.
func (r *rules) stopping(c *container) {
	id, ok := c.node()
	if !ok {
		r.touching("container", c.name, c.labels)
		return
	}
	h, l := c.host, id.LayerID()
	k := h.serving()
	if r.wanted == nil || k == nil || !c.ready() {
		return
	}
	for _, p := range r.policies(l) {
		if !p.Update.RemoveFromDNS {
			return
		}
	}
	o, out := r.out[id]
	served := !out || o.by == byEvenkeel // else a probe or a fault took it out: nobody waits for what doesn't serve
	if served {
		r.stoppingOutside(c, l)
	}
	address := c.networks[fleet.NetworkName(FleetName, id.Environment)].address
	if z := slices.IndexFunc(k.disk.zone.Nodes, func(n fleet.ZoneNode) bool { return n.Instance == c.id }); z < 0 {
		return // nobody was ever sent to it
	}
	answers, kept := k.answers(l)
	switch last := r.left[place{h.name, l, address}]; {
	case kept, slices.Equal(answers, []netip.Addr{address}):
		// The last ones of a name stay.
	case slices.Contains(answers, address):
		r.violated("withdrawal: %s is stopped on %s while %s is answered with %v", c.name, h.name, l, answers)
	case served && time.Since(last) < r.ttl():
		r.violated("TTL: %s is stopped on %s %s after %s was answered with it", c.name, h.name, time.Since(last), l)
	}
}

// touching: what isn't ours is never changed.
func (r *rules) touching(what, name string, labels map[string]string) {
	if of := labels[fleet.LabelFleet]; of != FleetName && !r.w.instant {
		r.violated("foreign: %s %s of %s was changed", what, name, cmp.Or(of, "nobody's fleet"))
	}
}

// removing: neither is it removed, nor is any volume.
func (r *rules) removing(what, name string, labels map[string]string) {
	r.touching(what, name, labels)
	if what == "volume" && !r.w.instant {
		r.violated("volume: %s was removed", name)
	}
}
