package fleet_test

import (
	"net/netip"
	"reflect"
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

// Links are the same only where all of their fields are.
func TestSameLinks(t *testing.T) {
	some := func() *fleet.Links {
		a := []netip.Addr{netip.MustParseAddr("192.0.2.2")}
		return &fleet.Links{Fleet: "f", Local: netip.MustParseAddr("192.0.2.1"), Port: 4790, Hosts: a, Networks: []fleet.Link{
			{Environment: "shop", Bridge: "ekb1", ID: 7, MTU: 1450, Peers: a},
		}}
	}
	require.True(t, some().Same(some()))
	other := some()
	fields := changeEach(reflect.ValueOf(other).Elem(), "links", func(field string) {
		require.False(t, some().Same(other), field)
		require.False(t, other.Same(some()), field)
	})
	require.Greater(t, fields, 9)
}
