package zone

import (
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// How a port is asked at the gate: often, since a node waits for the answer.
const (
	gateInterval = 200 * time.Millisecond
	gateTimeout  = time.Second
)

// probes are what the keeper asks of an instance: the layer's own http or tcp check at all times. Without
// a check of ours and without the image's, each declared tcp port has to accept a connection, but only
// while the node is gated: while it is a candidate, is kept out of the names, or was never healthy. Such a
// probe never takes a node out of the names.
//
// An instance whose layer isn't in the spec any more is probed as before, until it is removed.
func (b *builder) probes(n *fleet.Node, in *fleet.Instance, gated bool) []fleet.Probe {
	l := b.layers[n.LayerID()]
	switch {
	case l == nil:
		return b.asBefore(in)
	case l.HealthCheck != nil:
		return checks(l)
	case in.Health == fleet.HealthNone && gated:
		return gates(l)
	}
	return nil
}

func (b *builder) asBefore(in *fleet.Instance) []fleet.Probe {
	k := b.hosts[b.byHost[in.Host]].Keeper
	if k == nil {
		return nil
	}
	for i := range k.Zone.Nodes {
		if k.Zone.Nodes[i].Instance == in.ID {
			return slices.Clone(k.Zone.Nodes[i].Probes)
		}
	}
	return nil
}

// checks is the layer's own check; an exec one is the engine's to run.
func checks(l *spec.Layer) []fleet.Probe {
	c := l.HealthCheck
	p := fleet.Probe{Interval: c.Interval, Timeout: c.Timeout, Retries: c.Retries, StartPeriod: c.StartPeriod}
	var name string
	switch {
	case c.HTTP != nil:
		p.HTTP, p.Path, name = true, c.HTTP.Path, c.HTTP.Port
	case c.TCP != nil:
		name = c.TCP.Port
	default:
		return nil
	}
	port := l.Port(name)
	if port == nil {
		return nil
	}
	p.Port = port.Port
	return []fleet.Probe{p}
}

func gates(l *spec.Layer) []fleet.Probe {
	var probes []fleet.Probe
	for i := range l.Ports {
		if l.Ports[i].Protocol == spec.UDP {
			continue
		}
		probes = append(probes, fleet.Probe{Port: l.Ports[i].Port, Interval: gateInterval, Timeout: gateTimeout, Retries: 1, Gate: true})
	}
	return probes
}
