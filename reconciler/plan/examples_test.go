package plan_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// TestExamplesArePlanned plans each example's first apply onto empty hosts, with zones that have no record yet: every node that it asks for is
// created, and nothing waits.
func TestExamplesArePlanned(t *testing.T) {
	entries, err := os.ReadDir("../../examples")
	require.NoError(t, err)
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		t.Run(entry.Name(), func(t *testing.T) {
			s, err := spec.Load(os.DirFS("../../examples/" + entry.Name()))
			require.NoError(t, err)
			in := plan.Input{Revision: "r1", Desired: s, KeeperVersion: 1, Images: map[string]plan.Image{}}
			for i := range s.Fleet.Hosts {
				in.Observed.Hosts = append(in.Observed.Hosts, fleet.HostState{
					Name: s.Fleet.Hosts[i].Name, Reachable: true, Engine: fleet.Engine{CPUs: 8, Memory: 16 * gi},
				})
			}
			for _, z := range s.Fleet.External {
				in.Zones = append(in.Zones, plan.Zone{Name: z.Name})
			}
			for _, r := range plan.Unresolved(in) {
				in.Images[r.Image] = plan.Image{Digest: r.Image + "@sha256:0"}
			}
			wanted := 0
			for _, e := range s.Environments {
				for i := range e.Layers {
					wanted += e.Layers[i].Replicas
				}
			}
			p := plan.Compute(in)
			require.Empty(t, p.Refused)
			created := 0
			for _, l := range p.Layers {
				require.Empty(t, l.Waiting, "%s", l.ID())
				for _, op := range l.Operations {
					require.Equal(t, plan.Create, op.Kind)
					created++
				}
			}
			require.Equal(t, wanted, created)
		})
	}
}
