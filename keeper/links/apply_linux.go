package links

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Apply brings the host's VXLAN devices, and whose frames are taken, to what is wanted. What is as it should be isn't
// touched. First it is seen to that nobody else's frames are taken: where that fails, nothing is joined.
func Apply(want *fleet.Links) (r fleet.LinksResult, err error) {
	if err := Check(want); err != nil {
		return r, err
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return r, fmt.Errorf("speaking to the kernel: %w", err)
	}
	defer h.Close()
	a := applying{handle: h, want: want}
	if err := a.look(); err != nil {
		return a.did, err
	}
	errs := a.clear()
	news, err := admit(want)
	if err != nil {
		return a.did, errors.Join(append(errs, fmt.Errorf("keeping others' frames out: %w (nothing is joined without that; the kernel needs nf_tables)", err))...)
	}
	if news {
		a.did.Changed = append(a.did.Changed, "whose frames are taken")
	}
	for i := range want.Networks {
		n := &want.Networks[i]
		if err := a.join(n); err != nil {
			errs = append(errs, fmt.Errorf("joining environment %s: %w", n.Environment, err))
		}
	}
	return a.did, errors.Join(errs...)
}

type applying struct {
	handle *netlink.Handle
	want   *fleet.Links
	links  []netlink.Link // all of the host's
	did    fleet.LinksResult
}

