package plan

import (
	"cmp"
	"fmt"
	"slices"
	"sort"

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
	lists := [][]HostOperation{w.plan.Hosts} // joined once: of a new fleet they are many
	for _, h := range w.hosts {
		if h.spec == nil || !h.up() {
			continue
		}
		w.plan.Hosts = nil
		w.uplink(h)
		w.keeper(h)
		w.links(h)
		w.networks(h)
		w.volumes(h)
		lists = append(lists, w.plan.Hosts)
	}
	w.plan.Hosts = slices.Concat(lists...)
	slices.SortStableFunc(w.plan.Hosts, func(a, b HostOperation) int {
		if c := cmp.Compare(a.Host, b.Host); c != 0 {
			return c
		}
		if c := cmp.Compare(step(&a), step(&b)); c != 0 {
			return c
		}
		return compareParts(a, b)
	})
}

// steps are the places of operations among those of their host.
var steps = map[work]int{
	{"remove", "container"}: 0,
	{"create", "network"}:   1,
	{"create", "keeper"}:    2, {"start", "keeper"}: 3, {"replace", "keeper"}: 4, {"rename", "keeper"}: 5,
	{"update", "keeper"}: 6, {"connect", "keeper"}: 7, {"disconnect", "keeper"}: 8,
	{"create", "links"}: 9, {"start", "links"}: 10, {"replace", "links"}: 11, {"update", "links"}: 12, {"remove", "links"}: 13,
	{"rename", "container"}: 14, {"update", "container"}: 15, {"disconnect", "container"}: 16, {"connect", "container"}: 17,
	{"remove", "network"}: 18, {"remove", "volume"}: 19,
}

// work is what is done to what.
type work struct{ operation, what string }

func step(o *HostOperation) int { return steps[work{o.Operation, o.What}] }

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
	i, ok := sort.Find(len(networks), func(i int) int { return cmp.Compare(name, networks[i].Name) })
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
		w.refuse(KeeperSilent(h.name, h.mute))
	case next != nil:
		w.onHost(h, "replace", "keeper", name, "") // a hand-over that was cut short goes on
	case main.Name != name:
		w.onHost(h, "rename", "keeper", name, "")
	case !keeperRuns(*main):
		w.onHost(h, "start", "keeper", name, "")
	case main.Version < w.in.KeeperVersion:
		w.onHost(h, "replace", "keeper", name, "")
	default:
		w.mendKeeper(h, main)
	}
}

// keepersOf tells a host's keeper from the one that is about to take its place. Where there is neither, one
// with another name is the keeper, renamed.
func keepersOf(h *fleet.HostState, name string) (main, next *fleet.KeeperContainer) {
	var renamed *fleet.KeeperContainer
	for i := range h.Keepers {
		switch k := &h.Keepers[i]; k.Name {
		case name:
			main = k
		case fleet.SuccessorName(name):
			next = k
		default:
			renamed = cmp.Or(renamed, k)
		}
	}
	if main == nil && next == nil {
		main = renamed
	}
	return main, next
}

// networks makes the environments' networks that a host needs, connects the keeper to them, and removes
// those on which nothing is and nothing will be.
func (w *world) networks(h *host) {
	main, next := keepersOf(h.state, fleet.KeeperName(w.fleet.Name))
	for _, p := range h.parts {
		n, name := &w.plan.Networks[p.index], p.name
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
		if n.Fleet == w.fleet.Name && n.Environment != "" && n.Role == "" && h.mute == "" && !h.needs(n.Name) {
			w.onHost(h, "remove", "network", n.Name, n.Environment)
		}
	}
}

// needs says whether an environment's network of that name is to be on the host.
func (h *host) needs(name string) bool {
	_, needed := sort.Find(len(h.parts), func(i int) int { return cmp.Compare(name, h.parts[i].name) })
	return needed
}

// volumes removes the volumes of nodes that are gone for good, where that is the wish.
func (w *world) volumes(h *host) {
	for i := range h.state.Volumes {
		v := &h.state.Volumes[i]
		n := w.find(v.NodeID)
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
