package names_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
)

// A layer of which the spec wants no node has no record in the end, and none goes before its node is out.
func TestALayerWithoutNodes(t *testing.T) {
	none := func(targets ...names.Target) names.Name {
		n := name(targets...)
		n.None = true
		return n
	}
	there := []fleet.DNSRecord{ours(host1)}
	require.Empty(t, said(compute(there, none(target(1, false, host1)))), "its node serves still")
	gone := []string{"delete A 203.0.113.1: shop/web/1 is out"}
	require.Equal(t, gone, said(compute(there, none(target(1, true, host1)))))
	require.Equal(t, []string{"delete A 203.0.113.1: leads to no node of it any more"}, said(compute(there, none())))

	l := names.Leaving(names.Zone{Fleet: fleetName, Name: "example.com", Records: there}, []names.Name{none(target(1, false, host1))}, web(1))
	require.Empty(t, l.Held)
	require.Equal(t, there, l.Records, "caches are waited for")

	require.Equal(t, []string{"held shop.example.com shop/web/1"}, said(compute(there, none(target(1, true, host1)), name())), "another layer has nodes")
	unknown := none()
	unknown.More = true
	require.Empty(t, said(compute(there, unknown)), "nodes may be there that nobody knows of")
	kept := names.Zone{Fleet: fleetName, Name: "example.com", Records: there, Keep: true}
	require.Empty(t, names.Compute(kept, []names.Name{none(target(1, true, host1))}).Changes, "the removal of nodes is refused")

	h := newHouse(t)
	require.False(t, names.Desired(h.wishes())["public"][0].None)
	h.spec.Environments[0].Layers[0].Replicas = 0
	require.True(t, names.Desired(h.wishes())["public"][0].None)
}
