package plan

import (
	"cmp"
	"slices"
	"sync"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/placement"
	"github.com/evenkeel/evenkeel/spec"
)

// world is the input, indexed, and the plan as it grows.
type world struct {
	in     Input
	fleet  spec.Fleet // hosts sorted
	hosts  []*host    // of the spec and gone ones, sorted by name
	byHost map[string]*host

	layers  []*layer // wanted and existing ones, sorted
	byLayer map[fleet.LayerID]*layer
	byNode  map[fleet.NodeID]*node

	// recorded reads all of the keepers' records, once, and only where a node is to be made.
	recorded func() map[fleet.NodeID]int
	// inhabited are the environments that have nodes, read once, where a node is to be made.
	inhabited func() map[string]bool
	copy      fleet.Copy
	// known: what is on hosts out of reach is known, from a keeper's copy.
	known bool
	// traces of ours are on hosts in reach.
	traces bool
	down   []string // hosts of the spec that don't answer, sorted

	pauses  map[string][]foundPause // by the record's key
	applied map[fleet.LayerID]bool  // layers that were brought to the spec that they have

	subnets map[string]*subnet // by environment
	parts   map[part]int       // indexes into plan.Networks
	onHosts map[string][]int   // the same by host

	halted       bool // the revision is refused as a whole
	pruneRefused bool
	plan         Plan
}

// host is one host, wanted or known.
type host struct {
	name  string
	spec  *spec.Host       // nil: taken out of the spec
	state *fleet.HostState // nil: it wasn't asked
	// mute is why its keeper can't be worked with; empty: it can, or one will be made.
	mute string
}

// up says whether its engine answered.
func (h *host) up() bool { return h != nil && h.state != nil && h.state.Reachable }

// problem is why it doesn't answer, for people.
func (h *host) problem() string {
	if h.state == nil || h.state.Problem == "" {
		return "no answer"
	}
	return h.state.Problem
}

// layer is one layer, wanted or existing.
type layer struct {
	id    fleet.LayerID
	env   *spec.Environment // nil: the environment isn't in the spec
	spec  *spec.Layer       // nil: not in the spec
	nodes []*node           // sorted by ordinal
	out   Layer
	image images
	pause *fleet.PauseRecord // nil: none holds
	held  bool               // operations are held back: the rollout has not ended
	// lacking is a host of a node that is to be redeployed and whose image isn't there; empty: there is none.
	lacking string
}

// node is one node, wanted or existing.
type node struct {
	id     fleet.NodeID
	layer  *layer
	wanted bool
	seen   *fleet.Node // nil: no instance of it was seen
	copy   *fleet.CopyNode
	// far is the host out of reach that it is on.
	far string
	// wait is why nothing can be done for it now.
	wait    string
	place   placement.Place
	serving bool
	// restart is what the keeper has of the current instance's restart text; nil: nothing.
	restart *fleet.RestartRecord
	// stale is a never healthy first instance that a create replaces.
	stale bool
}

func (n *node) current() *fleet.Instance {
	if n.seen == nil {
		return nil
	}
	return n.seen.CurrentInstance()
}

func newWorld(in Input) *world {
	in.Observed = sortedObserved(in.Observed)
	w := &world{
		in: in, fleet: in.Desired.Fleet,
		byHost: map[string]*host{}, byLayer: map[fleet.LayerID]*layer{}, byNode: map[fleet.NodeID]*node{},
		copy: fleet.NewestCopy(in.Observed), subnets: map[string]*subnet{},
	}
	w.recorded = sync.OnceValue(func() map[fleet.NodeID]int { return fleet.Recorded(w.in.Observed) })
	w.inhabited = sync.OnceValue(func() map[string]bool {
		environments := map[string]bool{}
		for _, l := range w.layers {
			environments[l.id.Environment] = environments[l.id.Environment] || l.highest() > 0
		}
		return environments
	})
	w.known = w.copy.Serial > 0
	w.indexHosts()
	w.indexNodes()
	return w
}

