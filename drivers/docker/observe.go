package docker

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/api/types/volume"
	"golang.org/x/sync/errgroup"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// inspectsAtOnce is where reading more containers at a time stops being faster.
const inspectsAtOnce = 4

// Observe reads what a host has of a fleet. It does not fail: where any part could not be read nothing
// else is told, since what is missing from a partial answer could be taken for absent.
func (h *Host) Observe(ctx context.Context, fleetName string) fleet.HostState {
	st := fleet.HostState{Name: h.name, Reachable: true}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { st.Engine, err = h.facts(gctx); return err })
	g.Go(func() (err error) { st.Networks, err = h.networks(gctx); return err })
	g.Go(func() (err error) { st.Volumes, err = h.volumes(gctx, fleetName); return err })
	g.Go(func() error { return h.containers(gctx, fleetName, &st) })
	if err := g.Wait(); err != nil {
		return fleet.HostState{Name: h.name, Problem: unread(err).Error()}
	}
	for i := range st.Instances {
		in := &st.Instances[i]
		in.Limits = in.Limits.Held(st.Engine)
	}
	st.Addresses = h.addresses(st.Networks)
	return st
}

// unread is why a host could not be read. Which of the calls side by side was the first to find nobody there is chance,
// and isn't told: what is said of a host that stays away is to stay the same.
func unread(err error) error {
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, fleet.ErrUnreachable) {
		return err
	}
	away := *e
	away.Doing = "reading what is there"
	return &away
}

// facts are read once for each connection: they change with the engine only.
func (h *Host) facts(ctx context.Context) (fleet.Engine, error) {
	return call(ctx, h, h.read("reading the engine's facts"), func(ctx context.Context, s *session) (fleet.Engine, error) {
		return s.readFacts(ctx)
	})
}

func (s *session) readFacts(ctx context.Context) (fleet.Engine, error) {
	s.mu.Lock()
	known := s.facts
	s.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	info, err := s.Info(ctx)
	if err != nil {
		return fleet.Engine{}, err
	}
	e := fleet.Engine{
		ID: info.ID, Name: info.Name, Version: info.ServerVersion, APIVersion: s.ClientVersion(),
		OS: info.OSType, Arch: goArch(info.Architecture), StorageDriver: info.Driver,
		CPUs: info.NCPU, Memory: spec.Bytes(info.MemTotal), Unproven: unproven(info.RegistryConfig),
		Mirrored:    info.RegistryConfig != nil && len(info.RegistryConfig.Mirrors) > 0,
		NoSwapLimit: !info.SwapLimit, NoPidsLimit: !info.PidsLimit,
	}
	s.mu.Lock()
	s.facts = &e
	s.mu.Unlock()
	return e, nil
}

// unproven lists the registries that an engine was told to trust as they are.
func unproven(c *registry.ServiceConfig) []string {
	if c == nil {
		return nil
	}
	var list []string
	for name, index := range c.IndexConfigs {
		if index != nil && !index.Secure {
			list = append(list, name)
		}
	}
	for _, network := range c.InsecureRegistryCIDRs {
		if network != nil {
			list = append(list, (*net.IPNet)(network).String())
		}
	}
	slices.Sort(list)
	return list
}

// goArch translates the kernel's name of an architecture into Go's.
func goArch(machine string) string {
	switch machine {
	case "x86_64":
		return "amd64"
	case "aarch64", "armv8l":
		return "arm64"
	case "armv7l", "armv6l":
		return "arm"
	case "i386", "i686":
		return "386"
	}
	return machine
}

