package drift

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// Input is everything that a report rests on.
type Input struct {
	Revision string
	Desired  *spec.Spec
	Observed fleet.Observed // with what only looks like a node put aside
	Now      time.Time
	// Tags are what the images as written stand for by now, as far as that was looked up.
	Tags map[string]plan.Tag
	// Zones are the zones at DNS providers as they were read, Said what names there were last made to say (by
	// fleet.SaidKey; nil: nobody knows), and Out which nodes are kept out of them; nil: none is.
	Zones []plan.Zone
	Said  map[string]string
	Out   func(fleet.NodeID) bool
}

// Compute finds the drift. A node's instance that is about to take another's place, a node that is asked to
// restart, one whose failure paused its layer, and one that was never healthy are a rollout's concern; and
// where keepers don't know that a layer was ever brought to the spec that it has now, its limits and its
// missing nodes are explained by the commit.
func Compute(in Input) Report {
	f := finder{
		in: in, selfHeal: in.Desired.Fleet.SelfHeal, settled: map[fleet.LayerID]bool{}, paused: map[fleet.NodeID]string{},
		nodes: map[fleet.NodeID]*fleet.Node{},
		report: Report{
			Revision: in.Revision, Time: in.Now, SelfHeal: in.Desired.Fleet.SelfHeal, Drift: []Finding{}, Unknown: []string{},
			unread: map[string]bool{},
		},
	}
	for i := range in.Observed.Hosts {
		if h := &in.Observed.Hosts[i]; !h.Reachable {
			f.report.unread[h.Name] = true
		}
	}
	f.readRecords()
	seen := fleet.Nodes(in.Observed)
	for i := range seen {
		f.nodes[seen[i].NodeID] = &seen[i]
	}
	for e := range in.Desired.Environments {
		env := &in.Desired.Environments[e]
		for i := range env.Layers {
			f.layer(fleet.LayerID{Environment: env.Name, Layer: env.Layers[i].Name}, &env.Layers[i])
		}
	}
	for i := range in.Observed.Hosts {
		f.host(&in.Observed.Hosts[i])
	}
	for _, image := range in.Tags {
		if image.Problem != "" {
			f.report.Unknown = append(f.report.Unknown, "whether its tag has moved: "+image.Problem)
		}
	}
	f.records()
	f.report.sort()
	return f.report
}

type finder struct {
	in       Input
	selfHeal bool
	settled  map[fleet.LayerID]bool // layers that were once brought to the spec that they have
	paused   map[fleet.NodeID]string
	nodes    map[fleet.NodeID]*fleet.Node
	last     map[fleet.NodeID]string // where each node was last healthy; nil: not looked up yet
	report   Report
}

func (f *finder) add(one Finding) { f.report.Drift = append(f.report.Drift, one) }

// healed is the remedy for what evenkeel puts right where it may.
func (f *finder) healed(how string) string {
	if f.selfHeal {
		return "evenkeel " + how
	}
	return "only reported, since drift.selfHeal is false"
}

// readRecords gathers what the keepers in reach know.
func (f *finder) readRecords() {
	read := fleet.Read[fleet.AppliedRecord]{}
	for i := range f.in.Observed.Hosts {
		k := f.in.Observed.Hosts[i].Keeper
		for _, a := range k.AppliedRead(read) {
			if l := f.spec(a.Layer); l != nil && fleet.AppliedOf(l) == a.AppliedRecord {
				f.settled[a.Layer] = true
			}
		}
		for id, hash := range k.Paused() {
			if l := f.spec(id.LayerID()); l != nil && l.LayerHash == hash {
				f.paused[id] = hash
			}
		}
	}
}

func (f *finder) spec(id fleet.LayerID) *spec.Layer {
	if env := f.in.Desired.Environment(id.Environment); env != nil {
		return env.Layer(id.Layer)
	}
	return nil
}

func (f *finder) layer(id fleet.LayerID, l *spec.Layer) {
	for n := 1; n <= l.Replicas; n++ {
		node := fleet.NodeID{Environment: id.Environment, Layer: id.Layer, Node: n}
		seen := f.nodes[node]
		switch {
		case seen == nil && f.settled[id]:
			f.missing(node, l)
		case seen == nil || seen.CurrentInstance() == nil || seen.Unproven:
		default:
			f.node(seen, l)
		}
	}
}

// missing is a node that was there, unless it may be where nobody can look.
func (f *finder) missing(id fleet.NodeID, l *spec.Layer) {
	if f.elsewhere(id) {
		return // its host is told of as unknown
	}
	host := f.lastHost(id)
	f.add(Finding{
		Host: host, What: Node, Node: id.String(), ID: id, Environment: id.Environment,
		Field: "state", Wanted: string(fleet.StateRunning), Found: "missing", Remedy: f.healed("makes it anew"),
	})
	h := f.in.Observed.Host(host)
	if h == nil {
		return
	}
	for i := range l.Volumes {
		name := fleet.VolumeName(f.in.Desired.Fleet.Name, id, l.Volumes[i].Name)
		if !slices.ContainsFunc(h.Volumes, func(v fleet.Volume) bool { return v.Name == name }) {
			f.add(Finding{
				Host: host, What: Volume, Node: id.String(), ID: id, Name: name, Environment: id.Environment,
				Field: "volume", Wanted: "there", Found: "missing", Remedy: "what was on it is gone: the node is made with an empty one; bring back a backup",
			})
		}
	}
}

