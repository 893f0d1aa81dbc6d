package keeper

import (
	"fmt"
	"net/netip"
	"regexp"
	"time"

	"github.com/evenkeel/evenkeel/keeper/probe"
	"github.com/evenkeel/evenkeel/keeper/store"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// Limits of a zone.
const (
	maxNetworks = 1024
	maxNodes    = 1 << 15 // those on other hosts that its nodes may reach included
	maxProbes   = 16      // of one node
	maxTTL      = time.Hour
)

var (
	label  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	domain = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// CheckZone refuses what can't be served. What passes can't harm the keeper.
func CheckZone(z *fleet.Zone) error {
	switch {
	case len(z.Domain) > 120 || !domain.MatchString(z.Domain):
		return invalid("domain %q isn't a DNS name", z.Domain)
	case z.TTL < 0 || z.TTL > maxTTL:
		return invalid("ttl %s: it has to be between 0s and %s", z.TTL, maxTTL)
	case len(z.Networks) > maxNetworks:
		return invalid("%d networks, at most %d are served", len(z.Networks), maxNetworks)
	case len(z.Nodes) > maxNodes:
		return invalid("%d nodes, at most %d are served", len(z.Nodes), maxNodes)
	}
	environments, err := checkNetworks(z)
	if err != nil {
		return err
	}
	return checkNodes(z, environments)
}

func checkNetworks(z *fleet.Zone) (environments map[string]bool, err error) {
	environments = make(map[string]bool, len(z.Networks))
	addresses := make(map[netip.Addr]string, len(z.Networks))
	for _, n := range z.Networks {
		switch {
		case !label.MatchString(n.Environment):
			return nil, invalid("network %q: environment %q isn't a DNS label", n.Name, n.Environment)
		case environments[n.Environment]:
			return nil, invalid("environment %s has two networks", n.Environment)
		case !n.Address.Is4() || n.Address.IsUnspecified() || !n.Subnet.IsValid() || !n.Subnet.Contains(n.Address):
			return nil, invalid("environment %s: the keeper's address %s isn't an IPv4 address in %s", n.Environment, n.Address, n.Subnet)
		case addresses[n.Address] != "":
			return nil, invalid("environments %s and %s have the keeper at the same address %s", addresses[n.Address], n.Environment, n.Address)
		}
		for _, l := range n.Layers {
			if !label.MatchString(l) {
				return nil, invalid("environment %s: layer %q isn't a DNS label", n.Environment, l)
			}
		}
		environments[n.Environment], addresses[n.Address] = true, n.Environment
	}
	return environments, nil
}

func checkNodes(z *fleet.Zone, environments map[string]bool) error {
	current := make(map[fleet.NodeID]string, len(z.Nodes))
	instances := make(map[string]bool, len(z.Nodes))
	for i := range z.Nodes {
		n := &z.Nodes[i]
		switch {
		case !label.MatchString(n.Layer) || n.Node < 1:
			return invalid("node %s: its layer has to be a DNS label and its ordinal at least 1", n.NodeID)
		case !environments[n.Environment]:
			return invalid("node %s: the zone has no network of its environment", n.NodeID)
		case n.Address.IsValid() && (!n.Address.Is4() || n.Address.IsUnspecified()):
			return invalid("node %s: %s isn't an IPv4 address", n.NodeID, n.Address)
		case n.Instance == "" || instances[n.Instance]:
			return invalid("node %s: instance %q has to be named, once", n.NodeID, n.Instance)
		case !n.Candidate && current[n.NodeID] != "":
			return invalid("node %s: both %s and %s are its current instance", n.NodeID, current[n.NodeID], n.Instance)
		}
		instances[n.Instance] = true
		if !n.Candidate {
			current[n.NodeID] = n.Instance
		}
		if err := checkProbes(n); err != nil {
			return err
		}
		if err := checkServices(n); err != nil {
			return err
		}
	}
	return nil
}

func checkProbes(n *fleet.ZoneNode) error {
	if len(n.Probes) > maxProbes {
		return invalid("node %s: %d probes, at most %d are run", n.NodeID, len(n.Probes), maxProbes)
	}
	for _, p := range n.Probes {
		if p.Port == 0 || p.Interval < 0 || p.Timeout < 0 || p.StartPeriod < 0 || p.Retries < 0 || len(p.Path) > 2048 {
			return invalid("node %s: probe of port %d: a port is needed, and nothing may be negative", n.NodeID, p.Port)
		}
	}
	return nil
}

func checkServices(n *fleet.ZoneNode) error {
	if len(n.Services) > fleet.MaxServices {
		return invalid("node %s: %d services, at most %d are named", n.NodeID, len(n.Services), fleet.MaxServices)
	}
	names := map[string]bool{}
	for _, s := range n.Services {
		if !label.MatchString(s.Name) || s.Protocol != spec.TCP && s.Protocol != spec.UDP || s.Port == 0 || names[s.Name] {
			return invalid("node %s: service %q: it needs a name of its own, which is a DNS label, tcp or udp, and a port", n.NodeID, s.Name)
		}
		names[s.Name] = true
	}
	return nil
}

func invalid(format string, a ...any) error {
	return &store.InvalidError{Why: fmt.Sprintf(format, a...)}
}

// The probe's values where the zone has none, and the least that is asked of a node.
const (
	defaultInterval = 5 * time.Second
	leastInterval   = 50 * time.Millisecond
	defaultTimeout  = 2 * time.Second
)

// Targets are the zone's nodes as they are probed.
func Targets(z *fleet.Zone) []probe.Target {
	source := make(map[string]netip.Addr, len(z.Networks))
	for _, n := range z.Networks {
		source[n.Environment] = n.Address
	}
	all := make([]probe.Target, 0, len(z.Nodes))
	for _, n := range z.Nodes {
		probes := make([]fleet.Probe, len(n.Probes))
		for i, p := range n.Probes {
			if p.Interval == 0 {
				p.Interval = defaultInterval
			}
			if p.Timeout == 0 {
				p.Timeout = defaultTimeout
			}
			p.Interval = max(p.Interval, leastInterval)
			probes[i] = p
		}
		n.Probes = probes
		all = append(all, probe.Target{ZoneNode: n, Source: source[n.Environment], Name: fleet.NodeDomain(n.NodeID, z.Domain)})
	}
	return all
}
