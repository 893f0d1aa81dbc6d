package fleet

// Serving says why a node doesn't serve; empty: it does. Serving is running, healthy, and present in its
// layer's names, as far as that was read.
func Serving(o Observed, n *Node) string {
	why, _ := standing(o, n)
	return why
}

// Undecided says whether a node runs and nothing has been heard of its health yet: it was started, or is
// probed in another way, a moment ago.
func Undecided(o Observed, n *Node) bool {
	_, undecided := standing(o, n)
	return undecided
}

func standing(o Observed, n *Node) (why string, undecided bool) {
	in := n.CurrentInstance()
	if in == nil {
		return "not there yet", false
	}
	switch {
	case in.State != StateRunning:
		return string(in.State), false
	case in.Health == HealthStarting:
		return "its health check has not succeeded yet", true
	case in.Health == HealthUnhealthy:
		return "its health check fails", false
	}
	h := o.Host(in.Host)
	if h == nil || h.Keeper == nil {
		return "", false // nothing more is known, and running it is
	}
	for i := range h.Keeper.Zone.Nodes {
		z := &h.Keeper.Zone.Nodes[i]
		if z.Instance == in.ID {
			return outOf(h.Keeper, z)
		}
	}
	if in.Network == "" {
		return "it isn't on its environment's network", false
	}
	return "not in the names yet", false
}

func outOf(k *KeeperState, z *ZoneNode) (why string, undecided bool) {
	if z.Out != "" {
		return z.Out, false
	}
	gated := true
	for _, p := range z.Probes {
		gated = gated && p.Gate
	}
	if gated {
		return "", false
	}
	r, ok := k.ProbeResult(z.Instance)
	switch {
	case !ok || r.Pending:
		return "not probed yet", true
	case !r.Healthy && r.Last != "":
		return r.Last, false
	case !r.Healthy:
		return "unhealthy", false
	}
	return "", false
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
