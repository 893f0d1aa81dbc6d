// Package placement finds a host for every node: pure data in, pure data out, the same for every
// permutation of its input. It never moves a node that may stay where it is, and where it finds no
// place it says why, host by host counted.
package placement

import (
	"cmp"
	"slices"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// Host is a host as placement sees it.
type Host struct {
	Name string
	// Unfit is why nothing new may be placed on it, in the words of an explanation ("cordoned", "doesn't
	// answer"); empty: it takes nodes. Nodes that are on an unfit host stay there.
	Unfit  string
	Labels map[string]string
	// Capacity is all that nodes may reserve on it together.
	Capacity spec.Resources
}

// Node is a node that is wanted.
type Node struct {
	fleet.NodeID
	// Host is where it is; empty: nowhere yet.
	Host string
	// Bound is the host of its volumes; empty: it may be anywhere.
	Bound string
	// Prefer is where something was already prepared for it; it goes there, if it goes, as long as that fits.
	Prefer string
	// Fixed: nothing can be done to it now (its host doesn't answer); it counts where it is.
	Fixed        bool
	Reserved     spec.Resources
	Labels       map[string]string // that its host must carry
	AntiAffinity spec.AntiAffinity
}

// Place is where a node belongs.
type Place struct {
	fleet.NodeID
	// Host is where it belongs; empty: nowhere, see Reason.
	Host string
	// Reason is why there is no place for it, or, where Host is the one that it is on, why it should be
	// elsewhere and can't.
	Reason string
	// Because is why it leaves the host that it was on.
	Because string
}

// Room returns what nodes may reserve on a host: what its spec says, else what the engine reports less
// the host's reserve.
func Room(h spec.Host, e fleet.Engine) spec.Resources {
	room := h.Capacity
	if room.Memory == 0 {
		room.Memory = max(0, e.Memory-h.Reserve.Memory)
	}
	if room.CPU == 0 {
		room.CPU = max(0, spec.MilliCPU(e.CPUs)*1000-h.Reserve.CPU)
	}
	return room
}

// Compute returns a place for each node, sorted by node. Others are nodes that nobody wants placed and
// that take room all the same: those about to be removed.
//
// Nodes that stay are counted first, then those that must leave their hosts find new ones, then the new
// nodes. One that must leave keeps its room where it is until it has a place elsewhere.
func Compute(hosts []Host, nodes, others []Node) []Place {
	b := newBoard(hosts)
	nodes = slices.Clone(nodes)
	slices.SortFunc(nodes, func(x, y Node) int { return x.Compare(y.NodeID) })
	places := make([]Place, len(nodes))
	leaving := b.settle(nodes, places)
	for i := range others {
		b.take(b.host(others[i].Host), &others[i])
	}
	b.move(nodes, places, leaving)
	var fresh []int
	for i := range nodes {
		if places[i].Host == "" {
			fresh = append(fresh, i)
		}
	}
	b.place(nodes, places, fresh)
	return places
}

// settle gives every node that stays its own host, and returns the indexes of those that must leave theirs.
func (b *board) settle(nodes []Node, places []Place) (leaving []int) {
	for i := range nodes {
		n := &nodes[i]
		places[i].NodeID = n.NodeID
		// A node that can't leave has its host before its siblings are asked whether they may stay.
		if n.Host != "" && (n.Fixed || n.Bound == n.Host) {
			places[i].Host = n.Host
			places[i].Reason = b.complaint(n)
			b.take(b.host(n.Host), n)
		}
	}
	for i := range nodes {
		n := &nodes[i]
		if places[i].Host != "" || n.Host == "" {
			continue
		}
		if n.Bound != "" {
			places[i].Because = "its volumes are on " + n.Bound
		} else {
			places[i].Because = b.complaint(n)
		}
		if places[i].Because != "" {
			b.hold(b.host(n.Host), n)
			leaving = append(leaving, i)
			continue
		}
		places[i].Host = n.Host
		b.take(b.host(n.Host), n)
	}
	return leaving
}

// move finds new hosts for the nodes that must leave theirs. Each that goes makes room for others, so
// those that found none are asked again; what still finds none stays: better where it shouldn't be than
// nowhere.
func (b *board) move(nodes []Node, places []Place, leaving []int) {
	for len(leaving) > 0 {
		b.place(nodes, places, leaving)
		left := leaving[:0:0]
		for _, i := range leaving {
			if places[i].Host == "" {
				left = append(left, i)
				continue
			}
			places[i].Reason = ""
			b.release(b.host(nodes[i].Host), &nodes[i])
		}
		if len(left) == len(leaving) {
			break
		}
		leaving = left
	}
	for _, i := range leaving {
		n, p := &nodes[i], &places[i]
		if n.Bound == "" {
			p.Reason = p.Because + "; " + p.Reason
		}
		p.Host, p.Because = n.Host, ""
		b.release(b.host(n.Host), n)
		b.take(b.host(n.Host), n)
	}
}

// place finds hosts for the given nodes: first for those that have no choice, because of their volumes or
// of what was already prepared for them, then for the others, layer by layer.
func (b *board) place(nodes []Node, places []Place, open []int) {
	for _, i := range open {
		if nodes[i].Bound != "" {
			b.placeBound(&nodes[i], &places[i])
		}
	}
	var free []int
	for _, i := range open {
		n := &nodes[i]
		if n.Bound != "" {
			continue
		}
		if h := b.host(n.Prefer); h >= 0 && refuse(b, n, h) < 0 {
			places[i].Host = n.Prefer
			b.take(h, n)
			continue
		}
		free = append(free, i)
	}
	for start := 0; start < len(free); {
		end := start + 1
		for end < len(free) && nodes[free[end]].LayerID() == nodes[free[start]].LayerID() {
			end++
		}
		b.placeLayer(nodes, places, free[start:end])
		start = end
	}
}

// complaint is why a node may not stay on its host; empty: it may. A cordoned host keeps its nodes, and
// so does one that is over its capacity.
func (b *board) complaint(n *Node) string {
	if n.Fixed {
		return ""
	}
	h := b.host(n.Host)
	switch {
	case h < 0:
		return n.Host + " isn't in the fleet any more"
	case !matches(b.hosts[h].Labels, n.Labels):
		return n.Host + " isn't labelled " + selector(n.Labels)
	case n.AntiAffinity == spec.AntiAffinityRequired && b.count(h, n) > 0:
		return n.Host + " has another node of the layer"
	}
	return ""
}

// placeBound puts a node where its volumes are. It isn't new there, so a cordon doesn't matter, and
// neither do labels: the data is where it is.
func (b *board) placeBound(n *Node, p *Place) {
	h := b.host(n.Bound)
	switch {
	case h < 0:
		p.Reason = "its volumes are on " + n.Bound + ", which isn't in the fleet any more"
	case b.hosts[h].Unfit != "" && b.hosts[h].Unfit != Cordoned:
		p.Reason = "its volumes are on " + n.Bound + ", which " + b.hosts[h].Unfit
	case n.AntiAffinity == spec.AntiAffinityRequired && b.count(h, n) > 0:
		p.Reason = "its volumes are on " + n.Bound + ", which already has a node of the layer"
	case !b.fits(h, n.Reserved):
		p.Reason = "its volumes are on " + n.Bound + ", which " + b.shortage(h, n.Reserved)
	default:
		p.Host = n.Bound
		b.take(h, n)
	}
}

// placeLayer places the open nodes of one layer, which all ask for the same.
func (b *board) placeLayer(nodes []Node, places []Place, open []int) {
	queue := b.queue()
	why := ""
	for _, i := range open {
		n := &nodes[i]
		if h := queue.take(n); h >= 0 {
			places[i].Host = b.hosts[h].Name
			continue
		}
		if why == "" {
			why = b.explain(n)
		}
		places[i].Reason = why
	}
}

// selector writes labels as people read them: zone=a,disk=ssd, sorted.
func selector(labels map[string]string) string {
	keys := make([]string, 0, len(labels))
	for k := range labels {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, cmp.Compare)
	s := ""
	for i, k := range keys {
		if i > 0 {
			s += ","
		}
		s += k + "=" + labels[k]
	}
	return s
}

func matches(have, want map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}
