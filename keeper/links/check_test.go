package links

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func TestCheck(t *testing.T) {
	ip := netip.MustParseAddr
	good := func() *fleet.Links {
		return &fleet.Links{
			Fleet: "f", Local: ip("192.0.2.1"), Port: 4790, Hosts: []netip.Addr{ip("192.0.2.2")},
			Networks: []fleet.Link{
				{Environment: "shop", Bridge: "ekb1", ID: 1, MTU: 1450, Peers: []netip.Addr{ip("192.0.2.2")}},
				{Environment: "blog", Bridge: "ekb2", ID: 2, MTU: 1450},
			},
		}
	}
	require.NoError(t, Check(good()))
	for want, change := range map[string]func(*fleet.Links){
		`fleet "" isn't a name`:    func(l *fleet.Links) { l.Fleet = "" },
		`fleet "a/b" isn't a name`: func(l *fleet.Links) { l.Fleet = "a/b" },
		`the host's address "2001:db8::1" isn't an IPv4 address, and VXLAN is set up`: func(l *fleet.Links) { l.Local = ip("2001:db8::1") },
		`no UDP port is given`:                                                      func(l *fleet.Links) { l.Port = 0 },
		`"::1" isn't the IPv4 address of a host`:                                    func(l *fleet.Links) { l.Hosts[0] = ip("::1") },
		`environment shop: "239.1.1.1" isn't the IPv4 address of a host`:            func(l *fleet.Links) { l.Networks[0].Peers[0] = ip("239.1.1.1") },
		`environment "shop" isn't a name, or is given twice`:                        func(l *fleet.Links) { l.Networks[1].Environment = "shop" },
		`environment blog: 1 isn't a VXLAN identifier, or is that of "shop"`:        func(l *fleet.Links) { l.Networks[1].ID = 1 },
		`environment blog: 0 isn't a VXLAN identifier`:                              func(l *fleet.Links) { l.Networks[1].ID = 0 },
		`environment blog: 16777216 isn't a VXLAN identifier`:                       func(l *fleet.Links) { l.Networks[1].ID = 1 << 24 },
		`environment blog: "ekb1" isn't the name of a bridge, or is that of "shop"`: func(l *fleet.Links) { l.Networks[1].Bridge = "ekb1" },
		`environment blog: "sixteen-letters!" isn't the name of a bridge`:           func(l *fleet.Links) { l.Networks[1].Bridge = "sixteen-letters!" },
		`environment blog: an MTU of 67`:                                            func(l *fleet.Links) { l.Networks[1].MTU = 67 },
	} {
		l := good()
		change(l)
		require.ErrorContains(t, Check(l), want)
	}
}
