package docker

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// Occupants reads what all running containers of the host hold, also those that aren't evenkeel's.
func (h *Host) Occupants(ctx context.Context) ([]fleet.Occupant, error) {
	list, err := call(ctx, h, h.read("listing running containers"), func(ctx context.Context, s *session) ([]container.Summary, error) {
		return s.ContainerList(ctx, container.ListOptions{})
	})
	if err != nil {
		return nil, err
	}
	occupants := make([]fleet.Occupant, 0, len(list))
	for i := range list {
		occupants = append(occupants, occupant(&list[i]))
	}
	slices.SortFunc(occupants, func(a, b fleet.Occupant) int { return cmp.Compare(a.Name, b.Name) })
	return occupants, nil
}

func occupant(c *container.Summary) fleet.Occupant {
	o := fleet.Occupant{ID: c.ID, Fleet: c.Labels[fleet.LabelFleet]}
	if len(c.Names) > 0 {
		o.Name = strings.TrimPrefix(c.Names[0], "/")
	}
	if node, err := strconv.Atoi(c.Labels[fleet.LabelNode]); err == nil {
		o.NodeID = fleet.NodeID{Environment: c.Labels[fleet.LabelEnvironment], Layer: c.Labels[fleet.LabelLayer], Node: node}
	}
	if c.NetworkSettings != nil {
		for _, e := range c.NetworkSettings.Networks {
			if a := parseAddr(e.IPAddress); a.IsValid() {
				o.Addresses = append(o.Addresses, a)
			}
		}
	}
	for _, p := range c.Ports {
		if p.PublicPort != 0 {
			o.Ports = append(o.Ports, fleet.Published{Port: p.PrivatePort, Protocol: spec.Protocol(p.Type), HostPort: p.PublicPort})
		}
	}
	slices.SortFunc(o.Ports, func(a, b fleet.Published) int {
		return cmp.Or(cmp.Compare(a.HostPort, b.HostPort), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
	})
	o.Ports = slices.Compact(o.Ports) // bound for IPv4 and for IPv6
	return o
}
