package fleet

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
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
	total := 0
	keepers := make(map[string]*KeeperState, len(o.Hosts))
	for h := range o.Hosts {
		keepers[o.Hosts[h].Name] = o.Hosts[h].Keeper
		total += len(o.Hosts[h].Instances)
	}
	seen := make([]*Instance, 0, total) // an instance is large: sort what points to it
	for h := range o.Hosts {
		for i := range o.Hosts[h].Instances {
			seen = append(seen, &o.Hosts[h].Instances[i])
		}
	}
	slices.SortFunc(seen, func(a, b *Instance) int {
		if c := a.Compare(b.NodeID); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.Host, b.Host), cmp.Compare(a.ID, b.ID))
	})
	all := make([]Instance, total)
	for i := range seen {
		all[i] = *seen[i]
	}
	recorded := Recorded(o)
	var nodes []Node
	for start := 0; start < total; {
		end := start + 1
		for end < total && all[end].NodeID == all[start].NodeID {
			end++
		}
		n := Node{NodeID: all[start].NodeID, Recorded: recorded[all[start].NodeID], Instances: all[start:end:end]}
		n.Current = current(&n)
		n.Unproven = unproven(keepers, &n)
		nodes = append(nodes, n)
		start = end
	}
	return nodes
}

// Recorded is the highest generation of each node that any keeper recorded as healthy, also of nodes that
// have no instance any more.
func Recorded(o Observed) map[NodeID]int {
	recorded := map[NodeID]int{}
	for h := range o.Hosts {
		for id, generation := range o.Hosts[h].Keeper.Current() {
			recorded[id] = max(recorded[id], generation)
		}
	}
	return recorded
}

// Current is the highest generation of each node that the keeper recorded as healthy.
func (k *KeeperState) Current() map[NodeID]int {
	records := k.withPrefix(currentPrefix)
	current := make(map[NodeID]int, len(records))
	for i := range records {
		var r CurrentRecord
		if id, ok := currentNode(records[i].Key); ok && json.Unmarshal(records[i].Value, &r) == nil {
			current[id] = r.Generation
		}
	}
	return current
}

const currentPrefix = "current/"

// currentNode reads the node out of the key of a CurrentRecord.
func currentNode(key string) (NodeID, bool) {
	rest, ok := strings.CutPrefix(key, currentPrefix)
	if !ok {
		return NodeID{}, false
	}
	environment, rest, _ := strings.Cut(rest, "/")
	layer, ordinal, _ := strings.Cut(rest, "/")
	node, err := strconv.Atoi(ordinal)
	return NodeID{environment, layer, node}, err == nil
}

// unproven tells a first instance that has not been healthy yet from a node whose keeper lost its records:
// the restart text is recorded before a node is first started.
func unproven(keepers map[string]*KeeperState, n *Node) bool {
	if n.Recorded > 0 || n.Current < 0 {
		return false
	}
	var r RestartRecord
	return keepers[n.Instances[n.Current].Host].Record(RestartKey(n.NodeID), &r)
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
	slices.SortFunc(instances, func(a, b Instance) int {
		return cmp.Or(a.NodeID.Compare(b.NodeID), cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.ID, b.ID))
	})
}
