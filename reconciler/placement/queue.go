package placement

import (
	"cmp"
	"container/heap"
)

// candidate is a host that fits, with what it is compared by.
type candidate struct {
	host       int // hosts are sorted by name, so the index compares as the name does
	layer, env int
	share      float64
}

// queue holds the hosts that fit a layer's nodes, the best one first: the one with the fewest nodes of
// the layer, then of the environment, then the least reserved, then by name.
type queue []candidate

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q queue) Less(i, j int) bool {
	a, b := q[i], q[j]
	return cmp.Or(cmp.Compare(a.layer, b.layer), cmp.Compare(a.env, b.env), cmp.Compare(a.share, b.share), cmp.Compare(a.host, b.host)) < 0
}
func (q *queue) Push(x any) { *q = append(*q, x.(candidate)) }
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

// best returns the best host, or -1.
func (q *queue) best() int {
	if len(*q) == 0 {
		return -1
	}
	return (*q)[0].host
}

// update takes the first host's new node into account, and drops the host where it can't take another.
func (q *queue) update(b *board, n *Node, h int) {
	if refuse(b, n, h) >= 0 {
		heap.Pop(q)
		return
	}
	(*q)[0] = b.candidate(h, n)
	heap.Fix(q, 0)
}

func (b *board) candidate(h int, n *Node) candidate {
	return candidate{host: h, layer: b.layers[n.LayerID()][h], env: b.envs[n.Environment][h], share: b.share(h)}
}

// candidates runs every host through the filters.
func (b *board) candidates(n *Node) *queue {
	q := make(queue, 0, len(b.hosts))
	for h := range b.hosts {
		if refuse(b, n, h) < 0 {
			q = append(q, b.candidate(h, n))
		}
	}
	heap.Init(&q)
	return &q
}
