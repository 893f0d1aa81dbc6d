package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// EnsureNetwork sees to it that a network of that name, owner and subnet exists. Whatever else has the name
// is a ConflictError.
func (h *Host) EnsureNetwork(ctx context.Context, n fleet.Network) error {
	return h.do(ctx, h.write("creating network "+n.Name), func(ctx context.Context, s *session) error {
		found, err := networksNamed(ctx, s, n.Name)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return h.sameNetwork(found[0], n)
		}
		created, err := s.NetworkCreate(ctx, n.Name, networkOptions(n))
		if err != nil && !errdefs.IsConflict(err) {
			return err
		}
		return h.settleNetwork(ctx, s, n, created.ID)
	})
}

// settleNetwork looks again after a create: the engine does not keep two creates at the same time from
// making two networks of one name. Of those the first stays, and whoever made another removes it.
func (h *Host) settleNetwork(ctx context.Context, s *session, n fleet.Network, created string) error {
	found, err := networksNamed(ctx, s, n.Name)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return errors.New("the engine has lost it right after creating it")
	}
	if created != "" && found[0].ID != created {
		if err := s.NetworkRemove(ctx, created); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("removing a second one of that name: %w", err)
		}
	}
	return h.sameNetwork(found[0], n)
}

func (h *Host) sameNetwork(has network.Summary, want fleet.Network) error {
	got := fleetNetwork(has)
	if got.Fleet != want.Fleet || got.Environment != want.Environment || got.Role != want.Role {
		return h.conflict("network", want.Name, has.ID, "", has.Labels)
	}
	if want.Subnet.IsValid() && got.Subnet != want.Subnet {
		return fmt.Errorf("it exists with subnet %s instead of %s: %w", got.Subnet, want.Subnet, fleet.ErrConflict)
	}
	if want.Gateway.IsValid() && got.Gateway != want.Gateway {
		return fmt.Errorf("it exists with gateway %s instead of %s: %w", got.Gateway, want.Gateway, fleet.ErrConflict)
	}
	return nil
}

// networksNamed lists the networks of exactly that name, the oldest first; the engine's own filter finds
// parts of names.
func networksNamed(ctx context.Context, s *session, name string) ([]network.Summary, error) {
	list, err := s.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(filters.Arg("name", name))})
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(n network.Summary) bool { return n.Name != name })
	slices.SortFunc(list, func(a, b network.Summary) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	return list, nil
}

// The options of the engine's bridge driver.
const (
	optionBridge = "com.docker.network.bridge.name"
	optionMTU    = "com.docker.network.driver.mtu"
)

// bridgeOf is the device that a bridge network is on its host: named for the network's ID where nothing else was said.
func bridgeOf(n network.Summary) string {
	if name := n.Options[optionBridge]; name != "" || n.Driver != "bridge" || len(n.ID) < 12 {
		return name
	}
	return "br-" + n.ID[:12]
}

func networkOptions(n fleet.Network) network.CreateOptions {
	labels := map[string]string{fleet.LabelFleet: n.Fleet}
	if n.Environment != "" {
		labels[fleet.LabelEnvironment] = n.Environment
	}
	if n.Role != "" {
		labels[fleet.LabelRole] = n.Role
	}
	o := network.CreateOptions{Driver: cmp.Or(n.Driver, "bridge"), Labels: labels, Options: map[string]string{}}
	if n.Bridge != "" {
		o.Options[optionBridge] = n.Bridge
	}
	if n.MTU != 0 {
		o.Options[optionMTU] = strconv.Itoa(n.MTU)
	}
	if n.Subnet.IsValid() {
		c := network.IPAMConfig{Subnet: n.Subnet.String()}
		if n.Gateway.IsValid() {
			c.Gateway = n.Gateway.String()
		}
		if n.IPRange.IsValid() {
			c.IPRange = n.IPRange.String()
		}
		o.IPAM = &network.IPAM{Config: []network.IPAMConfig{c}}
	}
	return o
}

// RemoveNetwork removes a network of evenkeel's by its name. One that is gone is done; one that isn't
// evenkeel's is left alone, which is an error.
func (h *Host) RemoveNetwork(ctx context.Context, name string) error {
	return h.do(ctx, h.write("removing network "+name), func(ctx context.Context, s *session) error {
		found, err := networksNamed(ctx, s, name)
		if err != nil {
			return err
		}
		for _, n := range found {
			if n.Labels[fleet.LabelFleet] == "" {
				return h.conflict("network", name, n.ID, "", n.Labels)
			}
			if err := s.NetworkRemove(ctx, n.ID); err != nil && !errdefs.IsNotFound(err) {
				return err
			}
		}
		return nil
	})
}

// Connect attaches a container to a network; an empty address leaves the choice to the engine. One that is
// attached with that address already is done.
func (h *Host) Connect(ctx context.Context, networkName, containerID, address string) error {
	var addr netip.Addr
	if address != "" {
		var err error
		if addr, err = netip.ParseAddr(address); err != nil {
			return fmt.Errorf("connecting container %s to network %s on %s: %w", short(containerID), networkName, h.name, err)
		}
	}
	o := h.write("connecting container " + short(containerID) + " to network " + networkName)
	return h.do(ctx, o, func(ctx context.Context, s *session) error {
		err := s.NetworkConnect(ctx, networkName, containerID, endpointSettings(addr))
		if err == nil || errdefs.IsNotFound(err) {
			return err
		}
		c, inspectErr := s.ContainerInspect(ctx, containerID)
		if inspectErr != nil {
			return err
		}
		e := c.NetworkSettings.Networks[networkName]
		switch {
		case e == nil:
			return err
		case !addr.IsValid() || endpointAddr(e) == addr:
			return nil
		}
		return fmt.Errorf("it is connected with address %s instead of %s: %w", endpointAddr(e), addr, fleet.ErrConflict)
	})
}

// Disconnect detaches a container from a network. Where either is gone, or they aren't connected, it is done.
func (h *Host) Disconnect(ctx context.Context, networkName, containerID string) error {
	o := h.write("disconnecting container " + short(containerID) + " from network " + networkName)
	return h.do(ctx, o, func(ctx context.Context, s *session) error {
		err := s.NetworkDisconnect(ctx, networkName, containerID, false)
		if errdefs.IsNotFound(err) || err != nil && strings.Contains(err.Error(), "is not connected to") {
			return nil
		}
		return err
	})
}
