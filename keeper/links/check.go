package links

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Limits of what is joined.
const (
	maxNetworks = 1024
	maxHosts    = 4096
	minMTU      = 68         // RFC 791: every link of IPv4 carries as much
	maxID       = 1<<24 - 1  // RFC 7348
	maxBridge   = 15         // IFNAMSIZ without its closing zero
	maxMTU      = 65535 - 50 // the largest packet, and what encloses it
)

// Check refuses what can't be joined. What passes harms nothing else on the host.
func Check(l *fleet.Links) error {
	switch {
	case l.Fleet == "" || strings.ContainsAny(l.Fleet, "/ \n"):
		return fmt.Errorf("fleet %q isn't a name", l.Fleet)
	case len(l.Networks) == 0 && !l.Local.IsValid():
		return addresses(l.Hosts) // nothing is to be joined
	case !l.Local.Is4() || l.Local.IsUnspecified():
		return fmt.Errorf("the host's address %q isn't an IPv4 address, and VXLAN is set up between those", l.Local)
	case l.Port == 0:
		return errors.New("no UDP port is given")
	case len(l.Networks) > maxNetworks || len(l.Hosts) > maxHosts:
		return fmt.Errorf("%d networks and %d hosts, at most %d and %d are joined", len(l.Networks), len(l.Hosts), maxNetworks, maxHosts)
	}
	if err := addresses(l.Hosts); err != nil {
		return err
	}
	return checkNetworks(l.Networks)
}

func checkNetworks(networks []fleet.Link) error {
	ids, bridges, environments := map[uint32]string{}, map[string]string{}, map[string]bool{}
	for i := range networks {
		n := &networks[i]
		switch {
		case n.Environment == "" || strings.ContainsAny(n.Environment, "/ \n") || environments[n.Environment]:
			return fmt.Errorf("environment %q isn't a name, or is given twice", n.Environment)
		case n.ID == 0 || n.ID > maxID || ids[n.ID] != "":
			return fmt.Errorf("environment %s: %d isn't a VXLAN identifier, or is that of %q", n.Environment, n.ID, ids[n.ID])
		case n.Bridge == "" || len(n.Bridge) > maxBridge || strings.ContainsAny(n.Bridge, "/ \n") || bridges[n.Bridge] != "":
			return fmt.Errorf("environment %s: %q isn't the name of a bridge, or is that of %q", n.Environment, n.Bridge, bridges[n.Bridge])
		case n.MTU < minMTU || n.MTU > maxMTU:
			return fmt.Errorf("environment %s: an MTU of %d", n.Environment, n.MTU)
		}
		if err := addresses(n.Peers); err != nil {
			return fmt.Errorf("environment %s: %w", n.Environment, err)
		}
		ids[n.ID], bridges[n.Bridge], environments[n.Environment] = n.Environment, n.Environment, true
	}
	return nil
}

func addresses(list []netip.Addr) error {
	for _, a := range list {
		if !a.Is4() || a.IsUnspecified() || a.IsMulticast() {
			return fmt.Errorf("%q isn't the IPv4 address of a host", a)
		}
	}
	return nil
}
