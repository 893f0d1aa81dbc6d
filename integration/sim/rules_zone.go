package sim

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// readAgain is how long after somebody has changed a record evenkeel is expected to know of it.
const readAgain = 90 * time.Second

// led is where a record leads, or led.
type led struct{ name, content string }

// recordGone: a record has been deleted. A name's last one never is, as long as its layer has a node that serves.
func (r *rules) recordGone(was fleet.DNSRecord) {
	r.leads[led{was.Name, was.Content}] = time.Now().Add(cached(was))
	if at, ok := r.meddled[was.Name]; ok && time.Since(at) < readAgain {
		return // what others remain isn't known yet
	}
	for _, l := range r.layersOf(was.Name) {
		if len(r.recordsOf(was.Name)) == 0 && slices.ContainsFunc(r.nodesOf(l), func(id fleet.NodeID) bool { _, out := r.out[id]; return !out }) {
			r.violated("last record: %s has none any more, and nodes of %s serve", was.Name, l)
		}
	}
}

// recordsOf are our records of a name.
func (r *rules) recordsOf(name string) []fleet.DNSRecord {
	all, err := r.w.Zone.Records(context.Background())
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(all, func(o fleet.DNSRecord) bool {
		return o.Name != name || fleet.DNSOwnerFleet(o.Owner) != FleetName || o.Type != fleet.TypeA
	})
}

// layersOf are the layers that a name is to lead to.
func (r *rules) layersOf(name string) []fleet.LayerID {
	var layers []fleet.LayerID
	for e := range r.wanted.Environments {
		for _, n := range r.wanted.Environments[e].DNS {
			if n.Name == name {
				layers = append(layers, fleet.LayerID{Environment: r.wanted.Environments[e].Name, Layer: n.Layer})
			}
		}
	}
	return layers
}

// namesOf are the names that are to lead to a layer.
func (r *rules) namesOf(l fleet.LayerID) []string {
	var names []string
	if e := r.wanted.Environment(l.Environment); e != nil {
		for _, n := range e.DNS {
			if n.Layer == l.Layer {
				names = append(names, n.Name)
			}
		}
	}
	return names
}

func (r *rules) nodesOf(l fleet.LayerID) []fleet.NodeID {
	var nodes []fleet.NodeID
	if layer := r.layer(l); layer != nil {
		for n := 1; n <= layer.Replicas; n++ {
			nodes = append(nodes, fleet.NodeID{Environment: l.Environment, Layer: l.Layer, Node: n})
		}
	}
	return nodes
}

// cached is how long caches may have a record that is deleted.
func cached(r fleet.DNSRecord) time.Duration {
	switch {
	case r.Proxied:
		return 5 * time.Second // they have the provider's own address
	case r.TTL == 0:
		return 300 * time.Second // what the provider takes where it may choose
	}
	return r.TTL
}

// stoppingOutside: neither is anybody sent to a node from outside when it is stopped, but for the last one of a name.
func (r *rules) stoppingOutside(c *container, l fleet.LayerID) {
	if _, bounded := r.mostOut(l); !bounded {
		return // all are out at once, and one of them has to be answered with
	}
	content := publicAddress(c.host.name).String()
	for _, o := range c.host.containers {
		if id, ok := o.node(); ok && id.LayerID() == l && o != c && o.ready() {
			return // the host's record leads to that one, too
		}
	}
	for _, name := range r.namesOf(l) {
		records := r.recordsOf(name)
		leads := slices.ContainsFunc(records, func(o fleet.DNSRecord) bool { return o.Content == content })
		switch until := time.Until(r.leads[led{name, content}]); {
		case leads && len(records) == 1:
			// The last one of its name stays.
		case leads:
			r.violated("external: %s is stopped on %s while %s leads there", c.name, c.host.name, name)
		case until > 0:
			r.violated("external TTL: %s is stopped on %s while caches have %s lead there for another %s", c.name, c.host.name, name, until)
		}
	}
}

// publicAddress is what external records of a host hold.
func publicAddress(host string) netip.Addr {
	return netip.AddrFrom4([4]byte{203, 0, 113, host[1] - '0'})
}

// checkRecords checks that names lead to where their layers' nodes are, and nowhere else.
func (w *World) checkRecords() {
	all, err := w.Zone.Records(context.Background())
	if err != nil {
		w.rules.violated("end: the zone can't be read: %s", err)
		return
	}
	leads := map[led]bool{}
	for _, o := range all {
		if fleet.DNSOwnerFleet(o.Owner) == FleetName {
			leads[led{o.Name, o.Content}] = true
		}
	}
	for e := range w.rules.wanted.Environments {
		for _, n := range w.rules.wanted.Environments[e].DNS {
			l := fleet.LayerID{Environment: w.rules.wanted.Environments[e].Name, Layer: n.Layer}
			for _, name := range w.names {
				there := slices.ContainsFunc(w.hosts[name].containers, func(c *container) bool { id, ok := c.node(); return ok && id.LayerID() == l && c.ready() })
				at := led{n.Name, publicAddress(name).String()}
				if there != leads[at] {
					w.rules.violated("end: %s leads to %s: %t, and a node of %s serves there: %t", n.Name, name, leads[at], l, there)
				}
				delete(leads, at)
			}
		}
	}
	for at := range leads {
		w.rules.violated("leftover: record %s %s", at.name, at.content)
	}
}
