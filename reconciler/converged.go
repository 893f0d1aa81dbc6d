package reconciler

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// converged says whether everything was read, nothing is left to do and all that is wanted serves: the one
// word on it, for a pass and for the status. c.mu is held.
func (c *Controller) converged(s *Status) bool {
	// Before the first plan of a revision nothing is known of what it asks for.
	planned := c.plan.Revision == c.revision
	return planned && !c.plan.HasChanges && len(s.Problems) == 0 && s.Refused == "" && s.Waiting == "" &&
		!slices.ContainsFunc(c.looksAfter(s), func(e EnvironmentStatus) bool {
			return slices.ContainsFunc(e.Layers, func(l LayerStatus) bool { return l.Serving < l.Wanted })
		})
}

// looksAfter are the environments that this controller may touch.
func (c *Controller) looksAfter(s *Status) []EnvironmentStatus {
	if c.opts.Only == "" {
		return s.Environments
	}
	i := slices.IndexFunc(s.Environments, func(e EnvironmentStatus) bool { return e.Name == c.opts.Only })
	if i < 0 {
		return nil
	}
	return s.Environments[i : i+1]
}

// unserved names the wanted nodes that don't serve, and why, unless a pass's result says so already: they
// wait, or failed. Nodes of a layer that say the same are named together.
func (c *Controller) unserved(s *Status, r Result) []string {
	told := map[fleet.NodeID]bool{}
	for _, f := range r.Failed {
		told[fleet.NodeID{Environment: f.Environment, Layer: f.Layer, Node: f.Node}] = true
	}
	for i := range r.Left.Layers {
		for _, w := range r.Left.Layers[i].Waiting {
			told[fleet.NodeID{Environment: r.Left.Layers[i].Environment, Layer: r.Left.Layers[i].Layer, Node: w.Node}] = true
		}
	}
	var problems []string
	for _, e := range c.looksAfter(s) {
		for i := range e.Layers {
			l := &e.Layers[i]
			problems = append(problems, l.unserved(e.Name, func(node int) bool {
				return told[fleet.NodeID{Environment: e.Name, Layer: l.Name, Node: node}]
			})...)
		}
	}
	return problems
}

func (l *LayerStatus) unserved(environment string, told func(node int) bool) []string {
	nodes, reasons := map[string][]NodeStatus{}, []string{}
	for _, n := range l.Nodes {
		if n.Serving || n.State == StateUnknown || n.Node > l.Wanted || told(n.Node) {
			continue
		}
		if nodes[n.Reason] == nil {
			reasons = append(reasons, n.Reason)
		}
		nodes[n.Reason] = append(nodes[n.Reason], n)
	}
	problems := make([]string, 0, len(reasons))
	for _, reason := range reasons {
		alike := nodes[reason]
		names := make([]string, len(alike))
		for i, n := range alike {
			if names[i] = strconv.Itoa(n.Node); n.Host != "" {
				names[i] += " (" + n.Host + ")"
			}
		}
		verb := "doesn't"
		if len(alike) > 1 {
			verb = "don't"
		}
		problems = append(problems, fmt.Sprintf("%s/%s/%s %s serve: %s", environment, l.Name, strings.Join(names, ", "), verb, reason))
	}
	return problems
}

// How nodes are waited for whose health isn't known yet.
const (
	healthPoll     = 200 * time.Millisecond
	healthPatience = 10 * time.Second // beyond a probe's own timeout
)

// awaitHealth asks the keepers once more, since they may have been told to probe in another way, and returns
// when something is known of each running node's health. It says whether it had to wait. Asked to stop, it
// doesn't.
func (c *Controller) awaitHealth(ctx context.Context, pass passing) (waited bool) {
	begun := time.Now()
	c.askKeepers(ctx)
	tick := time.NewTicker(healthPoll)
	defer tick.Stop()
	for {
		hosts := c.undecided(time.Since(begun))
		if len(hosts) == 0 || closed(pass.stop) {
			return waited
		}
		waited = true
		select {
		case <-tick.C:
		case <-pass.stop:
			return waited
		case <-ctx.Done():
			return waited
		}
		for _, h := range hosts {
			c.read(pass.beside, h, 0)
		}
	}
}

func (c *Controller) askKeepers(ctx context.Context) {
	var wg sync.WaitGroup
	for _, h := range c.allHosts() {
		if h.keeper() == nil {
			continue
		}
		wg.Go(func() {
			_, _ = h.keeperState(ctx) // one that doesn't answer any more is found to be lost
		})
	}
	wg.Wait()
}

// undecided are the hosts with nodes that something is to be heard of yet, for as long as that may take: a
// start as long as it may at a gate, a probe its timeout and a while.
func (c *Controller) undecided(waited time.Duration) []*host {
	observed := c.observed()
	names := map[string]bool{}
	nodes := fleet.Nodes(observed)
	for i := range nodes {
		n := &nodes[i]
		if in := n.CurrentInstance(); fleet.Undecided(observed, n) && waited < c.healthPatience(in) {
			names[in.Host] = true
		}
	}
	return slices.DeleteFunc(c.wantedHosts(), func(h *host) bool { return !names[h.name] || !h.snapshot().Reachable })
}

func (c *Controller) healthPatience(in *fleet.Instance) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.layer(in.LayerID())
	switch {
	case l == nil, c.opts.Only != "" && in.Environment != c.opts.Only:
		return 0
	case in.Health == fleet.HealthStarting:
		return l.Update.HealthTimeout
	case l.HealthCheck != nil:
		return min(l.Update.HealthTimeout, l.HealthCheck.Timeout+healthPatience)
	}
	return min(l.Update.HealthTimeout, healthPatience)
}
