package fleet

// Serving says why a node doesn't serve; empty: it does. Serving is running, healthy, and present in its
// layer's names, as far as that was read.
func Serving(o Observed, n *Node) string {
	in := n.CurrentInstance()
	if in == nil {
		return "not there yet"
	}
	switch {
	case in.State != StateRunning:
		return string(in.State)
	case in.Health == HealthStarting:
		return "its health check has not succeeded yet"
	case in.Health == HealthUnhealthy:
		return "its health check fails"
	}
	h := o.Host(in.Host)
	if h == nil || h.Keeper == nil {
		return "" // nothing more is known, and running it is
	}
	for i := range h.Keeper.Zone.Nodes {
		z := &h.Keeper.Zone.Nodes[i]
		if z.Instance == in.ID {
			return outOf(h.Keeper, z)
		}
	}
	return "not in the names yet"
}

func outOf(k *KeeperState, z *ZoneNode) string {
	if z.Out != "" {
		return z.Out
	}
	gated := true
	for _, p := range z.Probes {
		gated = gated && p.Gate
	}
	if gated {
		return ""
	}
	r, ok := k.ProbeResult(z.Instance)
	switch {
	case !ok:
		return "not probed yet"
	case !r.Healthy && r.Last != "":
		return r.Last
	case !r.Healthy:
		return "unhealthy"
	}
	return ""
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
