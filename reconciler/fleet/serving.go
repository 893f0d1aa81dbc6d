package fleet

import (
	"cmp"
	"slices"
)

// standing is how a node stands with those who ask for its layer.
type standing int

const (
	serves    standing = iota
	unheard            // it runs, and its keeper isn't there to say more
	undecided          // it runs, and nothing has been heard of its health yet
	unhealthy          // its health check, or a probe, says so
	kept               // the controller keeps it out of the names
	down               // it doesn't run
)

// Serving says why a node doesn't serve; empty: it does. Serving is running, healthy, and present in its
// layer's names, as far as that was read.
func Serving(o Observed, n *Node) string {
	_, why := stands(o, n)
	return why
}

// Undecided says whether a node runs and nothing has been heard of its health yet: it was started, or is
// probed in another way, a moment ago.
func Undecided(o Observed, n *Node) bool {
	s, _ := stands(o, n)
	return s == undecided
}

// Outage says whether no node of a layer is healthy, and why: at least one runs and is unhealthy, and no other
// serves. Without reasons, and clear, a node serves. It isn't clear while that may be different in a moment: a
// node is kept out of the names, or nothing has been heard of its health yet; nor where none runs.
func Outage(o Observed, nodes []*Node) (reasons []string, clear bool) {
	for _, n := range nodes {
		switch s, why := stands(o, n); s {
		case serves:
			return nil, true
		case unheard, undecided, kept:
			return nil, false
		case unhealthy:
			if !slices.Contains(reasons, why) {
				reasons = append(reasons, why)
			}
		}
	}
	return reasons, len(reasons) > 0
}

func stands(o Observed, n *Node) (s standing, why string) {
	in := n.CurrentInstance()
	if in == nil {
		return down, "not there yet"
	}
	switch {
	case in.State != StateRunning:
		return down, string(in.State)
	case in.Health == HealthStarting:
		return undecided, "its health check has not succeeded yet"
	case in.Health == HealthUnhealthy:
		return unhealthy, "its health check fails"
	}
	h := o.Host(in.Host)
	if h == nil || h.Keeper == nil {
		return unheard, "" // nothing more is known, and running it is
	}
	for i := range h.Keeper.Zone.Nodes {
		z := &h.Keeper.Zone.Nodes[i]
		if z.Instance == in.ID {
			return named(h.Keeper, z)
		}
	}
	if in.Network == "" {
		return kept, "it isn't on its environment's network"
	}
	return kept, "not in the names yet"
}

// named is how a node stands that its keeper knows.
func named(k *KeeperState, z *ZoneNode) (s standing, why string) {
	if z.Out != "" {
		return kept, z.Out
	}
	gated := true
	for _, p := range z.Probes {
		gated = gated && p.Gate
	}
	if gated {
		return serves, ""
	}
	r, ok := k.ProbeResult(z.Instance)
	switch {
	case !ok || r.Pending:
		return undecided, "not probed yet"
	case r.Healthy:
		return serves, ""
	}
	return unhealthy, cmp.Or(r.Last, "unhealthy")
}

// NewestCopy is the copy with the highest serial that any keeper in reach has.
func NewestCopy(o Observed) Copy {
	var newest Copy
	for i := range o.Hosts {
		if k := o.Hosts[i].Keeper; k != nil && k.Copy.Serial > newest.Serial {
			newest = k.Copy
		}
	}
	return newest
}
