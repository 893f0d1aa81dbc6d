package names

import (
	"maps"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// How nodes whose health comes and goes are found again.
const (
	// firstProof is how long a node has to stay well that has been unwell twice, before external names lead to it
	// again; each further time it is twice as long, up to longestProof.
	firstProof   = 15 * time.Second
	longestProof = 4 * time.Minute
	// calm is how long a node has to stay well for what was before not to count any more.
	calm = 10 * time.Minute
)

// Damping keeps a node whose health comes and goes out of external names for longer each time: providers take few
// changes. It never keeps one in. The zero value knows of none.
type Damping struct {
	nodes map[fleet.NodeID]spell
}

// spell is how a node has been of late.
type spell struct {
	unwell bool
	times  int
	last   time.Time // that it was unwell
}

// See takes in how a node is. It returns how long the node has to stay well from now on, where it has just become so.
func (d *Damping) See(now time.Time, id fleet.NodeID, unwell bool) (proof time.Duration) {
	s, known := d.nodes[id]
	if known && now.Sub(s.last) >= calm {
		delete(d.nodes, id)
		s, known = spell{}, false
	}
	switch {
	case !known && !unwell:
		return 0
	case unwell:
		if !s.unwell {
			s.times++
		}
		s.last = now
	case s.unwell:
		proof = s.proof()
	}
	s.unwell = unwell
	if d.nodes == nil {
		d.nodes = map[fleet.NodeID]spell{}
	}
	d.nodes[id] = s
	return proof
}

// Out says whether a node has not been well for long enough.
func (d *Damping) Out(now time.Time, id fleet.NodeID) bool {
	s, known := d.nodes[id]
	return known && now.Sub(s.last) < s.proof()
}

// Forget has what was before not count any more: somebody has seen to the node.
func (d *Damping) Forget(id fleet.NodeID) { delete(d.nodes, id) }

// Clone is as it is now.
func (d *Damping) Clone() Damping { return Damping{maps.Clone(d.nodes)} }

func (s spell) proof() time.Duration {
	if s.times < 2 {
		return 0
	}
	return min(firstProof<<min(s.times-2, 8), longestProof)
}