// elsewhere says whether a node may be on a host out of reach.
func (f *finder) elsewhere(id fleet.NodeID) bool {
	if len(f.report.unread) == 0 {
		return false
	}
	c := fleet.NewestCopy(f.in.Observed)
	for i := range c.Nodes {
		if c.Nodes[i].NodeID == id {
			return f.report.unread[c.Nodes[i].Host]
		}
	}
	return c.Serial == 0
}

// lastHost is where a node was last found healthy; empty: no keeper knows.
func (f *finder) lastHost(id fleet.NodeID) string {
	if f.last == nil {
		f.last = map[fleet.NodeID]string{}
		best := map[fleet.NodeID]int{}
		for i := range f.in.Observed.Hosts {
			h := &f.in.Observed.Hosts[i]
			for node, generation := range h.Keeper.Current() {
				if generation > best[node] {
					best[node], f.last[node] = generation, h.Name
				}
			}
		}
	}
	return f.last[id]
}

// node is a node that is there.
func (f *finder) node(n *fleet.Node, l *spec.Layer) {
	in := n.CurrentInstance()
	h := f.in.Observed.Host(in.Host)
	add := func(field, wanted, found, remedy string, since time.Time) {
		one := Finding{
			Host: in.Host, What: Node, Node: n.NodeID.String(), ID: n.NodeID, Name: in.Name, Environment: n.Environment,
			Field: field, Wanted: wanted, Found: found, Remedy: remedy,
		}
		if !since.IsZero() {
			one.Since = &since
		}
		f.add(one)
	}
	if in.Renamed != "" {
		add("name", in.Renamed, in.Name, f.healed("names it back"), time.Time{})
	}
	if in.RestartPolicy != plan.RestartPolicy {
		add("restart policy", plan.RestartPolicy, in.RestartPolicy, f.healed("sets it back"), time.Time{})
	}
	for _, other := range in.OtherNetworks {
		add("other network", "", other, f.healed("takes it off"), time.Time{})
	}
	own := fleet.NetworkName(f.in.Desired.Fleet.Name, n.Environment)
	if !attached(h, in, own) {
		add("network", own, "not on it", f.healed("puts it back onto it"), time.Time{})
	}
	f.files(n, l, add)
	if n.Candidate() != nil {
		return
	}
	if f.stopped(n, in) {
		add("state", string(fleet.StateRunning), stateText(in), f.healed("starts it"), in.FinishedAt)
	}
	if f.settled[n.LayerID()] {
		if moved := plan.Moved(f.in.Tags, l, in); moved != "" {
			add("image", moved, in.Image, "write the new one, or another `redeploy`, and commit it; by itself evenkeel changes nothing", time.Time{})
		}
		lift, resize := plan.LimitChanges(in, plan.WantedLimits(l, h.Engine))
		for _, c := range lift {
			add(c.Field, "none", c.From, f.healed("redeploys the node"), time.Time{})
		}
		for _, c := range resize {
			add(c.Field, cmp.Or(c.To, "none"), cmp.Or(c.From, "none"), f.healed("sets it back in place"), time.Time{})
		}
	}
}

// stopped says whether a node doesn't run though nothing of ours has stopped it. One that restarts again and
// again does by itself.
func (f *finder) stopped(n *fleet.Node, in *fleet.Instance) bool {
	if in.State == fleet.StateRunning || in.State == fleet.StateRestarting || f.paused[n.NodeID] != "" {
		return false
	}
	var r fleet.RestartRecord
	asked := f.in.Observed.Host(in.Host).Keeper.Record(fleet.RestartKey(n.NodeID), &r)
	return !asked || r.StartedAt.IsZero() || in.StartedAt.After(r.StartedAt)
}

func stateText(in *fleet.Instance) string {
	switch {
	case in.State != fleet.StateExited && in.State != fleet.StateDead:
		return string(in.State)
	case in.OOMKilled:
		return fmt.Sprintf("%s (exit code %d, out of memory)", in.State, in.ExitCode)
	}
	return fmt.Sprintf("%s (exit code %d)", in.State, in.ExitCode)
}

// attached says whether an instance is on the network that has the name now.
func attached(h *fleet.HostState, in *fleet.Instance, own string) bool {
	there := networkOf(h, own)
	return in.Network == own && there != nil && (there.ID == "" || in.NetworkID == "" || there.ID == in.NetworkID)
}

func networkOf(h *fleet.HostState, name string) *fleet.Network {
	for i := range h.Networks {
		if h.Networks[i].Name == name {
			return &h.Networks[i]
		}
	}
	return nil
}
