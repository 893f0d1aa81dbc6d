package sim

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// EnsureNetwork sees to it that a network of that name, owner and subnet exists.
func (e *engine) EnsureNetwork(ctx context.Context, n fleet.Network) error {
	return only(do(ctx, e, e.write("making network", n.Name), locked(e.host, func() (none, error) { return none{}, e.host.ensureNetwork(n) })))
}

func (h *Host) ensureNetwork(n fleet.Network) error {
	has := h.network(n.Name)
	if has == nil {
		h.addNetwork(n)
		return nil
	}
	if has.Fleet != n.Fleet || has.Environment != n.Environment || has.Role != n.Role {
		return fmt.Errorf("the name %s is taken by a network of fleet %s: %w", n.Name, has.Fleet, fleet.ErrConflict)
	}
	if n.Subnet.IsValid() && has.Subnet != n.Subnet || n.Gateway.IsValid() && has.Gateway != n.Gateway {
		return fmt.Errorf("network %s exists with another subnet or gateway: %w", n.Name, fleet.ErrConflict)
	}
	return nil
}

// addNetwork adds a network; where it names no subnet the engine chooses one. The lock is held.
func (h *Host) addNetwork(n fleet.Network) {
	n.ID = "net." + h.name + "." + n.Name + "." + h.w.nth("network "+h.name+n.Name)
	if !n.Subnet.IsValid() {
		h.subnets++
		n.Subnet = netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 17 + h.subnets, 0, 0}), 16)
		n.Gateway = n.Subnet.Addr().Next()
	}
	h.networks = append(h.networks, &network{n})
	h.w.note("%s: network %s created", h.name, n.Name)
	h.tellNetwork(n.Name, "create")
	h.changed(byEvenkeel)
}

func (h *Host) tellNetwork(name, action string) {
	h.emit(fleet.Event{Kind: "network", Action: action, Name: name})
}

// RemoveNetwork removes a network of evenkeel's.
func (e *engine) RemoveNetwork(ctx context.Context, name string) error {
	return only(do(ctx, e, e.write("removing network", name), locked(e.host, func() (none, error) {
		n := e.host.network(name)
		if n == nil {
			return none{}, nil
		}
		e.host.w.rules.removing("network", name, map[string]string{fleet.LabelFleet: n.Fleet})
		if n.Fleet == "" {
			return none{}, fmt.Errorf("network %s isn't evenkeel's: %w", name, fleet.ErrConflict)
		}
		for _, c := range e.host.containers {
			if _, on := c.networks[name]; on && c.running() {
				return none{}, errors.New("network " + name + " has active endpoints")
			}
		}
		e.host.removeNetwork(n, byEvenkeel)
		return none{}, nil
	})))
}

func (h *Host) removeNetwork(n *network, by cause) {
	h.networks = slices.DeleteFunc(h.networks, func(o *network) bool { return o == n })
	h.w.note("%s: network %s removed by %s", h.name, n.Name, by)
	h.tellNetwork(n.Name, "destroy")
	h.changed(by)
}

// RemoveVolume removes a volume of evenkeel's that no container has.
func (e *engine) RemoveVolume(ctx context.Context, name string) error {
	return only(do(ctx, e, e.write("removing volume", name), locked(e.host, func() (none, error) {
		v := e.host.volumes[name]
		if v == nil {
			return none{}, nil
		}
		e.host.w.rules.removing("volume", name, v.labels)
		used := slices.ContainsFunc(e.host.containers, func(c *container) bool { return slices.Contains(c.mounts, name) })
		if v.labels[fleet.LabelFleet] == "" || used {
			return none{}, fmt.Errorf("volume %s is in use, or isn't evenkeel's: %w", name, fleet.ErrConflict)
		}
		delete(e.host.volumes, name)
		e.host.changed(byEvenkeel)
		return none{}, nil
	})))
}

// Connect attaches a container to a network.
func (e *engine) Connect(ctx context.Context, networkName, id, address string) error {
	var at netip.Addr
	if address != "" {
		var err error
		if at, err = netip.ParseAddr(address); err != nil {
			return err
		}
	}
	return only(do(ctx, e, e.write("connecting", e.nameOf(id)+" to "+networkName), locked(e.host, func() (none, error) {
		c := e.host.find(id)
		if c != nil {
			e.host.w.rules.touching("container", c.name, c.labels)
		}
		return none{}, e.host.connect(networkName, c, at)
	})))
}

func (h *Host) connect(networkName string, c *container, at netip.Addr) error {
	n := h.network(networkName)
	if n == nil || c == nil {
		return fleet.ErrNotFound
	}
	if has, on := c.networks[networkName]; on && has.network == n.ID {
		if !at.IsValid() || has.address == at {
			return nil
		}
		return fmt.Errorf("it is connected with address %s instead of %s: %w", has.address, at, fleet.ErrConflict)
	}
	if !at.IsValid() {
		at = h.address(n)
	}
	if o := h.holder(c, at, nil); o != nil && c.running() {
		return fmt.Errorf("address %s already in use: %w", at, fleet.ErrConflict)
	}
	c.networks[networkName] = endpoint{network: n.ID, address: at}
	h.tellNetwork(networkName, "connect")
	h.changed(byEvenkeel)
	return nil
}

// Disconnect detaches a container from a network.
func (e *engine) Disconnect(ctx context.Context, networkName, id string) error {
	return only(do(ctx, e, e.write("disconnecting", e.nameOf(id)+" from "+networkName), locked(e.host, func() (none, error) {
		if c := e.host.find(id); c != nil {
			e.host.w.rules.touching("container", c.name, c.labels)
			e.host.disconnect(networkName, c, byEvenkeel)
		}
		return none{}, nil
	})))
}

func (h *Host) disconnect(networkName string, c *container, by cause) {
	if _, on := c.networks[networkName]; on {
		delete(c.networks, networkName)
		h.tellNetwork(networkName, "disconnect")
		h.changed(by)
	}
}
