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

func TestItIsUnknownWhetherANodeServes(t *testing.T) {
	probed := []fleet.Probe{{HTTP: true, Port: 80}}
	gate := []fleet.Probe{{Port: 80, Gate: true}}
	for name, c := range map[string]struct {
		keeper  *fleet.KeeperState
		state   fleet.State
		health  fleet.Health
		unknown bool
	}{
		"its keeper doesn't answer":           {nil, fleet.StateRunning, "", true},
		"it was not probed yet":               {told(fleet.ZoneNode{Probes: probed}), fleet.StateRunning, "", true},
		"it was not probed yet, as candidate": {told(fleet.ZoneNode{Probes: probed, Candidate: true}), fleet.StateRunning, "", false},
		"it is out of the names":              {told(fleet.ZoneNode{Probes: probed, Out: "redeploy"}), fleet.StateRunning, "", false},
		"its engine has not found it healthy": {told(fleet.ZoneNode{Out: "starting"}), fleet.StateRunning, fleet.HealthStarting, false},
		"the keeper heard of it as healthy":   {told(fleet.ZoneNode{}), fleet.StateRunning, fleet.HealthStarting, true},
		"nothing probes it":                   {told(fleet.ZoneNode{}), fleet.StateRunning, "", false},
		"it isn't known to be ready yet":      {told(fleet.ZoneNode{Probes: gate}), fleet.StateRunning, "", true},
		"it isn't ready yet":                  {told(fleet.ZoneNode{Probes: gate}, fleet.ProbeResult{Last: "refused"}), fleet.StateRunning, "", true},
		"it is ready":                         {told(fleet.ZoneNode{Probes: gate}, fleet.ProbeResult{Healthy: true}), fleet.StateRunning, "", false},
		"its probe fails":                     {told(fleet.ZoneNode{Probes: probed}, fleet.ProbeResult{Last: "refused"}), fleet.StateRunning, "", false},
		"it doesn't run":                      {nil, fleet.StateExited, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			in := fleet.Instance{NodeID: web1, Generation: 1, Host: "a", ID: "x", State: c.state, Health: c.health}
			o := fleet.Observed{Hosts: []fleet.HostState{{Name: "a", Reachable: true, Instances: []fleet.Instance{in}, Keeper: c.keeper}}}
			n := fleet.Node{NodeID: web1, Instances: o.Hosts[0].Instances}
			require.Equal(t, c.unknown, fleet.Unknown(o, &n))
		})
	}
}

// told is a keeper that was told of the node, and has heard so of it.
func told(z fleet.ZoneNode, heard ...fleet.ProbeResult) *fleet.KeeperState {
	z.NodeID, z.Generation, z.Instance = web1, 1, "x"
	for i := range heard {
		heard[i].Instance = z.Instance
	}
	return &fleet.KeeperState{Zone: fleet.Zone{Nodes: []fleet.ZoneNode{z}}, Health: heard}
}

// What was heard of a container before it was restarted, or asked something else, isn't heard of it now.
func TestResultsEndWithWhatTheyAreOf(t *testing.T) {
	before := fleet.Zone{Nodes: []fleet.ZoneNode{
		{Instance: "stays", Epoch: "1"}, {Instance: "restarted", Epoch: "1"}, {Instance: "asked", Epoch: "1"}, {Instance: "goes", Epoch: "1"},
	}}
	next := fleet.Zone{Nodes: []fleet.ZoneNode{
		{Instance: "stays", Epoch: "1", Out: "withdrawn"}, {Instance: "restarted", Epoch: "2"},
		{Instance: "asked", Epoch: "1", Probes: []fleet.Probe{{Port: 80}}}, {Instance: "new", Epoch: "1"},
	}}
	var results, kept []fleet.ProbeResult
	for _, n := range before.Nodes {
		results = append(results, fleet.ProbeResult{Instance: n.Instance, Healthy: true})
	}
	for _, r := range before.StillTold(results, &next) {
		kept = append(kept, fleet.ProbeResult{Instance: r.Instance})
	}
	require.Equal(t, []fleet.ProbeResult{{Instance: "stays"}, {Instance: "goes"}}, kept)
	require.Len(t, results, 4)
	require.Equal(t, "restarted", results[1].Instance, "what was handed out stays as it was")
}
