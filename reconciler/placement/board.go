package placement

import (
	"slices"

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
func (b *board) count(h int, n *Node) int { return b.layers[n.LayerID()][h] }

// take counts a node on a host; a host that isn't in the fleet counts for nothing.
func (b *board) take(h int, n *Node) {
	if h < 0 {
		return
	}
	b.hold(h, n)
	layer := b.layers[n.LayerID()]
	if layer == nil {
		layer = map[int]int{}
		b.layers[n.LayerID()] = layer
	}
	layer[h]++
	env := b.envs[n.Environment]
	if env == nil {
		env = map[int]int{}
		b.envs[n.Environment] = env
	}
	env[h]++
}

// hold keeps a node's room on a host without counting it as one of the layer's there.
func (b *board) hold(h int, n *Node) {
	if h < 0 {
		return
	}
	b.reserved[h].Memory += n.Reserved.Memory
	b.reserved[h].CPU += n.Reserved.CPU
}

// release gives back what hold kept.
func (b *board) release(h int, n *Node) {
	if h < 0 {
		return
	}
	b.reserved[h].Memory -= n.Reserved.Memory
	b.reserved[h].CPU -= n.Reserved.CPU
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
