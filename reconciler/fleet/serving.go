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

// Named says whether a node may be in its keeper's answers: it serves, or the keeper has it among those that are to be
// found, which it answers with where none of them is known to be healthy.
func Named(o Observed, n *Node) bool {
	switch s, _ := stands(o, n); s {
	case serves, unheard, undecided:
		return true
	case unhealthy:
		return toBeFound(o, n)
	}
	return false
}

// toBeFound says whether a node's keeper has it among those that are to be found.
func toBeFound(o Observed, n *Node) bool {
	in := n.CurrentInstance()
	h := o.Host(in.Host)
	if h == nil || h.Keeper == nil {
		return false
	}
	z := h.Keeper.Zone.Node(in)
	return z != nil && z.Out == "" && !z.Candidate
}

// Unknown says whether a node may or may not serve: it runs, and its keeper isn't there to say more, or has it among
// those that are to be found and hasn't probed it yet.
func Unknown(o Observed, n *Node) bool {
	s, _ := stands(o, n)
	return s == unheard || s == undecided && toBeFound(o, n)
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
	if z := h.Keeper.Zone.Node(in); z != nil {
		return named(h.Keeper, z)
	}
	if in.Network == "" {
		return kept, "it isn't on its environment's network"
	}
	return kept, "not in the names yet"
}

// named is how a node stands that its keeper knows.
func named(k *KeeperState, z *ZoneNode) (s standing, why string) {
	switch {
	case z.Out != "":
		return kept, z.Out
	case z.Candidate:
		return kept, "not in the names yet" // it is the current one since the keeper was told
	}
	if len(z.Probes) == 0 {
		return serves, ""
	}
	r, ok := k.ProbeResult(z.Instance)
	switch {
	case !ok || r.Pending:
		return undecided, "not probed yet"
	case r.Healthy:
		return serves, ""
	case z.Gated():
		return undecided, "not ready yet: " + cmp.Or(r.Last, "its ports don't answer") // which doesn't take it out of the names
	}
	return unhealthy, cmp.Or(r.Last, "unhealthy")
}

// Failing says whether a node's health check, or a probe that takes it out of the names, failed when it was looked at
// last, also while it is kept out of the names.
func Failing(o Observed, n *Node) bool {
	in := n.CurrentInstance()
	if in == nil || in.State != StateRunning {
		return false
	}
	if in.Health == HealthUnhealthy {
		return true
	}
	h := o.Host(in.Host)
	if h == nil || h.Keeper == nil {
		return false
	}
	z := h.Keeper.Zone.Node(in)
	r, ok := h.Keeper.ProbeResult(in.ID)
	return z != nil && ok && !r.Pending && !r.Healthy && !z.Gated()
}

// Unfit is why an instance of the node isn't to be found under its layer's name, by what its engine says; empty:
// nothing speaks against it.
func (n *Node) Unfit(in *Instance) string {
	switch {
	case !in.Running():
		return "stopped"
	case in.State == StatePaused:
		return "paused"
	case in.State == StateRestarting:
		return "restarting"
	case in.Health == HealthStarting:
		return "its health check has not succeeded yet"
	case in.Health == HealthUnhealthy:
		return "its health check fails"
	case n.Unproven:
		return "not healthy yet"
	}
	return ""
}

// Unhealthy says whether it is known of a node that its health check, or a probe, fails.
func Unhealthy(o Observed, n *Node) bool {
	s, _ := stands(o, n)
	return s == unhealthy
}

// MayLead says whether records of a zone that has not been read may lead to nodes of a layer. Without a copy nothing
// is known of that: they may lead to any that publishes a port.
func (c Copy) MayLead(zone string, l LayerID, publishes bool) bool {
	if c.Serial == 0 {
		return publishes
	}
	return slices.ContainsFunc(c.Nodes, func(n CopyNode) bool { return n.LayerID() == l && slices.Contains(n.Zones, zone) })
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