// look reads the host's devices, and finds its own link to the others.
func (a *applying) look() (err error) {
	for range looks { // devices that come and go cut it short
		if a.links, err = a.handle.LinkList(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("listing the host's devices: %w", err)
	}
	if !a.want.Local.IsValid() {
		return nil
	}
	if a.did.MTU, err = a.carries(); err == nil && a.did.MTU == 0 {
		err = fmt.Errorf("none of the host's devices has its address %s: write the address that it has itself, by which the others reach it (address: in the Fleet)", a.want.Local)
	}
	return err
}

// looks is how often a list is asked for that is cut short.
const looks = 10

// clear takes away the devices of ours that aren't wanted any more, as long as there are rules for them.
func (a *applying) clear() (errs []error) {
	wanted := map[string]bool{}
	for i := range a.want.Networks {
		wanted[alias(a.want.Fleet, a.want.Networks[i].Environment)] = true
	}
	for _, l := range a.links {
		if as := l.Attrs().Alias; strings.HasPrefix(as, alias(a.want.Fleet, "")) && !wanted[as] {
			if err := a.remove(l); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errs
}

// carries is the MTU of the device that has the host's own address; 0: none has.
func (a *applying) carries() (mtu int, err error) {
	var addresses []netlink.Addr
	for range looks {
		if addresses, err = a.handle.AddrList(nil, netlink.FAMILY_V4); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return 0, fmt.Errorf("listing the host's addresses: %w", err)
	}
	for i := range addresses {
		if addrOf(addresses[i].IP) != a.want.Local {
			continue
		}
		for _, l := range a.links {
			if l.Attrs().Index == addresses[i].LinkIndex {
				return l.Attrs().MTU, nil
			}
		}
	}
	return 0, nil
}

// alias is the mark of a device of ours.
func alias(fleetName, environment string) string { return "evenkeel:" + fleetName + "/" + environment }

// deviceName is short enough for a device, and an environment's own.
func deviceName(fleetName, environment string) string {
	sum := sha256.Sum256([]byte(alias(fleetName, environment)))
	return "ekv" + hex.EncodeToString(sum[:5])
}

// join has one environment's device as it should be.
func (a *applying) join(n *fleet.Link) error {
	bridge := a.named(n.Bridge)
	if bridge == nil || bridge.Type() != "bridge" {
		a.did.Waiting = append(a.did.Waiting, n.Environment)
		return nil
	}
	device, err := a.device(n)
	if err != nil {
		return err
	}
	at := device.Attrs()
	if at.MTU != n.MTU {
		a.say(n, "its MTU")
		if err := a.handle.LinkSetMTU(device, n.MTU); err != nil {
			return fmt.Errorf("setting the MTU of %s to %d: %w", at.Name, n.MTU, err)
		}
	}
	if at.MasterIndex != bridge.Attrs().Index {
		a.say(n, "its bridge")
		if err := a.handle.LinkSetMaster(device, bridge); err != nil {
			return fmt.Errorf("putting %s onto the bridge %s: %w", at.Name, n.Bridge, err)
		}
	}
	if err := a.lead(n, device); err != nil {
		return err
	}
	if at.Flags&net.FlagUp == 0 {
		a.say(n, "its device is up")
		if err := a.handle.LinkSetUp(device); err != nil {
			return fmt.Errorf("bringing %s up: %w", at.Name, err)
		}
	}
	return nil
}

// device finds or makes the environment's device. One that leads elsewhere is made anew: the kernel changes neither
// its identifier nor its port nor its address.
func (a *applying) device(n *fleet.Link) (netlink.Link, error) {
	name, mark := deviceName(a.want.Fleet, n.Environment), alias(a.want.Fleet, n.Environment)
	there := a.named(name)
	if there != nil {
		v, is := there.(*netlink.Vxlan)
		if !is || v.Alias != mark && v.Alias != "" {
			return nil, fmt.Errorf("there is a device %s already, which isn't evenkeel's: remove it", name)
		}
		if v.VxlanId == int(n.ID) && v.Port == int(a.want.Port) && addrOf(v.SrcAddr) == a.want.Local && v.Alias == mark {
			return v, nil
		}
		if err := a.remove(there); err != nil {
			return nil, err
		}
	}
	a.say(n, "its device")
	v := &netlink.Vxlan{
		LinkAttrs: netlink.LinkAttrs{Name: name, MTU: n.MTU},
		VxlanId:   int(n.ID), SrcAddr: a.want.Local.AsSlice(), Port: int(a.want.Port), Learning: true,
	}
	if err := a.handle.LinkAdd(v); err != nil {
		if errors.Is(err, unix.EEXIST) {
			return nil, fmt.Errorf("another device of the host has VXLAN identifier %d on UDP port %d: remove it, or give the fleet another pool", n.ID, a.want.Port)
		}
		return nil, fmt.Errorf("making %s: %w", name, err)
	}
	made, err := a.handle.LinkByName(name)
	if err == nil {
		err = a.handle.LinkSetAlias(made, mark)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("marking %s as evenkeel's: %w", name, err), a.handle.LinkDel(v))
	}
	made.Attrs().Alias = mark
	return made, nil
}

// nowhere is the address by which a device knows where frames go of which it knows nothing better: to all of them.
var nowhere = net.HardwareAddr{0, 0, 0, 0, 0, 0}

// lead has a device send what is for everybody, or for somebody not heard of yet, to all peers.
func (a *applying) lead(n *fleet.Link, device netlink.Link) error {
	entries, err := a.handle.NeighList(device.Attrs().Index, unix.AF_BRIDGE)
	if err != nil {
		return fmt.Errorf("reading where %s leads: %w", device.Attrs().Name, err)
	}
	left := slices.Clone(n.Peers)
	for i := range entries {
		e := &entries[i]
		peer := addrOf(e.IP)
		if !slices.Equal(e.HardwareAddr, nowhere) || !peer.IsValid() {
			continue
		}
		if j := slices.Index(left, peer); j >= 0 {
			left = slices.Delete(left, j, j+1)
			continue
		}
		a.say(n, "it leads to "+peer.String()+" no longer")
		if err := a.handle.NeighDel(entry(device, peer)); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("having %s lead to %s no longer: %w", device.Attrs().Name, peer, err)
		}
	}
	for _, peer := range left {
		a.say(n, "it leads to "+peer.String())
		if err := a.handle.NeighAppend(entry(device, peer)); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("having %s lead to %s: %w", device.Attrs().Name, peer, err)
		}
	}
	return nil
}

func entry(device netlink.Link, peer netip.Addr) *netlink.Neigh {
	return &netlink.Neigh{
		LinkIndex: device.Attrs().Index, Family: unix.AF_BRIDGE, State: netlink.NUD_PERMANENT | netlink.NUD_NOARP,
		Flags: netlink.NTF_SELF, IP: peer.AsSlice(), HardwareAddr: nowhere,
	}
}

func (a *applying) remove(l netlink.Link) error {
	a.did.Changed = append(a.did.Changed, l.Attrs().Name+" is removed")
	if err := a.handle.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("removing %s: %w", l.Attrs().Name, err)
	}
	return nil
}

func (a *applying) named(name string) netlink.Link {
	i := slices.IndexFunc(a.links, func(l netlink.Link) bool { return l.Attrs().Name == name })
	if i < 0 {
		return nil
	}
	return a.links[i]
}

func (a *applying) say(n *fleet.Link, what string) {
	a.did.Changed = append(a.did.Changed, n.Environment+": "+what)
}

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
