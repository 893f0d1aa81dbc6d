package spec

import (
	"fmt"
	"slices"

	"github.com/evenkeel/evenkeel/schema"
)

// published is a fixed port of the hosts that a layer's nodes take.
type published struct {
	layer *layerReader
	node  *schema.Node
	hosts []string
}

// clashes refuses two layers that publish the same port of a host where nothing keeps them on different
// hosts. Within a layer, antiAffinity: required does that.
func (l *loader) clashes() {
	taken := map[string][]published{}
	for _, e := range l.environments {
		for _, lr := range e.layers {
			if lr.layer.Replicas == 0 {
				continue
			}
			hosts := lr.hosts(l.fleet)
			for _, n := range lr.node.Get("ports").List() {
				port := integer(n.Get("publish"), 0)
				if port == 0 {
					continue
				}
				id := fmt.Sprintf("%d/%s", port, text(n.Get("protocol"), string(TCP)))
				p := published{lr, n.Get("publish"), hosts}
				p.against(id, taken[id])
				taken[id] = append(taken[id], p)
			}
		}
	}
}

func (p published) against(id string, others []published) {
	l := p.layer
	if len(others) == 0 || others[len(others)-1].layer != l {
		if l.layer.Replicas > 1 && l.layer.Placement.AntiAffinity != AntiAffinityRequired {
			l.problem(p.node, "%d nodes can't share the port %s of a host: write placement: {antiAffinity: required}, or publish: 0 for any free port", l.layer.Replicas, id)
		}
	}
	for _, other := range others {
		if other.layer == l {
			continue // the same port twice in a layer is reported there
		}
		i := slices.IndexFunc(p.hosts, func(h string) bool { return slices.Contains(other.hosts, h) })
		if i < 0 {
			continue
		}
		l.problem(p.node, "the port %s of host %s is taken by %s/%s already (%s:%d): publish another port, or 0 for any free one, or keep the layers on different hosts with placement.hosts",
			id, p.hosts[i], other.layer.env.Name, other.layer.layer.Name, other.layer.doc.File, other.node.Line)
		return
	}
}

// hosts returns the names of the hosts that a layer's nodes may be on.
func (l *layerReader) hosts(f *Fleet) []string {
	var names []string
	for i := range f.Hosts {
		if f.Hosts[i].Carries(l.layer.Placement.Hosts) {
			names = append(names, f.Hosts[i].Name)
		}
	}
	return names
}
