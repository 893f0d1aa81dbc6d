package plan

import (
	"slices"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// links makes, starts or replaces what joins a host's networks to those of others, and removes it where they aren't to be
// joined.
func (w *world) links(h *host) {
	l, name := h.state.Links, fleet.LinksName(w.fleet.Name)
	wanted := w.fleet.Network.Driver == spec.NetworkVXLAN
	switch {
	case h.mute != "" || !wanted && l == nil:
	case !wanted:
		w.onHost(h, "remove", "links", l.Name, "")
	case l == nil:
		w.onHost(h, "create", "links", name, "")
	case l.Version < w.in.KeeperVersion:
		w.onHost(h, "replace", "links", name, "")
	case !LinksRun(l):
		w.onHost(h, "start", "links", name, "")
	case l.RestartPolicy != KeeperRestartPolicy:
		w.plan.Hosts = append(w.plan.Hosts, HostOperation{
			Host: h.name, Operation: "update", What: "links", Name: l.Name,
			Causes: []Cause{{Field: "restart policy", From: l.RestartPolicy, To: KeeperRestartPolicy}},
		})
	}
}

// LinksRun says whether what joins a host's networks is at work, or about to be.
func LinksRun(l *fleet.LinksContainer) bool {
	return l.State == fleet.StateRunning || l.State == fleet.StateRestarting
}

// NetworkMTU is that of an environment's network on one more host, in bytes: as on the hosts that carry it, else what the
// fleet's own links have room for, as far as they are known. carries are the MTUs of hosts' links; 0: not known.
func NetworkMTU(observed fleet.Observed, fleetName, environment string, carries []int) int {
	name := fleet.NetworkName(fleetName, environment)
	for i := range observed.Hosts {
		for j := range observed.Hosts[i].Networks {
			n := &observed.Hosts[i].Networks[j]
			switch {
			case n.Name != name || n.Fleet != fleetName:
			case n.MTU == 0:
				return fleet.DefaultMTU
			default:
				return n.MTU
			}
		}
	}
	carries = slices.DeleteFunc(slices.Clone(carries), func(mtu int) bool { return mtu <= fleet.VXLANOverhead })
	if len(carries) == 0 {
		return fleet.DefaultMTU - fleet.VXLANOverhead
	}
	return min(slices.Min(carries), fleet.DefaultMTU) - fleet.VXLANOverhead
}
