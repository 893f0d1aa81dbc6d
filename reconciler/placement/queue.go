package placement

import (
	"cmp"
	"container/heap"
)

// queue finds the best host for the nodes of a layer, which all ask for the same, one after the other: the one with
// the fewest nodes of the layer, then of the environment, then the least reserved, then by name.
//
// A host without nodes of the environment comes before every other, so hosts are gone through as they are ranked, as
// far as needed: a fleet of many nodes isn't hosts times layers. Only when none of those is left the others are
// compared.
type queue struct {
	b      *board
	next   int // hosts that are ranked before have nodes of the environment, or don't fit
	others *candidates
}

func (b *board) queue() *queue {
	if b.ranked == nil {
		b.rankAll()
	}
	return &queue{b: b}
}

// take returns the best host for n, which is put there; -1: none fits.
func (q *queue) take(n *Node) int {
	if h := q.fresh(n); h >= 0 {
		q.b.take(h, n) // it is ranked after q.next from now on, or is passed over as it has a node of the environment
		return h
	}
	if q.others == nil {
		q.others = q.b.candidates(n)
	}
	if len(*q.others) == 0 {
		return -1
	}
	h := (*q.others)[0].host
	q.b.take(h, n)
	if refuse(q.b, n, h) >= 0 {
		heap.Pop(q.others)
		return h
	}
	(*q.others)[0] = q.b.candidate(h, n)
	heap.Fix(q.others, 0)
	return h
}

// fresh is the first host without nodes of the environment that fits, or -1.
func (q *queue) fresh(n *Node) int {
	env := q.b.tally(n).env
	for ; q.next < len(q.b.ranked); q.next++ {
		if h := q.b.ranked[q.next]; env[h] == 0 && refuse(q.b, n, h) < 0 {
			return h
		}
	}
	return -1
}

// candidate is a host that fits, with what it is compared by.
type candidate struct {
	host       int // hosts are sorted by name, so the index compares as the name does
	layer, env int
	share      float64
}

// candidates are a heap of hosts that fit, the best one first.
type candidates []candidate

func (q candidates) Len() int      { return len(q) }
func (q candidates) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q candidates) Less(i, j int) bool {
	a, b := q[i], q[j]
	return cmp.Or(cmp.Compare(a.layer, b.layer), cmp.Compare(a.env, b.env), cmp.Compare(a.share, b.share), cmp.Compare(a.host, b.host)) < 0
}
func (q *candidates) Push(x any) { *q = append(*q, x.(candidate)) }
func (q *candidates) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

func (b *board) candidate(h int, n *Node) candidate {
	t := b.tally(n)
	return candidate{host: h, layer: t.layer[h], env: t.env[h], share: b.share(h)}
}

// candidates are the hosts with nodes of n's environment that fit.
func (b *board) candidates(n *Node) *candidates {
	var q candidates
	for h := range b.tally(n).env {
		if refuse(b, n, h) < 0 {
			q = append(q, b.candidate(h, n))
		}
	}
	heap.Init(&q)
	return &q
}
