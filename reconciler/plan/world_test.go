package plan_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/zone"
	"github.com/evenkeel/evenkeel/spec"
)

const (
	gi = spec.Bytes(1 << 30)
	mi = spec.Bytes(1 << 20)
)

var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// model is a fleet of hosts in memory: what operations do to it, and what can be seen of it.
type model struct {
	name    string
	hosts   map[string]*modelHost
	now     time.Time
	nextID  int
	touched []string // what was changed, by name
}

type modelHost struct {
	state   fleet.HostState
	down    bool
	keeper  *fleet.KeeperState
	records map[string]any
}

func newModel(hosts ...string) *model {
	m := &model{name: "production", hosts: map[string]*modelHost{}, now: start}
	for i, h := range hosts {
		m.hosts[h] = &modelHost{
			state: fleet.HostState{
				Name: h, Reachable: true,
				Engine:    fleet.Engine{CPUs: 8, Memory: 16 * gi},
				Networks:  []fleet.Network{{Name: "bridge", Subnet: netip.MustParsePrefix("172.17.0.0/16")}},
				Addresses: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(11 + i)}), 32)},
			},
			records: map[string]any{},
		}
	}
	return m
}

func (m *model) names() []string {
	var names []string
	for h := range m.hosts {
		names = append(names, h)
	}
	slices.Sort(names)
	return names
}

// observe is what can be seen of the model.
func (m *model) observe() fleet.Observed {
	var o fleet.Observed
	for _, name := range m.names() {
		h := m.hosts[name]
		if h.down {
			o.Hosts = append(o.Hosts, fleet.HostState{Name: name, Problem: "dial: timeout"})
			continue
		}
		s := h.state
		s.Instances = slices.Clone(s.Instances)
		slices.SortFunc(s.Instances, func(a, b fleet.Instance) int {
			return cmp.Or(a.Compare(b.NodeID), cmp.Compare(a.Generation, b.Generation))
		})
		s.Networks, s.Volumes = slices.Clone(s.Networks), slices.Clone(s.Volumes)
		s.Keepers = slices.Clone(s.Keepers)
		if h.keeper != nil {
			k := *h.keeper
			k.Records = nil
			for key, v := range h.records {
				raw, err := json.Marshal(v)
				if err != nil {
					panic(err)
				}
				k.Records = append(k.Records, fleet.Record{Key: key, Value: raw})
			}
			slices.SortFunc(k.Records, func(a, b fleet.Record) int { return cmp.Compare(a.Key, b.Key) })
			s.Keeper = &k
		}
		o.Hosts = append(o.Hosts, s)
	}
	return o
}

// tell gives every keeper in reach its zone and the copy, as each pass of the controller does.
func (m *model) tell(s *spec.Spec, p plan.Plan) {
	o := m.observe()
	for _, z := range zone.Compute(s, o, p.Networks, nil) {
		if h := m.hosts[z.Host]; h.keeper != nil {
			h.keeper.Zone = z
		}
	}
	c, known := zone.Copy(s, o, p.Networks)
	for _, h := range m.hosts {
		if known && !h.down && h.keeper != nil {
			h.keeper.Copy = c
		}
	}
}

func (m *model) tick() time.Time {
	m.now = m.now.Add(time.Second)
	return m.now
}

func (m *model) touch(what string) { m.touched = append(m.touched, what) }

// apply carries a whole plan out.
func (m *model) apply(p plan.Plan) {
	for _, do := range m.steps(p) {
		do()
	}
}

// steps are a plan's single transitions, in an order in which they may be made.
func (m *model) steps(p plan.Plan) []func() {
	var steps []func()
	for _, op := range p.Hosts {
		if op.Operation != "remove" || op.What == "container" {
			steps = append(steps, func() { m.hostOperation(p, op) })
		}
	}
	for _, l := range p.Layers {
		for _, op := range plan.Order(l.Operations) {
			steps = append(steps, m.operation(l, op)...)
		}
	}
	for _, op := range p.Hosts {
		if op.Operation == "remove" && op.What != "container" {
			steps = append(steps, func() { m.hostOperation(p, op) })
		}
	}
	for _, r := range p.Records {
		steps = append(steps, func() { m.record(r) })
	}
	return steps
}

