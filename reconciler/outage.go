package reconciler

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// outage is a layer of which no node is healthy.
type outage struct {
	layer   fleet.LayerID
	reasons []string // none: a node is healthy
	clear   bool     // it can be told now
}

func (o *outage) String() string {
	return fmt.Sprintf("no node of %s is healthy: %s; its names still lead to all of them: mend the nodes, or the layer's healthCheck",
		o.layer, strings.Join(o.reasons, "; "))
}

// outagesOf looks at every layer that is wanted and that this controller looks after, sorted. c.mu is held.
func (c *Controller) outagesOf(observed fleet.Observed, nodes []fleet.Node) []outage {
	byLayer := map[fleet.LayerID][]*fleet.Node{}
	for i := range nodes {
		byLayer[nodes[i].LayerID()] = append(byLayer[nodes[i].LayerID()], &nodes[i])
	}
	unread := slices.ContainsFunc(observed.Hosts, func(h fleet.HostState) bool { return !h.Reachable })
	var all []outage
	for _, e := range c.desired.Environments {
		if c.opts.Only != "" && e.Name != c.opts.Only {
			continue
		}
		for i := range e.Layers {
			o := outage{layer: fleet.LayerID{Environment: e.Name, Layer: e.Layers[i].Name}}
			seen := byLayer[o.layer]
			o.reasons, o.clear = fleet.Outage(observed, seen)
			if unread && len(o.reasons) > 0 && len(seen) < e.Layers[i].Replicas {
				o.reasons, o.clear = nil, false // one that wasn't seen may serve
			}
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b outage) int { return a.layer.Compare(b.layer) })
	return all
}

func (c *Controller) outageProblems(observed fleet.Observed, nodes []fleet.Node) []string {
	var problems []string
	for _, o := range c.outagesOf(observed, nodes) {
		if len(o.reasons) > 0 {
			problems = append(problems, o.String())
		}
	}
	return problems
}

// tellOutages says, once, which layers have no healthy node, and which of them have one again.
func (c *Controller) tellOutages() {
	observed := c.observed()
	nodes := fleet.Nodes(observed)
	c.mu.Lock()
	var began, ended []string
	known := map[fleet.LayerID]bool{}
	for _, o := range c.outagesOf(observed, nodes) {
		known[o.layer] = true
		switch {
		case !o.clear:
		case len(o.reasons) > 0 && !c.outages[o.layer]:
			c.outages[o.layer] = true
			began = append(began, o.String())
		case len(o.reasons) == 0 && c.outages[o.layer]:
			delete(c.outages, o.layer)
			ended = append(ended, fmt.Sprintf("a node of %s is healthy again", o.layer))
		}
	}
	maps.DeleteFunc(c.outages, func(l fleet.LayerID, _ bool) bool { return !known[l] })
	c.mu.Unlock()
	for _, text := range began {
		c.notice("error", "", text)
	}
	for _, text := range ended {
		c.notice("info", "", text)
	}
}
