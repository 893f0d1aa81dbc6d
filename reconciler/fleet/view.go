package fleet

import (
	"cmp"
	"slices"
	"sort"
)

// Node is all that was seen of one node: its instances over all hosts that were read, and which of them
// is the current one.
type Node struct {
	NodeID
	// Recorded is the highest generation that any keeper recorded as healthy; 0: none did.
	Recorded int
	// Instances are sorted by generation, the newest last.
	Instances []Instance
	// Current is the index of the current instance in Instances; -1: there is none yet.
	Current int
	// Unproven: the current instance only stands in for one, since no keeper ever found the node healthy.
	// Where the keeper's records were lost nothing is known of that, and the node counts as proven.
	Unproven bool
}

// CurrentInstance returns the node's current instance, or nil.
func (n *Node) CurrentInstance() *Instance {
	if n.Current < 0 {
		return nil
	}
	return &n.Instances[n.Current]
}

// Candidate returns the newest instance beyond the current one, or nil.
func (n *Node) Candidate() *Instance {
	if len(n.Instances) == 0 || n.Current == len(n.Instances)-1 {
		return nil
	}
	return &n.Instances[len(n.Instances)-1]
}

// NextGeneration is the generation that a new instance of the node gets.
func (n *Node) NextGeneration() int {
	highest := n.Recorded
	for i := range n.Instances {
		highest = max(highest, n.Instances[i].Generation)
	}
	return highest + 1
}

// Nodes gathers the instances of all hosts that were read by node, sorted.
func Nodes(o Observed) []Node {
	keepers := make(map[string]*KeeperState, len(o.Hosts))
	for h := range o.Hosts {
		keepers[o.Hosts[h].Name] = o.Hosts[h].Keeper
	}
	layers, total := together(o)
	if total == 0 {
		return nil
	}
	nodes := make([]Node, 0, total)
	byLayer := make(map[LayerID][]Node, len(layers))
	for _, l := range layers {
		first := len(nodes)
		for start := 0; start < len(l.seen); {
			end := start + 1
			for end < len(l.seen) && l.seen[end].node == l.seen[start].node {
				end++
			}
			n := Node{NodeID: NodeID{l.id.Environment, l.id.Layer, l.seen[start].node}, Instances: l.seen[start].instances}
			for _, s := range l.seen[start+1 : end] {
				n.Instances = slices.Concat(n.Instances, s.instances)
			}
			if end-start > 1 {
				SortInstances(n.Instances)
			}
			nodes = append(nodes, n)
			start = end
		}
		byLayer[l.id] = nodes[first:]
	}
	noteRecorded(o, byLayer)
	read := Read[RestartRecord]{}
	for i := range nodes {
		n := &nodes[i]
		n.Current = current(n)
		n.Unproven = n.Recorded == 0 && n.Current >= 0 && unproven(keepers[n.CurrentInstance().Host], n, read)
	}
	return nodes
}

// NodeOf gathers the instances of one node on all hosts that were read; nil: there are none.
func NodeOf(o Observed, id NodeID) *Node {
	return gatherer{o, Read[CurrentRecord]{}, Read[RestartRecord]{}}.node(id)
}

// NodesOn gathers the nodes that have an instance on a host, each with its instances on all hosts that were read,
// sorted. What there is on other hosts besides costs nothing.
func NodesOn(o Observed, host string) []Node {
	h := o.Host(host)
	if h == nil || len(h.Instances) == 0 {
		return nil
	}
	g := gatherer{o, Read[CurrentRecord]{}, Read[RestartRecord]{}}
	nodes := make([]Node, 0, len(h.Instances))
	for i := range h.Instances {
		if id := h.Instances[i].NodeID; i == 0 || id != h.Instances[i-1].NodeID {
			nodes = append(nodes, *g.node(id))
		}
	}
	return nodes
}

// NodesIn gathers the nodes of some environments, each with its instances on all hosts that were read, sorted.
func NodesIn(o Observed, environments []string) []Node {
	var ids []NodeID
	for i := range o.Hosts {
		instances := o.Hosts[i].Instances
		for _, e := range environments {
			first := sort.Search(len(instances), func(i int) bool { return instances[i].Environment >= e })
			for ; first < len(instances) && instances[first].Environment == e; first++ {
				ids = append(ids, instances[first].NodeID)
			}
		}
	}
	slices.SortFunc(ids, NodeID.Compare)
	ids = slices.Compact(ids)
	g := gatherer{o, Read[CurrentRecord]{}, Read[RestartRecord]{}}
	nodes := make([]Node, 0, len(ids))
	for _, id := range ids {
		nodes = append(nodes, *g.node(id))
	}
	return nodes
}

// gatherer gathers nodes one by one.
type gatherer struct {
	o        Observed
	recorded Read[CurrentRecord]
	restarts Read[RestartRecord]
}

func (g gatherer) node(id NodeID) *Node {
	n := Node{NodeID: id}
	key := CurrentKey(id)
	for i := range g.o.Hosts {
		h := &g.o.Hosts[i]
		if r, ok := g.recorded.Record(h.Keeper, key); ok {
			n.Recorded = max(n.Recorded, r.Generation)
		}
		switch there := h.instancesOf(id); {
		case len(there) == 0:
		case n.Instances == nil:
			n.Instances = there
		default:
			n.Instances = append(n.Instances, there...) // another slice, since this one has no room
			SortInstances(n.Instances)
		}
	}
	if n.Instances == nil {
		return nil
	}
	if n.Current = current(&n); n.Recorded == 0 && n.Current >= 0 {
		n.Unproven = unproven(g.o.Host(n.CurrentInstance().Host).Keeper, &n, g.restarts)
	}
	return &n
}

