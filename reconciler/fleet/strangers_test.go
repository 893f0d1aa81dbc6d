package fleet_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

var web1 = fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}

const own = "f_shop_web_1_g2"

// looksLike is a container with the labels of web1's second generation.
func looksLike(name string, made int) fleet.Instance {
	in := fleet.Instance{NodeID: web1, Generation: 2, ID: "id-" + name, Name: name, CreatedAt: time.Unix(int64(made), 0)}
	if name != own {
		in.Renamed = own
	}
	return in
}

func TestPutAside(t *testing.T) {
	tests := []struct {
		name             string
		first, second    []fleet.Instance // of two hosts
		copy             string           // the host that the keepers' copy has it on
		nodes, strangers []string
	}{
		{"as it should be", []fleet.Instance{looksLike(own, 1)}, nil, "", []string{own}, nil},
		{"renamed", []fleet.Instance{looksLike("x", 1)}, nil, "", []string{"x"}, nil},
		{"one of its name is there", []fleet.Instance{looksLike("x", 1), looksLike(own, 2)}, nil, "", []string{own}, []string{"x"}},
		{"one of its name is on another host", []fleet.Instance{looksLike("x", 1)}, []fleet.Instance{looksLike(own, 2)}, "", []string{own}, []string{"x"}},
		{"several are renamed", []fleet.Instance{looksLike("x", 3), looksLike("y", 2)}, []fleet.Instance{looksLike("z", 4)}, "", []string{"y"}, []string{"x", "z"}},
		{"the copy has it here", []fleet.Instance{looksLike("x", 1)}, nil, "a", []string{"x"}, nil},
		{"the copy has it on a host out of reach", []fleet.Instance{looksLike("x", 1)}, nil, "c", nil, []string{"x"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := fleet.Observed{Hosts: []fleet.HostState{{Name: "a", Instances: tt.first}, {Name: "b", Instances: tt.second}, {Name: "c"}}}
			for h := range o.Hosts {
				for i := range o.Hosts[h].Instances {
					o.Hosts[h].Instances[i].Host = o.Hosts[h].Name
				}
			}
			if tt.copy != "" {
				o.Hosts[1].Keeper = &fleet.KeeperState{Copy: fleet.Copy{Serial: 1, Nodes: []fleet.CopyNode{{NodeID: web1, Host: tt.copy, Generation: 2}}}}
			}
			before := len(tt.first) + len(tt.second)
			got := fleet.PutAside(o)
			var nodes, strangers []string
			for _, h := range got.Hosts {
				for _, in := range h.Instances {
					nodes = append(nodes, in.Name)
				}
				for _, s := range h.Strangers {
					strangers = append(strangers, s.Name)
				}
			}
			require.Equal(t, tt.nodes, nodes)
			require.Equal(t, tt.strangers, strangers)
			require.Len(t, append(o.Hosts[0].Instances, o.Hosts[1].Instances...), before, "what was given stays as it was")
			require.Equal(t, got, fleet.PutAside(got), "doing it again changes nothing")
		})
	}
}