// sortedObserved sorts what the rest relies on being sorted, without touching the caller's.
func sortedObserved(o fleet.Observed) fleet.Observed {
	hosts := slices.Clone(o.Hosts)
	slices.SortFunc(hosts, func(a, b fleet.HostState) int { return cmp.Compare(a.Name, b.Name) })
	for i := range hosts {
		h := &hosts[i]
		h.Networks = sorted(h.Networks, func(a, b fleet.Network) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
		h.Volumes = sorted(h.Volumes, func(a, b fleet.Volume) int { return cmp.Compare(a.Name, b.Name) })
		h.Keepers = sorted(h.Keepers, func(a, b fleet.KeeperContainer) int {
			return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
		})
		if h.Keeper == nil {
			continue
		}
		byKey := func(a, b fleet.Record) int { return cmp.Compare(a.Key, b.Key) }
		if !slices.IsSortedFunc(h.Keeper.Records, byKey) {
			k := *h.Keeper
			k.Records = sorted(k.Records, byKey)
			h.Keeper = &k
		}
	}
	return fleet.Observed{Hosts: hosts}
}

func sorted[T any](s []T, compare func(a, b T) int) []T {
	if slices.IsSortedFunc(s, compare) {
		return s
	}
	s = slices.Clone(s)
	slices.SortFunc(s, compare)
	return s
}

func (w *world) indexHosts() {
	w.fleet.Hosts = sorted(w.fleet.Hosts, func(a, b spec.Host) int { return cmp.Compare(a.Name, b.Name) })
	for i := range w.fleet.Hosts {
		w.host(w.fleet.Hosts[i].Name).spec = &w.fleet.Hosts[i]
	}
	for i := range w.in.Observed.Hosts {
		h := w.host(w.in.Observed.Hosts[i].Name)
		h.state = &w.in.Observed.Hosts[i]
		if h.up() {
			h.mute = muteness(h.state)
			w.traces = w.traces || HasTraces(h.state, w.fleet.Name)
		}
	}
	for i := range w.copy.Hosts {
		w.host(w.copy.Hosts[i].Name)
	}
	for i := range w.copy.Nodes {
		w.host(w.copy.Nodes[i].Host)
	}
	slices.SortFunc(w.hosts, func(a, b *host) int { return cmp.Compare(a.name, b.name) })
	for _, h := range w.hosts {
		if h.spec != nil && !h.up() {
			w.down = append(w.down, h.name)
		}
	}
}

// host returns the host of that name, known from now on.
func (w *world) host(name string) *host {
	h := w.byHost[name]
	if h == nil {
		h = &host{name: name}
		w.byHost[name] = h
		w.hosts = append(w.hosts, h)
	}
	return h
}

// HasTraces says whether a host that was read has anything of the fleet: then the fleet is no new one.
func HasTraces(h *fleet.HostState, name string) bool {
	if len(h.Instances)+len(h.Keepers)+len(h.Volumes) > 0 {
		return true
	}
	return slices.ContainsFunc(h.Networks, func(n fleet.Network) bool { return n.Fleet == name })
}

// indexNodes gathers the nodes that are wanted, were seen, or are in the copy.
func (w *world) indexNodes() {
	for e := range w.in.Desired.Environments {
		env := &w.in.Desired.Environments[e]
		for i := range env.Layers {
			l := w.layer(fleet.LayerID{Environment: env.Name, Layer: env.Layers[i].Name})
			l.env, l.spec = env, &env.Layers[i]
			for n := 1; n <= l.spec.Replicas; n++ {
				w.node(fleet.NodeID{Environment: env.Name, Layer: l.spec.Name, Node: n}).wanted = true
			}
		}
	}
	seen := fleet.Nodes(w.in.Observed)
	for i := range seen {
		w.node(seen[i].NodeID).seen = &seen[i]
	}
	for i := range w.copy.Nodes {
		c := &w.copy.Nodes[i]
		// The copy of a node that was seen nowhere, on a host that was read, is only out of date.
		if h := w.byHost[c.Host]; h.up() && w.byNode[c.NodeID] == nil {
			continue
		}
		w.node(c.NodeID).copy = c
	}
	slices.SortFunc(w.layers, func(a, b *layer) int { return a.id.Compare(b.id) })
	for _, l := range w.layers {
		l.nodes = sorted(l.nodes, func(a, b *node) int { return a.id.Node - b.id.Node })
		l.out = Layer{
			Environment: l.id.Environment, Layer: l.id.Layer, Spec: l.spec, Removed: l.spec == nil,
			Strategy: spec.Simultaneous, Operations: []Operation{},
		}
		if l.env == nil {
			l.env = w.in.Desired.Environment(l.id.Environment)
		}
		for _, n := range l.nodes {
			n.serving = n.seen != nil && fleet.Serving(w.in.Observed, n.seen) == ""
			n.readRestart(w)
		}
	}
}

func (n *node) readRestart(w *world) {
	cur := n.current()
	if cur == nil || !n.wanted {
		return
	}
	var r fleet.RestartRecord
	if w.byHost[cur.Host].state.Keeper.Record(fleet.RestartKey(n.id), &r) {
		n.restart = &r
	}
}

func (w *world) layer(id fleet.LayerID) *layer {
	l := w.byLayer[id]
	if l == nil {
		l = &layer{id: id}
		w.byLayer[id] = l
		w.layers = append(w.layers, l)
	}
	return l
}

func (w *world) node(id fleet.NodeID) *node {
	n := w.byNode[id]
	if n == nil {
		l := w.layer(id.LayerID())
		n = &node{id: id, layer: l}
		w.byNode[id] = n
		l.nodes = append(l.nodes, n)
	}
	return n
}

// generation is the one that a new instance of the node gets: higher than any that was ever known.
func (w *world) generation(n *node) int {
	g := w.recorded()[n.id] + 1
	if n.seen != nil {
		g = max(g, n.seen.NextGeneration())
	}
	if n.copy != nil {
		g = max(g, n.copy.Generation+1)
	}
	return g
}