func (m *model) record(r plan.RecordWrite) {
	if r.Value == nil {
		delete(m.hosts[r.Host].records, r.Key)
		return
	}
	m.hosts[r.Host].records[r.Key] = r.Value
}

func (m *model) host(name string) *modelHost {
	h := m.hosts[name]
	if h == nil || h.down {
		panic("the plan touches " + name + ", which doesn't answer")
	}
	return h
}

func (m *model) hostOperation(p plan.Plan, op plan.HostOperation) {
	h := m.host(op.Host)
	m.touch(op.Name)
	switch op.Operation + " " + op.What {
	case "remove container":
		h.remove(op.Instance.ID)
	case "create network":
		n := fleet.Network{Name: op.Name, Fleet: m.name, Environment: op.Environment}
		if op.Environment == "" {
			n.Role = fleet.RoleKeeper
		}
		if part := partOf(p, op); part != nil {
			n.Subnet, n.Gateway, n.IPRange = part.Subnet, part.Gateway, part.IPRange
		}
		h.state.Networks = append(h.state.Networks, n)
	case "create keeper", "start keeper", "replace keeper":
		networks := map[string]netip.Addr{fleet.UplinkName(m.name): {}}
		if len(h.state.Keepers) > 0 {
			networks = h.state.Keepers[0].Networks
		}
		h.state.Keepers = []fleet.KeeperContainer{{Name: op.Name, Version: 3, State: fleet.StateRunning, Networks: networks}}
		if h.keeper == nil {
			h.keeper = &fleet.KeeperState{Version: 3, Host: op.Host}
		}
		h.keeper.Version = 3
	case "connect keeper":
		h.state.Keepers[0].Networks[op.Name] = netip.Addr{}
		if part := partOf(p, op); part != nil {
			h.state.Keepers[0].Networks[op.Name] = part.Keeper
		}
	case "disconnect keeper":
		delete(h.state.Keepers[0].Networks, op.Name)
	case "rename container":
		in := h.instance(op.Instance.ID)
		in.Name, in.Renamed = in.Renamed, ""
	case "update container":
		h.instance(op.Instance.ID).RestartPolicy = plan.RestartPolicy
	case "disconnect container":
		in := h.instance(op.Instance.ID)
		in.OtherNetworks = slices.DeleteFunc(slices.Clone(in.OtherNetworks), func(n string) bool { return n == op.Network })
	case "connect container":
		in := h.instance(op.Instance.ID)
		in.Network, in.NetworkID, in.Address = op.Network, "", op.Address
	case "remove network":
		h.state.Networks = slices.DeleteFunc(h.state.Networks, func(n fleet.Network) bool { return n.Name == op.Name })
		delete(h.state.Keepers[0].Networks, op.Name)
	case "remove volume":
		h.state.Volumes = slices.DeleteFunc(h.state.Volumes, func(v fleet.Volume) bool { return v.Name == op.Name })
	default:
		panic("the model knows no " + op.Operation + " " + op.What)
	}
}

// partOf finds the part of the network that an operation is about; they are sorted.
func partOf(p plan.Plan, op plan.HostOperation) *plan.EnvironmentNetwork {
	i, ok := slices.BinarySearchFunc(p.Networks, op, func(n plan.EnvironmentNetwork, op plan.HostOperation) int {
		return cmp.Or(cmp.Compare(n.Environment, op.Environment), cmp.Compare(n.Host, op.Host))
	})
	if !ok {
		return nil
	}
	return &p.Networks[i]
}

func (h *modelHost) remove(id string) {
	h.state.Instances = slices.DeleteFunc(h.state.Instances, func(in fleet.Instance) bool { return in.ID == id })
}

func (h *modelHost) instance(id string) *fleet.Instance {
	for i := range h.state.Instances {
		if h.state.Instances[i].ID == id {
			return &h.state.Instances[i]
		}
	}
	return nil
}

