package zone

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// linksPort is the UDP port of the fleet's VXLAN: neither an overlay's of Swarm, 4789, nor what others often take, 8472.
const linksPort = 4790

// Links says how a host's networks are to be joined to those of other hosts. Of hosts that don't answer the newest copy
// says what they carry: nobody is cut off for being out of reach. It is false where the host wasn't read, or nothing is
// to be joined.
func Links(host string, desired *spec.Spec, observed fleet.Observed, networks []plan.EnvironmentNetwork) (fleet.Links, bool) {
	f := &desired.Fleet
	here, entry := observed.Host(host), f.Host(host)
	if f.Network.Driver != spec.NetworkVXLAN || entry == nil || here == nil || !here.Reachable {
		return fleet.Links{}, false
	}
	copied := fleet.NewestCopy(observed)
	if copied.Serial == 0 && someAway(f, observed) {
		return fleet.Links{}, false // what those carry isn't known
	}
	addresses := hostAddresses(f, copied)
	links := fleet.Links{Fleet: f.Name, Local: addresses[host], Port: linksPort}
	if !links.Local.IsValid() {
		return fleet.Links{}, false
	}
	for name := range addresses {
		if name != host {
			links.Hosts = append(links.Hosts, addresses[name])
		}
	}
	links.Hosts = sortedAddresses(links.Hosts)
	carriers := carriersOf(f.Name, observed, copied, networks)
	for i := range here.Networks {
		n := &here.Networks[i]
		if n.Fleet != f.Name || n.Environment == "" || n.Role != "" || n.Bridge == "" || !n.Subnet.Addr().Is4() || !carriers[n.Environment][host] {
			continue
		}
		l := fleet.Link{Environment: n.Environment, Bridge: n.Bridge, ID: fleet.VXLANID(n.Subnet), MTU: cmp.Or(n.MTU, fleet.DefaultMTU)}
		for other := range carriers[n.Environment] {
			if a := addresses[other]; other != host && a.IsValid() {
				l.Peers = append(l.Peers, a)
			}
		}
		l.Peers = sortedAddresses(l.Peers)
		links.Networks = append(links.Networks, l)
	}
	return links, true
}

// someAway says whether hosts of a fleet that has been here before don't answer.
func someAway(f *spec.Fleet, observed fleet.Observed) bool {
	away, traces := false, false
	for i := range observed.Hosts {
		h := &observed.Hosts[i]
		away = away || !h.Reachable && f.Host(h.Name) != nil
		traces = traces || h.Reachable && plan.HasTraces(h, f.Name)
	}
	return away && traces
}

// hostAddresses are the IPv4 addresses of all hosts of the fleet, also of those that were taken out of the spec and that
// the copy still knows.
func hostAddresses(f *spec.Fleet, copied fleet.Copy) map[string]netip.Addr {
	addresses := map[string]netip.Addr{}
	note := func(name, text string) {
		if a, err := netip.ParseAddr(text); err == nil && a.Unmap().Is4() {
			addresses[name] = a.Unmap()
		}
	}
	for i := range copied.Hosts {
		note(copied.Hosts[i].Name, copied.Hosts[i].Address)
	}
	for i := range f.Hosts {
		note(f.Hosts[i].Name, f.Hosts[i].Address)
	}
	return addresses
}

// carriersOf are the hosts that carry each environment's network, as it is planned, as it was seen since, and as it was
// last known of those that don't answer.
func carriersOf(fleetName string, observed fleet.Observed, copied fleet.Copy, networks []plan.EnvironmentNetwork) map[string]map[string]bool {
	carriers := map[string]map[string]bool{}
	note := func(environment, host string) {
		if carriers[environment] == nil {
			carriers[environment] = map[string]bool{}
		}
		carriers[environment][host] = true
	}
	for i := range networks {
		note(networks[i].Environment, networks[i].Host)
	}
	for i := range observed.Hosts {
		for j := range observed.Hosts[i].Networks {
			if n := &observed.Hosts[i].Networks[j]; n.Fleet == fleetName && n.Environment != "" && n.Role == "" {
				note(n.Environment, observed.Hosts[i].Name)
			}
		}
	}
	for i := range copied.Environments {
		e := &copied.Environments[i]
		for _, name := range e.Hosts {
			if h := observed.Host(name); h == nil || !h.Reachable {
				note(e.Name, name)
			}
		}
	}
	return carriers
}

func sortedAddresses(list []netip.Addr) []netip.Addr {
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list)
}
