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
// while the node is gated: while it is a candidate, is kept out of the names, is at its gate, or was never healthy. Such a
// probe never takes a node out of the names.
//
// A check is for the containers that were made for what is written beside it: a commit may well change the
// port, or the program that answers, along with it. One that was made for something else is asked what it
// was asked before, until it is replaced; so is one whose layer isn't in the spec any more.
func (b *builder) probes(n *fleet.Node, in *fleet.Instance, gated bool) []fleet.Probe {
	l := b.layers[n.LayerID()]
	if l == nil {
		before, _ := b.asBefore(in)
		return before
	}
	probes := checks(l)
	if !in.MadeFor(l) {
		probes = b.olderChecks(in, probes)
	}
	if len(probes) == 0 && in.Health == fleet.HealthNone && gated && (l.HealthCheck == nil || !in.MadeFor(l)) {
		return gates(in, l)
	}
	return probes
}

// olderChecks are the checks of an instance that was made for something else than what is written now.
// Where the keeper doesn't know any more what they were, those of now stand in if they ask a port it has.
func (b *builder) olderChecks(in *fleet.Instance, now []fleet.Probe) []fleet.Probe {
	if before, ok := b.asBefore(in); ok {
		return slices.DeleteFunc(before, func(p fleet.Probe) bool { return p.Gate })
	}
	ports, ok := in.TCPPorts()
	return slices.DeleteFunc(now, func(p fleet.Probe) bool { return ok && !slices.Contains(ports, p.Port) })
}

// asBefore is what the keeper asks of an instance now; false: it doesn't know it, or can't be asked.
func (b *builder) asBefore(in *fleet.Instance) ([]fleet.Probe, bool) {
	k := b.hosts[b.byHost[in.Host]].Keeper
	if k == nil {
		return nil, false
	}
	n := k.Zone.Node(in)
	if n == nil {
		return nil, false
	}
	return slices.Clone(n.Probes), true
}

// checks is the layer's own check; an exec one is the engine's to run.
func checks(l *spec.Layer) []fleet.Probe {
	c := l.HealthCheck
	if c == nil {
		return nil
	}
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

// gates ask whether each tcp port that an instance was made with accepts a connection.
func gates(in *fleet.Instance, l *spec.Layer) []fleet.Probe {
	ports, ok := in.TCPPorts()
	if !ok {
		for i := range l.Ports {
			if l.Ports[i].Protocol != spec.UDP {
				ports = append(ports, l.Ports[i].Port)
			}
		}
	}
	var probes []fleet.Probe
	for _, p := range ports {
		probes = append(probes, fleet.Probe{Port: p, Interval: gateInterval, Timeout: gateTimeout, Retries: 1, Gate: true})
	}
	return probes
}
