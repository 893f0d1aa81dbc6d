package reconciler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/placement"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// Status reads the fleet once and says what is.
func (c *Controller) Status(ctx context.Context) (Status, error) {
	if _, err := c.Fetch(ctx); err != nil {
		return Status{}, err
	}
	ctx, end := c.aside(ctx)
	defer end()
	c.lookAtAll(ctx)
	c.openGone(ctx)
	c.computeWhole(ctx)
	return c.Current(), ctx.Err()
}

// CurrentPlan is the newest plan of a run.
func (c *Controller) CurrentPlan() plan.Plan {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.plan
}

// Ready says why a run has not taken up its work yet; empty: it has.
func (c *Controller) Ready() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.desired == nil && c.refused != "":
		return "no valid revision yet: " + c.refused
	case c.desired == nil:
		return "no revision has been read yet"
	case c.waiting != "":
		return c.waiting
	case !c.offered:
		return "the first pass has not begun yet"
	}
	return ""
}

// Current says what is, from what was last seen.
func (c *Controller) Current() Status {
	observed, failed, unjoined := c.observed(), c.failures(), c.unjoined()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{
		Revision: c.revision, Time: time.Now(), Refused: c.refused, Waiting: c.waiting,
		Hosts: []HostStatus{}, Environments: []EnvironmentStatus{}, Problems: []string{},
	}
	if c.desired == nil {
		return s
	}
	s.Fleet = c.desired.Fleet.Name
	nodes := fleet.Nodes(observed)
	for i := range observed.Hosts {
		s.Hosts = append(s.Hosts, c.hostStatus(&observed.Hosts[i], nodes))
	}
	s.Environments = c.environmentStatuses(observed, nodes)
	addMissing(s.Environments, c.plan.Layers, failed)
	s.Zones = c.outside.status(s.Fleet)
	s.Problems = append(append(s.Problems, c.plan.Refused...), hostProblems(s.Hosts)...)
	s.Problems = append(s.Problems, c.outside.problems()...)
	s.Problems = append(s.Problems, c.outageProblems(observed, nodes)...)
	s.Problems = append(s.Problems, unjoined...)
	s.Problems = append(s.Problems, c.repeats.Problems(s.Time)...)
	s.Converged = c.converged(&s)
	return s
}

func hostProblems(hosts []HostStatus) []string {
	var problems []string
	for _, h := range hosts {
		if h.Problem != "" && h.State != "" { // one that left the spec holds nothing up
			problems = append(problems, fmt.Sprintf("host %s: %s", h.Name, h.Problem))
		}
	}
	return problems
}

// hostStatus is one host's line. c.mu is held, as below.
func (c *Controller) hostStatus(st *fleet.HostState, nodes []fleet.Node) HostStatus {
	s := HostStatus{Name: st.Name, Reachable: st.Reachable, Problem: st.Problem, Engine: engineStatus(st.Engine)}
	if st.Keeper != nil {
		s.Keeper = st.Keeper.Version
		if l := st.Keeper.Lease; l != nil {
			s.Lease = &LeaseStatus{Holder: l.Holder, Held: plan.Duration(l.Held)}
		}
	}
	if st.Reachable {
		s.Problem = cmp.Or(st.Problem, st.KeeperProblem)
	}
	want := c.desired.Fleet.Host(st.Name)
	if want != nil {
		s.Address, s.State = want.Address, want.State
		s.Capacity = Room(placement.Room(*want, st.Engine))
	}
	for i := range nodes {
		in := nodes[i].CurrentInstance()
		if in == nil || in.Host != st.Name {
			continue
		}
		s.Nodes++
		if l := c.layer(in.LayerID()); l != nil {
			s.Reserved.Memory += l.Reserved.Memory
			s.Reserved.CPU += l.Reserved.CPU
		}
	}
	return s
}

func (c *Controller) environmentStatuses(observed fleet.Observed, nodes []fleet.Node) []EnvironmentStatus {
	byEnvironment := map[string]map[string]*LayerStatus{}
	layer := func(l fleet.LayerID) *LayerStatus {
		if byEnvironment[l.Environment] == nil {
			byEnvironment[l.Environment] = map[string]*LayerStatus{}
		}
		s := byEnvironment[l.Environment][l.Layer]
		if s == nil {
			s = &LayerStatus{Name: l.Layer, Nodes: []NodeStatus{}}
			byEnvironment[l.Environment][l.Layer] = s
		}
		return s
	}
	for _, e := range c.desired.Environments {
		for i := range e.Layers {
			s := layer(fleet.LayerID{Environment: e.Name, Layer: e.Layers[i].Name})
			s.Image, s.Wanted = e.Layers[i].Image, e.Layers[i].Replicas
		}
	}
	for i := range c.plan.Layers {
		layer(c.plan.Layers[i].ID()).Paused = c.plan.Layers[i].Paused
	}
	for i := range nodes {
		s := layer(nodes[i].LayerID())
		n := c.nodeStatus(observed, &nodes[i])
		if n.Serving {
			s.Serving++
		}
		s.Nodes = append(s.Nodes, n)
	}
	for i := range c.plan.Layers {
		layer(c.plan.Layers[i].ID()).addWaiting(&c.plan.Layers[i])
	}
	for _, n := range fleet.NewestCopy(observed).Nodes {
		if h := observed.Host(n.Host); h != nil && !h.Reachable && c.layer(n.LayerID()) != nil {
			layer(n.LayerID()).addUnknown(n)
		}
	}
	return sorted(byEnvironment)
}

