package fleet_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func TestWhatIsProbedAsACandidateIsInNoName(t *testing.T) {
	in := fleet.Instance{NodeID: web1, Generation: 2, Host: "a", ID: "x", State: fleet.StateRunning}
	k := &fleet.KeeperState{Zone: fleet.Zone{Nodes: []fleet.ZoneNode{{NodeID: web1, Generation: 2, Instance: "x", Candidate: true}}}}
	o := fleet.Observed{Hosts: []fleet.HostState{{Name: "a", Reachable: true, Instances: []fleet.Instance{in}, Keeper: k}}}
	n := fleet.Node{NodeID: web1, Instances: o.Hosts[0].Instances}
	require.Equal(t, "not in the names yet", fleet.Serving(o, &n), "it has become the current one, and its keeper doesn't know")
	k.Zone.Nodes[0].Candidate = false
	require.Empty(t, fleet.Serving(o, &n))
}
