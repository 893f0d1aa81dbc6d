package plan_test

import (
	"fmt"
	"testing"

	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// largeSpec has environments of five layers with twenty nodes each.
func largeSpec(hosts, nodes int) *spec.Spec {
	names := make([]string, hosts)
	for i := range names {
		names[i] = fmt.Sprintf("hn%04d", i)
	}
	s := testSpec(names)
	for i := range s.Fleet.Hosts {
		s.Fleet.Hosts[i].Endpoint = fmt.Sprintf("tcp://10.0.%d.%d:2375", i/250, 1+i%250)
		s.Fleet.Hosts[i].Address = fmt.Sprintf("10.0.%d.%d", i/250, 1+i%250)
	}
	for e := range nodes / 100 {
		env := spec.Environment{Name: fmt.Sprintf("env%04d", e)}
		for l := range 5 {
			env.Layers = append(env.Layers, testLayer(fmt.Sprintf("layer%d", l), 20))
		}
		s.Environments = append(s.Environments, env)
	}
	return s
}

func largeModel(s *spec.Spec) *model {
	names := make([]string, len(s.Fleet.Hosts))
	for i := range s.Fleet.Hosts {
		names[i] = s.Fleet.Hosts[i].Name
	}
	m := newModel(names...)
	for _, h := range m.hosts {
		h.state.Addresses = nil
		h.state.Engine.Memory = 64 * gi
		h.state.Engine.CPUs = 64
	}
	return m
}

var sizes = []struct{ hosts, nodes int }{{100, 10_000}, {1_000, 100_000}}

func BenchmarkFirstPlacement(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("%dx%d", size.hosts, size.nodes), func(b *testing.B) {
			s := largeSpec(size.hosts, size.nodes)
			in := input(s, largeModel(s).observe())
			b.ResetTimer()
			for b.Loop() {
				if p := plan.Compute(in); len(p.Layers) != size.nodes/20 {
					b.Fatalf("%d layers", len(p.Layers))
				}
			}
		})
	}
}

func BenchmarkNoChange(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("%dx%d", size.hosts, size.nodes), func(b *testing.B) {
			s := largeSpec(size.hosts, size.nodes)
			m := largeModel(s)
			m.pass(s)
			in := input(s, m.observe())
			b.ResetTimer()
			for b.Loop() {
				if p := plan.Compute(in); p.HasChanges {
					b.Fatal(p.Layers, p.Hosts)
				}
			}
		})
	}
}
