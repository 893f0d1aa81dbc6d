package plan

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// RestartPolicy is the engine's that every node has: without one, containers stay down after a power cut.
const RestartPolicy = "unless-stopped"

// KeeperRestartPolicy is the engine's that every keeper has: also one that was stopped by hand is back with its host.
const KeeperRestartPolicy = "always"

// mend puts back what was changed by hand of nodes that stay as they are, and that can be put back without
// interrupting them: no commit ever asks for it. What needs an operation is found by decide.
//
//	the current instance         | operation
//	has another name             | rename
//	has another restart policy   | update
//	is on a network of others    | disconnect
//	isn't on its own network     | connect, before anything is started
func (w *world) mend(l *layer) {
	if !w.fleet.SelfHeal || l.spec == nil {
		return
	}
	touched := map[int]bool{}
	for i := range l.out.Operations {
		if k := l.out.Operations[i].Kind; k == Create || k == Redeploy || k == Remove {
			touched[l.out.Operations[i].Node] = true
		}
	}
	for _, n := range l.nodes {
		cur := n.current()
		if cur == nil || !n.wanted || n.wait != "" || touched[n.id.Node] {
			continue
		}
		if h := w.byHost[cur.Host]; h.spec != nil && h.mute == "" {
			w.mendNode(h, n, cur)
		}
	}
}

func (w *world) mendNode(h *host, n *node, cur *fleet.Instance) {
	add := func(operation, network string, address netip.Addr, c Cause) {
		w.plan.Hosts = append(w.plan.Hosts, HostOperation{
			Host: h.name, Operation: operation, What: "container", Name: cur.Name, Causes: []Cause{c},
			Environment: n.id.Environment, Instance: cur, Network: network, Address: address,
		})
	}
	if cur.Renamed != "" {
		add("rename", "", netip.Addr{}, Cause{Field: "name", From: cur.Name, To: cur.Renamed})
	}
	if cur.RestartPolicy != RestartPolicy {
		add("update", "", netip.Addr{}, Cause{Field: "restart policy", From: cur.RestartPolicy, To: RestartPolicy})
	}
	for _, other := range cur.OtherNetworks {
		add("disconnect", other, netip.Addr{}, Cause{Field: "network", From: other})
	}
	if w.attached(cur) || w.network(n.id.Environment, h.name) == nil {
		return
	}
	name := fleet.NetworkName(w.fleet.Name, n.id.Environment)
	s := w.subnets[n.id.Environment]
	address := cur.Address
	if !s.ofNodes(address) {
		var free bool
		if address, free = s.allocate(); !free {
			return // what has no address waits, and keep says so where that holds an operation up
		}
	}
	add("connect", name, address, Cause{Field: "network", To: name})
}

// attached says whether an instance is on its environment's network: on the one that is there now, not on one
// of the same name that is gone.
func (w *world) attached(in *fleet.Instance) bool {
	if in.Network == "" {
		return false
	}
	there := hasNetwork(w.byHost[in.Host], in.Network)
	return there != nil && (there.ID == "" || in.NetworkID == "" || there.ID == in.NetworkID)
}

// mendKeeper gives a keeper its restart policy back, puts it back onto its way out, and takes it off the networks of
// others.
func (w *world) mendKeeper(h *host, k *fleet.KeeperContainer) {
	if k.RestartPolicy != KeeperRestartPolicy {
		w.plan.Hosts = append(w.plan.Hosts, HostOperation{
			Host: h.name, Operation: "update", What: "keeper", Name: k.Name,
			Causes: []Cause{{Field: "restart policy", From: k.RestartPolicy, To: KeeperRestartPolicy}},
		})
	}
	uplink := fleet.UplinkName(w.fleet.Name)
	if _, on := k.Networks[uplink]; !on {
		w.onHost(h, "connect", "keeper", uplink, "")
	}
	if !w.fleet.SelfHeal {
		return
	}
	var others []string
	for name := range k.Networks {
		if there := hasNetwork(h, name); there != nil && there.Fleet != w.fleet.Name {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	for _, name := range others {
		w.onHost(h, "disconnect", "keeper", name, "")
	}
}

// applied are the specs that layers were brought to, as keepers know them: a layer's hash by its host.
func (w *world) readApplied() {
	for _, h := range w.hosts {
		if !h.up() || h.state.Keeper == nil {
			continue
		}
		for _, a := range h.state.Keeper.AppliedRead(w.appliedRead) {
			l := w.byLayer[a.Layer]
			brought := l != nil && l.spec != nil && l.brought == a.AppliedRecord
			if brought {
				l.noted = append(l.noted, h)
			}
			switch {
			case h.spec == nil:
				continue
			case brought:
				l.applied = true
				continue
			}
			// It would be taken for the truth should that spec ever come back.
			w.plan.Records = append(w.plan.Records, RecordWrite{Host: h.name, Key: fleet.AppliedKey(a.Layer)})
		}
	}
}

// compareParts orders operations on one host that are alike.
func compareParts(a, b HostOperation) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Environment, b.Environment), cmp.Compare(a.Network, b.Network))
}
