package fleet_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func TestWhatAnOccupantHolds(t *testing.T) {
	address := netip.MustParseAddr("10.112.0.9")
	o := fleet.Occupant{Addresses: []netip.Addr{address}, Ports: []fleet.Published{{Port: 80, Protocol: "tcp", HostPort: 8080}}}
	require.True(t, o.Holds(address, nil))
	require.False(t, o.Holds(netip.Addr{}, nil))
	require.False(t, o.Holds(netip.MustParseAddr("10.112.0.8"), nil))
	require.True(t, o.Holds(netip.Addr{}, []fleet.Published{{Port: 9, Protocol: "tcp", HostPort: 8080}}))
	require.False(t, o.Holds(netip.Addr{}, []fleet.Published{{Port: 9, Protocol: "udp", HostPort: 8080}}))
	require.False(t, o.Holds(netip.Addr{}, []fleet.Published{{Port: 80, Protocol: "tcp", HostPort: 0}}), "any free one is never taken")
}