// containers reads evenkeel's containers with one list for all fleets and an inspect for each of ours.
func (h *Host) containers(ctx context.Context, fleetName string, st *fleet.HostState) error {
	list, err := call(ctx, h, h.read("listing containers"), func(ctx context.Context, s *session) ([]container.Summary, error) {
		return s.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", fleet.LabelFleet))})
	})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(inspectsAtOnce)
	for _, c := range list {
		if of := c.Labels[fleet.LabelFleet]; of != fleetName {
			if st.OtherFleets == nil {
				st.OtherFleets = map[string]int{}
			}
			st.OtherFleets[of]++
			continue
		}
		g.Go(func() error {
			c, err := h.inspect(gctx, c.ID)
			if errors.Is(err, fleet.ErrNotFound) {
				return nil // removed since it was listed
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			h.sort(c, st)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	slices.SortFunc(st.Instances, func(a, b fleet.Instance) int {
		return cmp.Or(a.Compare(b.NodeID), cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(st.Keepers, func(a, b fleet.KeeperContainer) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	fleet.SortStrangers(st.Strangers)
	return nil
}

// sort puts a container where it belongs: with the nodes, with the keepers, or with the strangers. A helper
// comes and goes by itself.
func (h *Host) sort(c container.InspectResponse, st *fleet.HostState) {
	role := c.Config.Labels[fleet.LabelRole]
	in, node := h.instance(c)
	switch {
	case role == fleet.RoleHelper:
	case role == fleet.RoleKeeper:
		st.Keepers = append(st.Keepers, keeper(c))
	case role == fleet.RoleLinks && st.Links == nil:
		st.Links = linksContainer(c)
	case role == "" && node:
		st.Instances = append(st.Instances, in)
	default:
		st.Strangers = append(st.Strangers, stranger(c))
	}
}

func (h *Host) networks(ctx context.Context) ([]fleet.Network, error) {
	list, err := call(ctx, h, h.read("listing networks"), func(ctx context.Context, s *session) ([]network.Summary, error) {
		return s.NetworkList(ctx, network.ListOptions{})
	})
	if err != nil {
		return nil, err
	}
	networks := make([]fleet.Network, 0, len(list))
	for _, n := range list {
		networks = append(networks, fleetNetwork(n))
	}
	slices.SortFunc(networks, func(a, b fleet.Network) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return networks, nil
}

func fleetNetwork(n network.Summary) fleet.Network {
	f := fleet.Network{
		ID: n.ID, Name: n.Name, Driver: n.Driver,
		Fleet: n.Labels[fleet.LabelFleet], Environment: n.Labels[fleet.LabelEnvironment], Role: n.Labels[fleet.LabelRole],
		Bridge: bridgeOf(n),
	}
	f.MTU, _ = strconv.Atoi(n.Options[optionMTU])
	for _, c := range n.IPAM.Config {
		subnet, err := netip.ParsePrefix(c.Subnet)
		if err != nil || !subnet.Addr().Is4() {
			continue
		}
		f.Subnet = subnet
		f.Gateway = parseAddr(c.Gateway)
		f.IPRange, _ = netip.ParsePrefix(c.IPRange)
		break
	}
	return f
}

func (h *Host) volumes(ctx context.Context, fleetName string) ([]fleet.Volume, error) {
	list, err := call(ctx, h, h.read("listing volumes"), func(ctx context.Context, s *session) (volume.ListResponse, error) {
		return s.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(filters.Arg("label", fleet.LabelFleet+"="+fleetName))})
	})
	if err != nil {
		return nil, err
	}
	var volumes []fleet.Volume
	for _, v := range list.Volumes {
		if f, ok := nodeVolume(fleetName, v.Name); ok {
			f.Host, f.OnRemove = h.name, spec.OnRemove(v.Labels[fleet.LabelOnRemove])
			volumes = append(volumes, f)
		}
	}
	slices.SortFunc(volumes, func(a, b fleet.Volume) int { return cmp.Compare(a.Name, b.Name) })
	return volumes, nil
}

// nodeVolume reads a volume's name, which says all of it (see fleet.VolumeName).
func nodeVolume(fleetName, name string) (fleet.Volume, bool) {
	parts := strings.Split(name, "_")
	if len(parts) != 5 || parts[0] != fleetName {
		return fleet.Volume{}, false
	}
	n, err := strconv.Atoi(parts[3])
	if err != nil || n < 1 {
		return fleet.Volume{}, false
	}
	id := fleet.NodeID{Environment: parts[1], Layer: parts[2], Node: n}
	return fleet.Volume{NodeID: id, Name: name, Volume: parts[4]}, true
}

// addresses are the host's own as far as they can be told from outside: its endpoint's and its gateways.
func (h *Host) addresses(networks []fleet.Network) []netip.Prefix {
	var addrs []netip.Prefix
	if host, _, err := net.SplitHostPort(strings.TrimPrefix(h.endpoint, "tcp://")); err == nil {
		if a := parseAddr(host); a.IsValid() {
			addrs = append(addrs, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	for _, n := range networks {
		if n.Gateway.IsValid() && n.Subnet.IsValid() {
			addrs = append(addrs, netip.PrefixFrom(n.Gateway, n.Subnet.Bits()))
		}
	}
	slices.SortFunc(addrs, func(a, b netip.Prefix) int { return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits()) })
	return slices.Compact(addrs)
}

func parseAddr(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap()
}
