package placement

import (
	"cmp"
	"slices"
	"sort"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// board is what is where while places are chosen.
type board struct {
	hosts    []Host // sorted by name
	index    map[string]int
	reserved []spec.Resources // by host
	layers   map[fleet.LayerID]map[int]int
	envs     map[string]map[int]int
	last     tally
	// ranked are the hosts from the least reserved to the most, then by name; nil: nobody has asked for that yet.
	ranked []int
	shares []float64 // as they are ranked by, by host
}

// tally is how many nodes of a layer, and of its environment, are on each host.
type tally struct {
	of         fleet.LayerID
	layer, env map[int]int
}

func newBoard(hosts []Host) *board {
	hosts = slices.Clone(hosts)
	slices.SortFunc(hosts, func(x, y Host) int {
		if x.Name < y.Name {
			return -1
		}
		return 1
	})
	b := &board{
		hosts:    hosts,
		index:    make(map[string]int, len(hosts)),
		reserved: make([]spec.Resources, len(hosts)),
		layers:   map[fleet.LayerID]map[int]int{},
		envs:     map[string]map[int]int{},
	}
	for i := range hosts {
		b.index[hosts[i].Name] = i
	}
	return b
}

// host returns the index of the host of that name, or -1.
func (b *board) host(name string) int {
	if i, ok := b.index[name]; ok {
		return i
	}
	return -1
}

// count is how many nodes of n's layer are on a host.
func (b *board) count(h int, n *Node) int { return b.tally(n).layer[h] }

// tally is that of n's layer. Nodes are asked for layer by layer.
func (b *board) tally(n *Node) *tally {
	of := n.LayerID()
	if b.last.layer != nil && b.last.of == of {
		return &b.last
	}
	layer, env := b.layers[of], b.envs[of.Environment]
	if layer == nil {
		layer = map[int]int{}
		b.layers[of] = layer
	}
	if env == nil {
		env = map[int]int{}
		b.envs[of.Environment] = env
	}
	b.last = tally{of, layer, env}
	return &b.last
}

// take counts a node on a host; a host that isn't in the fleet counts for nothing.
func (b *board) take(h int, n *Node) {
	if h < 0 {
		return
	}
	b.hold(h, n)
	t := b.tally(n)
	t.layer[h]++
	t.env[h]++
}

// hold keeps a node's room on a host without counting it as one of the layer's there.
func (b *board) hold(h int, n *Node) {
	if h < 0 {
		return
	}
	b.reserved[h].Memory += n.Reserved.Memory
	b.reserved[h].CPU += n.Reserved.CPU
	b.rank(h)
}

// release gives back what hold kept.
func (b *board) release(h int, n *Node) {
	if h < 0 {
		return
	}
	b.reserved[h].Memory -= n.Reserved.Memory
	b.reserved[h].CPU -= n.Reserved.CPU
	b.rank(h)
}

// rankAll ranks the hosts, which are kept so from then on.
func (b *board) rankAll() {
	b.ranked, b.shares = make([]int, len(b.hosts)), make([]float64, len(b.hosts))
	for h := range b.hosts {
		b.ranked[h], b.shares[h] = h, b.share(h)
	}
	slices.SortFunc(b.ranked, func(x, y int) int { return cmp.Or(cmp.Compare(b.shares[x], b.shares[y]), cmp.Compare(x, y)) })
}

// rank puts a host where it belongs after what is reserved on it has changed.
func (b *board) rank(h int) {
	if b.ranked == nil {
		return
	}
	was := b.ranking(h)
	copy(b.ranked[was:], b.ranked[was+1:])
	rest := b.ranked
	b.ranked, b.shares[h] = rest[:len(rest)-1], b.share(h)
	is := b.ranking(h)
	copy(rest[is+1:], rest[is:len(rest)-1])
	rest[is] = h
	b.ranked = rest
}

// ranking is where a host is among those ranked, or would be.
func (b *board) ranking(h int) int {
	share := b.shares[h]
	return sort.Search(len(b.ranked), func(i int) bool {
		other := b.ranked[i]
		return b.shares[other] > share || b.shares[other] == share && other >= h
	})
}

// free is what is left to reserve on a host.
func (b *board) free(h int) spec.Resources {
	c := b.hosts[h].Capacity
	return spec.Resources{Memory: c.Memory - b.reserved[h].Memory, CPU: c.CPU - b.reserved[h].CPU}
}

func (b *board) fits(h int, want spec.Resources) bool {
	free := b.free(h)
	return want.Memory <= free.Memory && want.CPU <= free.CPU
}

// share is how much of a host is reserved, by whichever of memory and CPU is scarcer.
func (b *board) share(h int) float64 {
	r, c := b.reserved[h], b.hosts[h].Capacity
	return max(ratio(int64(r.Memory), int64(c.Memory)), ratio(int64(r.CPU), int64(c.CPU)))
}

func ratio(part, whole int64) float64 {
	if whole <= 0 {
		return 1
	}
	return float64(part) / float64(whole)
}