// addMissing gives each wanted node that isn't there a row of its own: why it failed the last time, or that it is
// due.
func addMissing(environments []EnvironmentStatus, planned []plan.Layer, failed []rollout.Progress) {
	why := map[fleet.NodeID]string{}
	for i := range planned {
		for _, op := range planned[i].Operations {
			why[op.ID] = fmt.Sprintf("%s is due", op.Kind)
		}
	}
	for _, f := range failed {
		why[fleet.NodeID{Environment: f.Environment, Layer: f.Layer, Node: f.Node}] = fmt.Sprintf("%s %s: %s", f.Operation, f.Phase, f.Error)
	}
	for _, e := range environments {
		for i := range e.Layers {
			l := &e.Layers[i]
			for node := 1; node <= l.Wanted; node++ {
				if !slices.ContainsFunc(l.Nodes, func(n NodeStatus) bool { return n.Node == node }) {
					id := fleet.NodeID{Environment: e.Name, Layer: l.Name, Node: node}
					l.addReason(node, strings.TrimSuffix("not there yet: "+why[id], ": "))
				}
			}
			slices.SortStableFunc(l.Nodes, func(a, b NodeStatus) int { return cmp.Compare(a.Node, b.Node) })
		}
	}
}

// addUnknown says where a node is that can't be seen now: unknown is not absent.
func (l *LayerStatus) addUnknown(n fleet.CopyNode) {
	i := slices.IndexFunc(l.Nodes, func(have NodeStatus) bool { return have.Node == n.Node })
	if i < 0 {
		l.addReason(n.Node, n.Host+" is out of reach")
		i = len(l.Nodes) - 1
	}
	if l.Nodes[i].State == "" {
		l.Nodes[i].Host, l.Nodes[i].State, l.Nodes[i].Generation = n.Host, StateUnknown, n.Generation
		if n.Node <= l.Wanted {
			l.Unknown++
		}
	}
	slices.SortStableFunc(l.Nodes, func(a, b NodeStatus) int { return cmp.Compare(a.Node, b.Node) })
}

// addWaiting says in the rows of nodes for which nothing can be done now why that is. A node that doesn't
// exist yet gets a row of its own.
func (l *LayerStatus) addWaiting(p *plan.Layer) {
	for _, w := range p.Waiting {
		l.addReason(w.Node, w.Reason)
	}
	for _, op := range p.Operations {
		if len(op.After) > 0 {
			l.addReason(op.Node, "waits until "+layersRun(op.After))
		}
	}
	slices.SortStableFunc(l.Nodes, func(a, b NodeStatus) int { return cmp.Compare(a.Node, b.Node) })
}

// layersRun says that all nodes of the layers run: shop/db runs.
func layersRun(layers []fleet.LayerID) string {
	names := make([]string, len(layers))
	for i, l := range layers {
		names[i] = l.String()
	}
	if len(names) == 1 {
		return names[0] + " runs"
	}
	return strings.Join(names, ", ") + " run"
}

func (l *LayerStatus) addReason(node int, reason string) {
	i := slices.IndexFunc(l.Nodes, func(n NodeStatus) bool { return n.Node == node })
	switch {
	case i < 0:
		l.Nodes = append(l.Nodes, NodeStatus{Node: node, Reason: reason})
	case l.Nodes[i].Reason != reason:
		l.Nodes[i].Waits = reason
	}
}

func sorted(byEnvironment map[string]map[string]*LayerStatus) []EnvironmentStatus {
	list := []EnvironmentStatus{}
	for name, layers := range byEnvironment {
		e := EnvironmentStatus{Name: name, Layers: []LayerStatus{}}
		for _, l := range layers {
			e.Layers = append(e.Layers, *l)
		}
		slices.SortFunc(e.Layers, func(a, b LayerStatus) int { return cmp.Compare(a.Name, b.Name) })
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b EnvironmentStatus) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (c *Controller) nodeStatus(observed fleet.Observed, n *fleet.Node) NodeStatus {
	reason := fleet.Serving(observed, n)
	s := NodeStatus{Node: n.Node, Serving: reason == "", Reason: reason}
	in := n.CurrentInstance()
	if in == nil && len(n.Instances) > 0 {
		in = &n.Instances[len(n.Instances)-1]
	}
	if in == nil {
		return s
	}
	s.Host, s.State, s.Generation = in.Host, in.State, in.Generation
	s.Image, s.Revision, s.Since = in.Image, in.Revision, in.StartedAt
	if in.Address.IsValid() {
		s.Address = in.Address.String()
	}
	if l := c.layer(n.LayerID()); l != nil {
		s.UpToDate = in.Spec == l.Hash
	}
	for _, p := range in.Published {
		s.Ports = append(s.Ports, fmt.Sprintf("%d/%s -> %d", p.Port, p.Protocol, p.HostPort))
	}
	return s
}
