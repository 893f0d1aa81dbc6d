package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// wish is a port of every host that a layer's nodes may be placed on.
type wish struct {
	layer fleet.LayerID
	port  spec.Port
	hosts []string
}

// wishes are the ports that layers ask for by their number.
func wishes(s *spec.Spec) []wish {
	var list []wish
	for i := range s.Environments {
		for j := range s.Environments[i].Layers {
			l := &s.Environments[i].Layers[j]
			for _, p := range l.Ports {
				if p.Publish != nil && *p.Publish != 0 {
					id := fleet.LayerID{Environment: s.Environments[i].Name, Layer: l.Name}
					list = append(list, wish{id, p, suitable(s, l)})
				}
			}
		}
	}
	return list
}

// suitable are the hosts that a layer's nodes may be placed on, as far as its spec says.
func suitable(s *spec.Spec, l *spec.Layer) []string {
	var names []string
	for i := range s.Fleet.Hosts {
		h := &s.Fleet.Hosts[i]
		fits := h.State == spec.HostActive
		for k, v := range l.Placement.Hosts {
			fits = fits && h.Labels[k] == v
		}
		if fits {
			names = append(names, h.Name)
		}
	}
	return names
}

// ToTry are the ports of hosts that nodes want and that none of the fleet's, nor anybody's container, has: whether
// something else has them can only be tried.
func ToTry(s *spec.Spec, hosts []Patient) []HostPort {
	var list []HostPort
	for _, w := range wishes(s) {
		for i := range hosts {
			c := hosts[i].Checkup
			if w.port.Protocol != spec.TCP || c == nil || !slices.Contains(w.hosts, hosts[i].Name) || holder(c.Occupants, w.port) != nil {
				continue
			}
			list = append(list, HostPort{hosts[i].Name, *w.port.Publish})
		}
	}
	return list
}

func holder(occupants []fleet.Occupant, p spec.Port) *fleet.Occupant {
	for i := range occupants {
		if o := &occupants[i]; o.Holds(netip.Addr{}, []fleet.Published{{HostPort: *p.Publish, Protocol: p.Protocol}}) {
			return o
		}
	}
	return nil
}

// ports finds ports that nodes want and that somebody else has.
func (e *examination) ports() {
	for _, w := range wishes(e.Desired) {
		for i := range e.Hosts {
			p := &e.Hosts[i]
			if p.Checkup == nil || !slices.Contains(w.hosts, p.Name) {
				continue
			}
			by := ""
			switch o := holder(p.Checkup.Occupants, w.port); {
			case o != nil && o.Fleet == e.Desired.Fleet.Name: // the spec lets no two layers have one port
			case o != nil && o.Fleet != "":
				by = fmt.Sprintf("container %s of fleet %s", o.Name, o.Fleet)
			case o != nil:
				by = fmt.Sprintf("container %s, which isn't evenkeel's", o.Name)
			case slices.Contains(e.Listens, HostPort{p.Name, *w.port.Publish}):
				by = "something that is no container with published ports"
			}
			if by == "" {
				continue
			}
			e.report.add(Finding{
				Severity: Problem, Area: Port, Host: p.Name, Subject: fmt.Sprintf("%d/%s", *w.port.Publish, w.port.Protocol),
				What:   fmt.Sprintf("port %d, which %s publishes, is taken by %s: no node of it can start there", *w.port.Publish, w.layer, by),
				Remedy: "stop that one, publish another port, or keep the layer off the host with placement.hosts",
			})
		}
	}
}

// addresses finds networks of environments that overlap what hosts need to reach.
func (e *examination) addresses() {
	ours := e.environmentNetworks()
	for _, n := range ours {
		for i := range e.Desired.Fleet.Hosts {
			h := &e.Desired.Fleet.Hosts[i]
			for _, a := range hostAddresses(h) {
				if n.prefix.Contains(a) {
					e.report.add(Finding{
						Severity: Problem, Area: Address, Host: h.Name, Subject: a.String(),
						What:   fmt.Sprintf("its address is in %s, the network of environment %s: hosts that carry the environment can't reach it", n.prefix, n.environment),
						Remedy: "take the environment out, apply, and put it back: a subnet that is free is chosen then; or give the host another address",
					})
				}
			}
		}
		e.foreignNetworks(n)
	}
}

type environmentNetwork struct {
	environment string
	prefix      netip.Prefix
	hosts       []string
}

// environmentNetworks are those that are there.
func (e *examination) environmentNetworks() []environmentNetwork {
	var list []environmentNetwork
	for i := range e.Observed.Hosts {
		st := &e.Observed.Hosts[i]
		for j := range st.Networks {
			n := &st.Networks[j]
			if n.Fleet != e.Desired.Fleet.Name || n.Environment == "" || !n.Subnet.IsValid() {
				continue
			}
			k := slices.IndexFunc(list, func(l environmentNetwork) bool { return l.environment == n.Environment && l.prefix == n.Subnet })
			if k < 0 {
				k, list = len(list), append(list, environmentNetwork{environment: n.Environment, prefix: n.Subnet})
			}
			list[k].hosts = append(list[k].hosts, st.Name)
		}
	}
	return list
}

// foreignNetworks finds networks that aren't the fleet's with addresses of an environment's, on hosts that carry it.
func (e *examination) foreignNetworks(n environmentNetwork) {
	for _, name := range n.hosts {
		st := e.reached(name)
		if st == nil {
			continue
		}
		for i := range st.Networks {
			other := &st.Networks[i]
			if other.Fleet == e.Desired.Fleet.Name || !other.Subnet.IsValid() || !other.Subnet.Overlaps(n.prefix) {
				continue
			}
			e.report.add(Finding{
				Severity: Problem, Area: Address, Host: name, Subject: other.Name,
				What:   fmt.Sprintf("its network %s (%s) overlaps %s, the network of environment %s", other.Name, other.Subnet, n.prefix, n.environment),
				Remedy: fmt.Sprintf("give that network another subnet: `docker network rm %s` once nothing is on it", other.Name),
			})
		}
	}
}

// hostAddresses are a host's, as the Fleet says, as far as they are no names.
func hostAddresses(h *spec.Host) []netip.Addr {
	texts := []string{h.Address}
	if _, rest, ok := strings.Cut(h.Endpoint, "://"); ok && !strings.HasPrefix(h.Endpoint, "unix:") {
		if i := strings.LastIndex(rest, "@"); i >= 0 {
			rest = rest[i+1:]
		}
		rest, _, _ = strings.Cut(rest, "/")
		texts = append(texts, rest)
	}
	var list []netip.Addr
	for _, t := range texts {
		a, err := netip.ParseAddr(t)
		if ap, e := netip.ParseAddrPort(t); e == nil {
			a, err = ap.Addr(), nil
		}
		if err == nil && !a.IsLoopback() && !slices.Contains(list, a.Unmap()) {
			list = append(list, a.Unmap())
		}
	}
	return list
}
