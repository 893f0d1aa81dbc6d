package sim

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Fail notes that something isn't as it has to be.
func (w *World) Fail(format string, a ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rules.violated(format, a...)
}

// leftovers checks that there is what is wanted, and nothing else of the fleet's.
func (w *World) leftovers(now wishes) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wanted := map[fleet.NodeID]int{}
	inhabited := map[string]bool{}
	for i := range now.layers {
		l := &now.layers[i]
		for n := 1; n <= l.replicas; n++ {
			wanted[fleet.NodeID{Environment: l.environment, Layer: l.name, Node: n}] = 0
		}
		inhabited[l.environment] = true
	}
	serving := w.rules.serving()
	w.checkRecords()
	for _, name := range w.names {
		h := w.hosts[name]
		for _, c := range h.containers {
			id, ok := c.node()
			if !ok {
				continue
			}
			if n, is := wanted[id]; !is || n > 0 || !c.ready() {
				w.rules.violated("leftover: %s (%s) on %s", c.name, c.state, name)
			}
			wanted[id]++
		}
		for _, n := range h.networks {
			if n.Fleet == FleetName && n.Environment != "" && !inhabited[n.Environment] {
				w.rules.violated("leftover: network %s on %s", n.Name, name)
			}
		}
		w.checkZone(h, wanted)
	}
	for _, id := range slices.SortedFunc(maps.Keys(wanted), fleet.NodeID.Compare) {
		if wanted[id] != 1 || !serving[id] {
			w.rules.violated("end: %s has %d instances, serving: %t", id, wanted[id], serving[id])
		}
	}
}

func (w *World) checkZone(h *Host, wanted map[fleet.NodeID]int) {
	k := h.serving()
	if k == nil {
		w.rules.violated("end: %s has no keeper", h.name)
		return
	}
	for _, n := range k.disk.zone.Nodes {
		c := h.find(n.Instance)
		if _, is := wanted[n.NodeID]; !is || c == nil || n.Out != "" || n.Candidate {
			w.rules.violated("leftover: name of %s (%s, out: %q) on %s", n.NodeID, n.Instance, n.Out, h.name)
		}
	}
}

// addStrangers puts things on the hosts that aren't the fleet's, some of which look as if they were.
func (w *World) addStrangers() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, name := range w.names {
		h := w.hosts[name]
		id := fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}
		labels := []map[string]string{nil, {fleet.LabelFleet: "other", fleet.LabelEnvironment: "shop", fleet.LabelLayer: "web",
			fleet.LabelNode: "1", fleet.LabelGeneration: "1", fleet.LabelSpec: "v1:x"}, {"com.example": "x"}}[i%3]
		c := h.make(fleet.ContainerName("other", id, 1), "foreign:1", labels)
		h.addNetwork(fleet.Network{Name: "bridge", Driver: "bridge", Subnet: netip.MustParsePrefix("172.17.0.0/16"), Gateway: netip.MustParseAddr("172.17.0.1")})
		h.addNetwork(fleet.Network{Name: "evenkeel_other_shop", Fleet: "other", Environment: "shop", Driver: "bridge", Subnet: netip.MustParsePrefix("10.99.0.0/22"), Gateway: netip.MustParseAddr("10.99.0.1")})
		c.networks["bridge"] = endpoint{network: h.network("bridge").ID, address: netip.MustParseAddr("172.17.0.2")}
		c.restart = "unless-stopped"
		if err := c.run(byFault); err != nil {
			w.rules.violated("a stranger doesn't run: %s", err)
		}
		h.volumes["theirs"] = &volume{}
	}
	for _, r := range []fleet.DNSRecord{
		{Name: "web." + zoneName, Type: fleet.TypeA, Content: "198.51.100.7"}, {Name: zoneName, Type: "TXT", Content: "theirs"},
		{Name: "shop." + zoneName, Type: fleet.TypeA, Content: "198.51.100.8", Owner: fleet.DNSOwner("other", "shop")},
	} {
		if err := w.Zone.Put(r); err != nil {
			w.rules.violated("a stranger's record: %s", err)
		}
	}
	return w.strangers()
}

// strangers is all that isn't the fleet's.
func (w *World) strangers() map[string]string {
	all := map[string]string{}
	records, err := w.Zone.Records(context.Background())
	for _, r := range records {
		if fleet.DNSOwnerFleet(r.Owner) != FleetName {
			all["record "+r.ID] = fmt.Sprint(r, err)
		}
	}
	for _, name := range w.names {
		h := w.hosts[name]
		for _, c := range h.containers {
			if c.labels[fleet.LabelFleet] != FleetName {
				all[name+" container "+c.id] = c.name + " " + string(c.state) + " " + c.restart
			}
		}
		for _, n := range h.networks {
			if n.Fleet != FleetName {
				all[name+" network "+n.ID] = n.Name
			}
		}
		for v := range h.volumes {
			if h.volumes[v].labels[fleet.LabelFleet] == "" {
				all[name+" volume "+v] = v
			}
		}
	}
	return all
}

func (w *World) checkStrangers(before map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := w.strangers(); !maps.Equal(before, now) {
		w.rules.violated("foreign: %v became %v", before, now)
	}
}
