package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// muteness is why a host's keeper can't be worked with; empty: it answers, or one will be made or started.
func muteness(h *fleet.HostState) string {
	if h.Keeper != nil || !slices.ContainsFunc(h.Keepers, keeperRuns) {
		return ""
	}
	return cmp.Or(h.KeeperProblem, "no answer")
}

func keeperRuns(k fleet.KeeperContainer) bool {
	return k.State == fleet.StateRunning || k.State == fleet.StateRestarting || k.State == fleet.StatePaused
}

// hostOperations are what each host needs for its nodes, and what of ours it doesn't need any more. They
// are sorted as they can be done: leftovers first, which may hold a port that is needed.
func (w *world) hostOperations() {
	for _, h := range w.hosts {
		if h.spec == nil || !h.up() {
			continue
		}
		w.uplink(h)
		w.keeper(h)
		w.networks(h)
		w.volumes(h)
	}
	slices.SortStableFunc(w.plan.Hosts, func(a, b HostOperation) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(step(a), step(b)), compareParts(a, b))
	})
}

// step is an operation's place among those of its host.
func step(o HostOperation) int {
	return slices.Index([]string{
		"remove container", "create network", "create keeper", "start keeper", "replace keeper", "connect keeper", "disconnect keeper",
		"rename container", "update container", "disconnect container", "connect container",
		"remove network", "remove volume",
	}, o.Operation+" "+o.What)
}

func (w *world) onHost(h *host, operation, what, name, environment string) {
	w.plan.Hosts = append(w.plan.Hosts, HostOperation{Host: h.name, Operation: operation, What: what, Name: name, Environment: environment})
}

func (w *world) uplink(h *host) {
	name := fleet.UplinkName(w.fleet.Name)
	if hasNetwork(h, name) == nil {
		w.onHost(h, "create", "network", name, "")
	}
}

func hasNetwork(h *host, name string) *fleet.Network {
	networks := h.state.Networks // sorted by name
	i, ok := slices.BinarySearchFunc(networks, name, func(n fleet.Network, name string) int { return cmp.Compare(n.Name, name) })
	if !ok {
		return nil
	}
	return &networks[i]
}

// keeper makes, starts or replaces a host's keeper. One that is there and doesn't answer isn't touched.
func (w *world) keeper(h *host) {
	name := fleet.KeeperName(w.fleet.Name)
	main, next := keepersOf(h.state, name)
	switch {
	case main == nil && next == nil:
		w.onHost(h, "create", "keeper", name, "")
	case h.mute != "":
		w.refuse(fmt.Sprintf("the keeper of %s doesn't answer: %s", h.name, h.mute))
	case next != nil:
		w.onHost(h, "replace", "keeper", name, "") // a hand-over that was cut short goes on
	case !keeperRuns(*main):
		w.onHost(h, "start", "keeper", name, "")
	case main.Version < w.in.KeeperVersion:
		w.onHost(h, "replace", "keeper", name, "")
	default:
		w.mendKeeper(h, main)
	}
}

// keepersOf tells a host's keeper from the one that is about to take its place.
func keepersOf(h *fleet.HostState, name string) (main, next *fleet.KeeperContainer) {
	for i := range h.Keepers {
		if h.Keepers[i].Name == name {
			main = &h.Keepers[i]
		} else {
			next = &h.Keepers[i]
		}
	}
	return main, next
}

// networks makes the environments' networks that a host needs, connects the keeper to them, and removes
// those on which nothing is and nothing will be.
func (w *world) networks(h *host) {
	main, next := keepersOf(h.state, fleet.KeeperName(w.fleet.Name))
	needed := map[string]bool{}
	for i := range w.onHosts[h.name] {
		n := &w.plan.Networks[w.onHosts[h.name][i]]
		name := fleet.NetworkName(w.fleet.Name, n.Environment)
		needed[name] = true
		switch there := hasNetwork(h, name); {
		case there == nil:
			w.onHost(h, "create", "network", name, n.Environment)
		case there.Fleet != w.fleet.Name:
			w.refuse(fmt.Sprintf("%s has a network %s that isn't this fleet's, so environment %s can't have its own there: remove it (docker network rm %s), or give the environment another name", h.name, name, n.Environment, name))
			continue
		}
		if h.mute != "" || main != nil && main.Networks[name] == n.Keeper || main == nil && next != nil && next.Networks[name] == n.Keeper {
			continue
		}
		w.onHost(h, "connect", "keeper", name, n.Environment)
	}
	for i := range h.state.Networks {
		n := &h.state.Networks[i]
		if n.Fleet == w.fleet.Name && n.Environment != "" && n.Role == "" && !needed[n.Name] && h.mute == "" {
			w.onHost(h, "remove", "network", n.Name, n.Environment)
		}
	}
}

// volumes removes the volumes of nodes that are gone for good, where that is the wish.
func (w *world) volumes(h *host) {
	for i := range h.state.Volumes {
		v := &h.state.Volumes[i]
		n := w.byNode[v.NodeID]
		wish := w.volumeWish(h, v)
		if n != nil && (n.wanted || n.seen != nil || n.far != "" || n.wait != "") {
			continue
		}
		if wish == spec.OnRemoveDelete && h.mute == "" {
			w.onHost(h, "remove", "volume", v.Name, v.Environment)
		}
	}
}

// volumeRecord is the last wish for a volume whose label says otherwise: labels can't be changed.
type volumeRecord struct {
	OnRemove spec.OnRemove `json:"onRemove"`
}

// volumeKey is the key of a volume's volumeRecord.
func volumeKey(name string) string { return "volume/" + name }

// volumeWish is what is to become of a volume: what the spec says, as long as it says anything, else what
// it said last.
func (w *world) volumeWish(h *host, v *fleet.Volume) spec.OnRemove {
	was := v.OnRemove
	var r volumeRecord
	if h.state.Keeper.Record(volumeKey(v.Name), &r) {
		was = r.OnRemove
	}
	was = cmp.Or(was, spec.OnRemoveKeep)
	l := w.byLayer[v.LayerID()]
	if l == nil || l.spec == nil {
		return was
	}
	for i := range l.spec.Volumes {
		if l.spec.Volumes[i].Name != v.Volume {
			continue
		}
		wish := cmp.Or(l.spec.Volumes[i].OnRemove, spec.OnRemoveKeep)
		if wish != was && h.state.Keeper != nil {
			w.plan.Records = append(w.plan.Records, RecordWrite{Host: h.name, Key: volumeKey(v.Name), Value: volumeRecord{OnRemove: wish}})
		}
		return wish
	}
	return was
}