// operation is what a rollout does for one operation; between any two of its steps it may be cut short.
func (m *model) operation(l plan.Layer, op plan.Operation) []func() {
	m.touch(op.ID.String())
	switch op.Kind {
	case plan.Create, plan.Redeploy:
		var id string
		steps := []func(){func() { id = m.prepare(op) }, func() {
			m.host(op.Host).records[fleet.RestartKey(op.ID)] = fleet.RestartRecord{Text: l.Spec.Restart}
		}}
		if op.Kind == plan.Redeploy {
			steps = append(steps, func() {
				old := m.host(op.Instance.Host)
				old.records[fleet.CurrentKey(op.ID)] = fleet.CurrentRecord{Generation: op.Instance.Generation}
				old.instance(op.Instance.ID).State = fleet.StateExited
			})
		}
		return append(steps,
			func() { m.run(m.host(op.Host), id) },
			func() {
				h := m.host(op.Host)
				h.records[fleet.CurrentKey(op.ID)] = fleet.CurrentRecord{Generation: h.instance(id).Generation}
			})
	case plan.Start:
		return []func(){func() { m.run(m.host(op.Host), op.Instance.ID) }}
	case plan.Restart:
		return []func(){func() {
			m.host(op.Host).records[fleet.RestartKey(op.ID)] = fleet.RestartRecord{Text: l.Spec.Restart, StartedAt: op.Instance.StartedAt}
		}, func() { m.run(m.host(op.Host), op.Instance.ID) }}
	case plan.Resize:
		return []func(){func() { m.host(op.Host).instance(op.Instance.ID).Limits = op.Limits }}
	case plan.Remove:
		return []func(){func() { m.host(op.Host).remove(op.Instance.ID) }, func() {
			delete(m.host(op.Host).records, fleet.CurrentKey(op.ID))
			delete(m.host(op.Host).records, fleet.RestartKey(op.ID))
		}}
	}
	panic("the model knows no " + string(op.Kind))
}

// prepare makes an operation's container, if it isn't there, and returns its ID.
func (m *model) prepare(op plan.Operation) string {
	if op.Candidate != nil {
		return op.Candidate.ID
	}
	c, h := op.Container, m.host(op.Host)
	i := slices.IndexFunc(h.state.Networks, func(n fleet.Network) bool { return n.Name == c.Network })
	if i < 0 || !h.state.Networks[i].Subnet.Contains(c.Address) {
		panic(fmt.Sprintf("%s: %s has no network for %s", op.ID, op.Host, c.Address))
	}
	m.nextID++
	in := fleet.Instance{
		NodeID: op.ID, Host: op.Host, Generation: c.Generation, ID: fmt.Sprintf("id%d", m.nextID), Name: c.Name,
		Written: c.Labels[fleet.LabelWritten], Spec: c.Labels[fleet.LabelSpec], Image: c.Labels[fleet.LabelImage],
		State: fleet.StateCreated, Limits: c.Limits, RestartPolicy: c.Restart, Network: c.Network, Address: c.Address,
	}
	for _, other := range h.state.Instances {
		if other.Name == c.Name {
			panic("the name " + c.Name + " is taken on " + op.Host)
		}
	}
	for _, v := range c.Volumes {
		in.Volumes = append(in.Volumes, v.Name)
		if slices.ContainsFunc(h.state.Volumes, func(have fleet.Volume) bool { return have.Name == v.Name }) {
			continue
		}
		h.state.Volumes = append(h.state.Volumes, fleet.Volume{
			NodeID: op.ID, Host: op.Host, Name: v.Name, Volume: v.Name[len(fleet.VolumeName(m.name, op.ID, "")):],
			OnRemove: spec.OnRemove(v.Labels[fleet.LabelOnRemove]),
		})
	}
	h.state.Instances = append(h.state.Instances, in)
	return in.ID
}

// run starts a container; an address that is in use fails it, as it does on an engine.
func (m *model) run(h *modelHost, id string) {
	in := h.instance(id)
	if in.Network == "" {
		panic(in.Name + " is started without its network")
	}
	for _, other := range h.state.Instances {
		if other.ID != id && other.Running() && other.Address == in.Address && other.Environment == in.Environment {
			panic(in.Name + ": address already in use by " + other.Name)
		}
	}
	in.State, in.StartedAt = fleet.StateRunning, m.tick()
}

