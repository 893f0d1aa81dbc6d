package docker

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// Inspect reads one instance by its container's ID or name.
func (h *Host) Inspect(ctx context.Context, id string) (fleet.Instance, error) {
	facts, err := h.facts(ctx)
	if err != nil {
		return fleet.Instance{}, err
	}
	c, err := h.inspect(ctx, id)
	if err != nil {
		return fleet.Instance{}, err
	}
	in, ok := h.instance(c)
	if !ok {
		return fleet.Instance{}, h.conflict("container", strings.TrimPrefix(c.Name, "/"), c.ID, c.Config.Image, c.Config.Labels)
	}
	in.Limits = in.Limits.Held(facts)
	return in, nil
}

func (h *Host) inspect(ctx context.Context, id string) (container.InspectResponse, error) {
	return call(ctx, h, h.read("reading container "+short(id)), func(ctx context.Context, s *session) (container.InspectResponse, error) {
		return s.ContainerInspect(ctx, id)
	})
}

// instance reads a container that is a node's; false: its labels don't make it one.
func (h *Host) instance(c container.InspectResponse) (fleet.Instance, bool) {
	l := c.Config.Labels
	node, _ := strconv.Atoi(l[fleet.LabelNode])
	generation, _ := strconv.Atoi(l[fleet.LabelGeneration])
	if l[fleet.LabelFleet] == "" || l[fleet.LabelEnvironment] == "" || l[fleet.LabelLayer] == "" || l[fleet.LabelSpec] == "" || node < 1 || generation < 1 {
		return fleet.Instance{}, false
	}
	in := fleet.Instance{
		NodeID: fleet.NodeID{Environment: l[fleet.LabelEnvironment], Layer: l[fleet.LabelLayer], Node: node},
		Host:   h.name, Generation: generation,
		ID: c.ID, Name: strings.TrimPrefix(c.Name, "/"),
		Written: l[fleet.LabelWritten], Spec: l[fleet.LabelSpec], Image: l[fleet.LabelImage], Revision: l[fleet.LabelRevision],
		ImageID: c.Image, RestartCount: c.RestartCount, CreatedAt: parseTime(c.Created),
		Limits:        limits(&c.HostConfig.Resources),
		Imposed:       imposed(&c.HostConfig.Resources),
		RestartPolicy: string(c.HostConfig.RestartPolicy.Name),
		Published:     published(c),
		Volumes:       namedVolumes(c.HostConfig.Mounts),
	}
	in.Mended, _ = strconv.Atoi(l[fleet.LabelMended])
	if c.Config.StopTimeout != nil {
		in.StopGrace = time.Duration(*c.Config.StopTimeout) * time.Second
	}
	if name := fleet.ContainerName(l[fleet.LabelFleet], in.NodeID, generation); in.Name != name {
		in.Renamed = name
	}
	readState(&in, c.State)
	readNetworks(&in, fleet.NetworkName(l[fleet.LabelFleet], in.Environment), c.NetworkSettings.Networks)
	return in, true
}

// readNetworks tells the environment's network from those that it was put onto by hand.
func readNetworks(in *fleet.Instance, own string, networks map[string]*network.EndpointSettings) {
	for name, e := range networks {
		if name != own {
			in.OtherNetworks = append(in.OtherNetworks, name)
			continue
		}
		in.Network, in.NetworkID, in.Address = name, e.NetworkID, endpointAddr(e)
	}
	slices.Sort(in.OtherNetworks)
}

func stranger(c container.InspectResponse) fleet.Stranger {
	return fleet.Stranger{
		ID: c.ID, Name: strings.TrimPrefix(c.Name, "/"), State: fleet.State(c.State.Status), CreatedAt: parseTime(c.Created),
	}
}

func readState(in *fleet.Instance, s *container.State) {
	in.State = fleet.State(s.Status)
	in.ExitCode, in.OOMKilled, in.Error = s.ExitCode, s.OOMKilled, s.Error
	in.StartedAt, in.FinishedAt = parseTime(s.StartedAt), parseTime(s.FinishedAt)
	if s.Health != nil && s.Health.Status != container.NoHealthcheck {
		in.Health, in.FailingStreak = fleet.Health(s.Health.Status), s.Health.FailingStreak
	}
}

// parseTime reads the engine's times; its "never" is the first instant of the year 1.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t
}

// endpointAddr is the address on a network: the one it has, or, while it is stopped, the one it will ask for.
func endpointAddr(e *network.EndpointSettings) netip.Addr {
	if a := parseAddr(e.IPAddress); a.IsValid() {
		return a
	}
	if e.IPAMConfig != nil {
		return parseAddr(e.IPAMConfig.IPv4Address)
	}
	return netip.Addr{}
}

// published are the ports as they are while it runs, else as they were asked for.
func published(c container.InspectResponse) []fleet.Published {
	ports := c.HostConfig.PortBindings
	if c.State.Running && len(c.NetworkSettings.Ports) > 0 {
		ports = c.NetworkSettings.Ports
	}
	var list []fleet.Published
	for port, bindings := range ports {
		for _, b := range bindings {
			list = append(list, publishedPort(port, b))
		}
	}
	slices.SortFunc(list, func(a, b fleet.Published) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.HostPort, b.HostPort))
	})
	return slices.Compact(list) // bound for IPv4 and for IPv6
}

func publishedPort(port nat.Port, b nat.PortBinding) fleet.Published {
	p := fleet.Published{Port: uint16(port.Int()), Protocol: spec.Protocol(port.Proto())}
	if n, err := strconv.ParseUint(b.HostPort, 10, 16); err == nil {
		p.HostPort = uint16(n)
	}
	return p
}

// namedVolumes leaves out those that an image declares and the engine made up names for.
func namedVolumes(mounts []mount.Mount) []string {
	var names []string
	for _, m := range mounts {
		if m.Type == mount.TypeVolume && m.Source != "" {
			names = append(names, m.Source)
		}
	}
	slices.Sort(names)
	return names
}

func linksContainer(c container.InspectResponse) *fleet.LinksContainer {
	l := &fleet.LinksContainer{
		ID: c.ID, Name: strings.TrimPrefix(c.Name, "/"), Image: c.Image, State: fleet.State(c.State.Status),
		RestartPolicy: string(c.HostConfig.RestartPolicy.Name),
	}
	l.Version, _ = strconv.Atoi(c.Config.Labels[fleet.LabelVersion])
	return l
}

func keeper(c container.InspectResponse) fleet.KeeperContainer {
	k := fleet.KeeperContainer{
		ID: c.ID, Name: strings.TrimPrefix(c.Name, "/"), Image: c.Image, State: fleet.State(c.State.Status),
		CreatedAt: parseTime(c.Created), Networks: map[string]netip.Addr{}, RestartPolicy: string(c.HostConfig.RestartPolicy.Name),
	}
	k.Version, _ = strconv.Atoi(c.Config.Labels[fleet.LabelVersion])
	for name, e := range c.NetworkSettings.Networks {
		k.Networks[name] = endpointAddr(e)
	}
	return k
}
