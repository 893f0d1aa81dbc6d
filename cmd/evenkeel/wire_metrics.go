package main

import (
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/drift"
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
		if !h.Reachable {
			h.Keeper = 0
		}
		s.Hosts = append(s.Hosts, metrics.Host{
			Name: h.Name, Reachable: h.Reachable, Keeper: h.Keeper > 0, KeeperVersion: h.Keeper, Lease: leases[h.Name], Nodes: h.Nodes,
			ReservedMemory: float64(h.Reserved.Memory), CapacityMemory: float64(h.Capacity.Memory),
			ReservedCPU: float64(h.Reserved.CPU) / 1000, CapacityCPU: float64(h.Capacity.CPU) / 1000,
		})
	}
	for _, z := range st.Zones {
		s.Zones = append(s.Zones, metrics.Zone{Name: z.Name, Known: z.Problem == "" && !z.Read.IsZero()})
	}
	for _, e := range st.Environments {
		for _, l := range e.Layers {
			s.Layers = append(s.Layers, metrics.Layer{
				Environment: e.Name, Name: l.Name, Wanted: l.Wanted, Serving: l.Serving, Paused: l.Paused != "",
			})
		}
	}
	r := c.CurrentDrift()
	s.Drift, s.Unread = drifts(st, r), len(r.Unknown)
	return s
}

// drifts counts drift by environment and what it is of. What there is none of is told too, so that an alert ends.
func drifts(st reconciler.Status, r drift.Report) []metrics.Drift {
	list := []metrics.Drift{{What: drift.Keeper}, {What: drift.Network}, {What: drift.Container}, {What: drift.Record}}
	for _, e := range st.Environments {
		for _, what := range []string{drift.Node, drift.Network, drift.Volume, drift.Container, drift.Record} {
			list = append(list, metrics.Drift{Environment: e.Name, What: what})
		}
	}
	for i := range r.Drift {
		f := &r.Drift[i]
		at := slices.IndexFunc(list, func(d metrics.Drift) bool { return d.Environment == f.Environment && d.What == f.What })
		if at < 0 {
			at, list = len(list), append(list, metrics.Drift{Environment: f.Environment, What: f.What})
		}
		list[at].Findings++
	}
	return list
}