// testSpec is a fleet of the hosts with the layers, each named env/layer.
func testSpec(hosts []string, layers ...spec.Layer) *spec.Spec {
	s := &spec.Spec{Fleet: spec.Fleet{
		Name: "production", Cloudlet: spec.Resources{Memory: 128 * mi, CPU: 200},
		Network:  spec.Network{Driver: spec.NetworkBridge, Pool: netip.MustParsePrefix("10.112.0.0/12")},
		Internal: spec.InternalDNS{Zone: "internal", TTL: time.Second}, SelfHeal: true, PruneMaxShare: 50,
	}}
	for i, h := range hosts {
		s.Fleet.Hosts = append(s.Fleet.Hosts, spec.Host{
			Name: h, Endpoint: fmt.Sprintf("tcp://10.0.0.%d:2375", 11+i), Address: fmt.Sprintf("10.0.0.%d", 11+i), State: spec.HostActive,
		})
	}
	if layers != nil {
		s.Environments = []spec.Environment{{Name: "shop", Layers: layers}}
	}
	return s
}

// testLayer is a layer as it comes out of the loader; change edits it before it is hashed.
func testLayer(name string, replicas int, change ...func(*spec.Layer)) spec.Layer {
	l := spec.Layer{
		Name: name, Image: "registry.example.com/shop/" + name + ":1", Pull: spec.PullMissing, Replicas: replicas,
		Reserved:  spec.Resources{Memory: 128 * mi, CPU: 200},
		Placement: spec.Placement{AntiAffinity: spec.AntiAffinityPreferred},
		Env:       map[string]string{"LEVEL": "info"},
		Stop:      spec.Stop{Grace: 10 * time.Second},
		Update: spec.UpdatePolicy{
			Strategy: spec.Sequential, Delay: 30 * time.Second, RemoveFromDNS: true, MaxUnavailable: 1,
			DrainTimeout: 30 * time.Second, HealthTimeout: 5 * time.Minute, MinHealthy: 5 * time.Second, FailureAction: spec.FailurePause,
		},
	}
	for _, f := range change {
		f(&l)
	}
	rehash(&l)
	return l
}

// rehash stands in for the loader's canonical form.
func rehash(l *spec.Layer) {
	written, err := json.Marshal(map[string]any{"image": l.Image, "env": l.Env, "redeploy": l.Redeploy, "volumes": l.Volumes})
	if err != nil {
		panic(err)
	}
	l.Written = string(written)
	l.Hash = fmt.Sprintf("v1:%x", written)
	l.LayerHash = fmt.Sprintf("%s:%d:%s:%v", l.Hash, l.Replicas, l.Restart, l.Update)
}

// images resolves every image that is asked for to a digest that follows from its name.
func resolved(in plan.Input) map[string]plan.Image {
	m := map[string]plan.Image{}
	for _, r := range plan.Unresolved(in) {
		m[r.Image] = plan.Image{Digest: digestOf(r.Image)}
	}
	return m
}

func digestOf(image string) string {
	return fmt.Sprintf("%s@sha256:%x", image[:len(image)-2], image)
}

func input(s *spec.Spec, o fleet.Observed) plan.Input {
	in := plan.Input{Revision: "r1", Desired: s, Observed: o, KeeperVersion: 3}
	in.Images = resolved(in)
	return in
}

// pass is one pass of the controller, and says whether anything was left to do.
func (m *model) pass(s *spec.Spec) (plan.Plan, bool) {
	p := plan.Compute(input(s, m.observe()))
	m.apply(p)
	m.tell(s, p)
	work := len(p.Hosts) + len(p.Records)
	for _, l := range p.Layers {
		work += len(l.Operations)
	}
	return p, work > 0
}

// settle makes passes until a plan is empty, and returns how many were needed.
func (m *model) settle(s *spec.Spec) (passes int, last plan.Plan) {
	for ; passes < 8; passes++ {
		p, busy := m.pass(s)
		if last = p; !busy {
			break
		}
	}
	return passes, last
}
