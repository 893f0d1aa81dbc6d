package main

import (
	"time"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
	"github.com/evenkeel/evenkeel/server/metrics"
)

// report shows an operation's step, and counts its end.
func (s *controllerSetup) report(p rollout.Progress) {
	s.show.Report(p)
	if s.metrics != nil && p.Phase.Ended() {
		s.metrics.Operation(p.Environment, p.Layer, string(p.Operation), string(p.Phase), time.Duration(p.Took))
	}
}

// changed counts what was done on a host.
func (s *controllerSetup) changed(c reconciler.HostStep) {
	if s.metrics != nil {
		s.metrics.Change(c.Host, c.Operation, c.What, c.Error != "")
	}
}

// passed counts a pass.
func (s *controllerSetup) passed(p plan.Plan, took time.Duration) {
	if s.metrics != nil {
		s.metrics.Pass(p.HasChanges, took)
	}
}

// seen is what a controller sees, as metrics show it.
func seen(c controller) metrics.Seen {
	st := c.Current()
	acts, leases := c.Leading()
	s := metrics.Seen{
		Fleet: st.Fleet, Revision: st.Revision, Converged: st.Converged, Refused: st.Refused != "", Leads: acts, Waits: st.Waiting != "",
	}
	for _, h := range st.Hosts {
		s.Hosts = append(s.Hosts, metrics.Host{
			Name: h.Name, Reachable: h.Reachable, Keeper: h.Reachable && h.Keeper > 0, Lease: leases[h.Name], Nodes: h.Nodes,
			ReservedMemory: float64(h.Reserved.Memory), CapacityMemory: float64(h.Capacity.Memory),
			ReservedCPU: float64(h.Reserved.CPU) / 1000, CapacityCPU: float64(h.Capacity.CPU) / 1000,
		})
	}
	for _, e := range st.Environments {
		for _, l := range e.Layers {
			s.Layers = append(s.Layers, metrics.Layer{
				Environment: e.Name, Name: l.Name, Wanted: l.Wanted, Serving: l.Serving, Paused: l.Paused != "",
			})
		}
	}
	return s
}
