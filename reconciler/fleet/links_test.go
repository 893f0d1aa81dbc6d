package fleet_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Networks that don't overlap have different identifiers.
func TestVXLANID(t *testing.T) {
	require.Equal(t, uint32(0x029C00), fleet.VXLANID(netip.MustParsePrefix("10.112.0.0/22")))
	require.Equal(t, uint32(0x029C01), fleet.VXLANID(netip.MustParsePrefix("10.112.4.0/22")))
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) netip.Prefix {
			b := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, label)
			return netip.PrefixFrom(netip.AddrFrom4([4]byte(b)), 22).Masked()
		}
		a, b := draw("a"), draw("b")
		require.Equal(t, a == b, fleet.VXLANID(a) == fleet.VXLANID(b))
		require.Less(t, fleet.VXLANID(a), uint32(1<<24))
	})
}
