package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"sort"
	"sync"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
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

	// recorded reads all of the keepers' records, once, and only where a node is to be made.
	recorded func() map[fleet.NodeID]int
	// holders are the instances by their addresses, read once, where one doesn't run.
	holders func() map[netip.Addr][]*fleet.Instance
	// inhabited are the environments that have nodes, read once, where a node is to be made.
	inhabited func() map[string]bool
	copy      fleet.Copy
	// known: what is on hosts out of reach is known, from a keeper's copy.
	known bool
	// traces of ours are on hosts in reach.
	traces bool
	down   []string // hosts of the spec that don't answer, sorted

	// restarts, currents and appliedRead are those records that were read.
	restarts    fleet.Read[fleet.RestartRecord]
	currents    fleet.Read[fleet.CurrentRecord]
	appliedRead fleet.Read[fleet.AppliedRecord]
	stale       []staleRecord

	active []string                // the active hosts in reach; nil: not gathered yet
	pauses map[string][]foundPause // by the record's key

	subnets map[string]*subnet // by environment
	sets    int                // how many sets of hosts were made

	said    map[string]map[string]string // by zone, then by name
	wishing bool                         // wishes are worked out
	wishes  map[string][]names.Name

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
	// parts are its parts of the environments' networks, sorted.
	parts []part
	set   int // the last set of hosts that it was put into
}

// up says whether its engine answered.
func (h *host) up() bool { return h != nil && h.state != nil && h.state.Reachable }

// hostSet are hosts in reach, each once. There is one at a time.
type hostSet struct {
	number int
	list   []*host
}

func (w *world) newSet() hostSet {
	w.sets++
	return hostSet{number: w.sets}
}

// add puts a host into the set, unless it is out of reach.
func (s *hostSet) add(h *host) {
	if h.up() && h.set != s.number {
		h.set = s.number
		s.list = append(s.list, h)
	}
}

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
	// brought is the record of the layer once nothing is left to do for it; of a layer in the spec only.
	brought fleet.AppliedRecord
	image   images
	pause   *fleet.PauseRecord // nil: none holds
	held    bool               // operations are held back: the rollout has not ended
	applied bool               // it was brought to the spec that it has
	noted   []*host            // those whose keepers have the record brought, sorted
	// lacking is a host of a node that is to be redeployed and whose image isn't there; empty: there is none.
	lacking string
	// changed is what differs from what is written now, by what an instance was made for, where that was looked at.
	changed map[string][]Cause
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
		byHost: map[string]*host{}, byLayer: map[fleet.LayerID]*layer{},
		copy: fleet.NewestCopy(in.Observed), subnets: map[string]*subnet{},
		restarts: fleet.Read[fleet.RestartRecord]{}, currents: fleet.Read[fleet.CurrentRecord]{}, appliedRead: fleet.Read[fleet.AppliedRecord]{},
	}
	w.recorded = sync.OnceValue(func() map[fleet.NodeID]int { return fleet.Recorded(w.in.Observed) })
	w.holders = sync.OnceValue(func() map[netip.Addr][]*fleet.Instance { return holdersOf(w.in.Observed) })
	w.inhabited = sync.OnceValue(func() map[string]bool {
		environments := map[string]bool{}
		for _, l := range w.layers {
			environments[l.id.Environment] = environments[l.id.Environment] || l.highest() > 0
		}
		return environments
	})
	w.known = w.copy.Serial > 0
	if in.Said != nil {
		w.said = map[string]map[string]string{}
		for i := range w.fleet.External {
			w.said[w.fleet.External[i].Name] = SaidOf(in.Said, w.fleet.External[i].Name)
		}
	}
	w.indexHosts()
	w.indexNodes()
	w.readRecords()
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
	environments := make(map[string]*spec.Environment, len(w.in.Desired.Environments))
	for e := range w.in.Desired.Environments {
		env := &w.in.Desired.Environments[e]
		environments[env.Name] = env
		for i := range env.Layers {
			l := w.layer(fleet.LayerID{Environment: env.Name, Layer: env.Layers[i].Name})
			l.env, l.spec, l.brought = env, &env.Layers[i], fleet.AppliedOf(&env.Layers[i])
			l.want(l.spec.Replicas)
		}
	}
	seen := fleet.Nodes(w.in.Observed)
	for i := range seen {
		w.node(seen[i].NodeID).seen = &seen[i]
	}
	for i := range w.copy.Nodes {
		c := &w.copy.Nodes[i]
		n := w.find(c.NodeID)
		if n == nil {
			// The copy of a node that was seen nowhere, on a host that was read, is only out of date.
			if w.byHost[c.Host].up() {
				continue
			}
			n = w.node(c.NodeID)
		}
		n.copy = c
	}
	slices.SortFunc(w.layers, func(a, b *layer) int { return a.id.Compare(b.id) })
	for _, l := range w.layers {
		l.out = Layer{
			Environment: l.id.Environment, Layer: l.id.Layer, Spec: l.spec, Removed: l.spec == nil,
			Strategy: spec.Simultaneous, Operations: []Operation{},
		}
		if l.env == nil {
			l.env = environments[l.id.Environment]
		}
		for _, n := range l.nodes {
			n.serving = n.seen != nil && fleet.Serving(w.in.Observed, n.seen) == ""
		}
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

// want gives the layer, which has no node yet, those that are wanted.
func (l *layer) want(replicas int) {
	nodes := make([]node, replicas)
	l.nodes = make([]*node, replicas)
	for i := range nodes {
		nodes[i] = node{id: fleet.NodeID{Environment: l.id.Environment, Layer: l.id.Layer, Node: i + 1}, layer: l, wanted: true}
		l.nodes[i] = &nodes[i]
	}
}

// index is where the layer's node of that ordinal is, or would be.
func (l *layer) index(ordinal int) (i int, there bool) {
	if i := ordinal - 1; i >= 0 && i < len(l.nodes) && l.nodes[i].id.Node == ordinal {
		return i, true // as it is where none before it is missing
	}
	return sort.Find(len(l.nodes), func(i int) int { return cmp.Compare(ordinal, l.nodes[i].id.Node) })
}

// find returns the node, or nil.
func (w *world) find(id fleet.NodeID) *node {
	l := w.byLayer[id.LayerID()]
	if l == nil {
		return nil
	}
	i, there := l.index(id.Node)
	if !there {
		return nil
	}
	return l.nodes[i]
}

// node returns the node, known from now on.
func (w *world) node(id fleet.NodeID) *node {
	l := w.layer(id.LayerID())
	i, there := l.index(id.Node)
	if !there {
		l.nodes = slices.Insert(l.nodes, i, &node{id: id, layer: l})
	}
	return l.nodes[i]
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