// instancesOf are a node's instances on the host, in a slice without room for more.
func (h *HostState) instancesOf(id NodeID) []Instance {
	first := sort.Search(len(h.Instances), func(i int) bool { return h.Instances[i].Compare(id) >= 0 })
	last := first
	for last < len(h.Instances) && h.Instances[last].NodeID == id {
		last++
	}
	return h.Instances[first:last:last]
}

// noteRecorded puts down which generation of each node any keeper recorded. The nodes of a layer are sorted.
func noteRecorded(o Observed, byLayer map[LayerID][]Node) {
	read := Read[CurrentRecord]{}
	for h := range o.Hosts {
		o.Hosts[h].Keeper.current(read, func(id NodeID, generation int) {
			layer := byLayer[id.LayerID()]
			i := id.Node - 1 // where it is unless nodes before it are missing
			if i < 0 || i >= len(layer) || layer[i].Node != id.Node {
				var ok bool
				if i, ok = sort.Find(len(layer), func(i int) int { return cmp.Compare(id.Node, layer[i].Node) }); !ok {
					return
				}
			}
			layer[i].Recorded = max(layer[i].Recorded, generation)
		})
	}
}

// seenLayer is what was seen of a layer, host by host.
type seenLayer struct {
	id   LayerID
	seen []seenNode
}

// seenNode are a node's instances on one host. An instance is large and a node is on one host, mostly: they are the
// host's own slice.
type seenNode struct {
	node      int
	instances []Instance
}

// together are the layers that were seen, sorted, with what was seen of each sorted by node, and how much that is.
func together(o Observed) (layers []*seenLayer, total int) {
	byID := map[LayerID]*seenLayer{}
	for h := range o.Hosts {
		instances := o.Hosts[h].Instances
		if !sortedInstances(instances) {
			instances = slices.Clone(instances)
			SortInstances(instances)
		}
		var l *seenLayer
		for start := 0; start < len(instances); {
			end := start + 1
			for end < len(instances) && instances[end].NodeID == instances[start].NodeID {
				end++
			}
			if id := instances[start].LayerID(); l == nil || l.id != id {
				if l = byID[id]; l == nil {
					l = &seenLayer{id: id}
					byID[id] = l
					layers = append(layers, l)
				}
			}
			l.seen = append(l.seen, seenNode{instances[start].Node, instances[start:end:end]})
			total++
			start = end
		}
	}
	slices.SortFunc(layers, func(a, b *seenLayer) int { return a.id.Compare(b.id) })
	for _, l := range layers {
		slices.SortStableFunc(l.seen, func(a, b seenNode) int { return cmp.Compare(a.node, b.node) })
	}
	return layers, total
}

// Recorded is the highest generation of each node that any keeper recorded as healthy, also of nodes that
// have no instance any more.
func Recorded(o Observed) map[NodeID]int {
	total := 0
	for h := range o.Hosts {
		total += len(o.Hosts[h].Instances)
	}
	recorded, read := make(map[NodeID]int, total), Read[CurrentRecord]{}
	for h := range o.Hosts {
		o.Hosts[h].Keeper.current(read, func(id NodeID, generation int) { recorded[id] = max(recorded[id], generation) })
	}
	return recorded
}

// Current is the highest generation of each node that the keeper recorded as healthy.
func (k *KeeperState) Current() map[NodeID]int {
	current := map[NodeID]int{}
	k.current(Read[CurrentRecord]{}, func(id NodeID, generation int) { current[id] = max(current[id], generation) })
	return current
}

// current tells the keeper's generations.
func (k *KeeperState) current(read Read[CurrentRecord], tell func(id NodeID, generation int)) {
	for _, r := range k.withPrefix(currentPrefix) {
		id, ok := nodeOf(currentPrefix, r.Key)
		if !ok {
			continue
		}
		if c := read.Value(r.Value); c != nil {
			tell(id, c.Generation)
		}
	}
}

// unproven tells a first instance that has not been healthy yet from a node whose keeper lost its records:
// the restart text is recorded before a node is first started.
func unproven(k *KeeperState, n *Node, read Read[RestartRecord]) bool {
	_, ok := read.Record(k, RestartKey(n.NodeID))
	return ok
}

// current picks the highest generation that was ever healthy. Without a record, which means that a
// keeper's volume was lost or that the first instance has not been healthy yet, the newest that was ever
// started stands in for it.
func current(n *Node) int {
	best := -1
	for i := range n.Instances {
		in := &n.Instances[i]
		if in.Generation <= n.Recorded || n.Recorded == 0 && !in.StartedAt.IsZero() {
			best = i
		}
	}
	return best
}

// SortInstances sorts by node, then by generation.
func SortInstances(instances []Instance) {
	slices.SortFunc(instances, func(a, b Instance) int { return compareInstances(&a, &b) })
}

func sortedInstances(instances []Instance) bool {
	for i := 1; i < len(instances); i++ {
		if compareInstances(&instances[i-1], &instances[i]) > 0 {
			return false
		}
	}
	return true
}

func compareInstances(a, b *Instance) int {
	if c := a.Compare(b.NodeID); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.Host, b.Host), cmp.Compare(a.ID, b.ID))
}
