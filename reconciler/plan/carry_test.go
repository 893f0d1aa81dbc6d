package plan_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

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
		if op.Operation != "remove" {
			steps = append(steps, func() { m.hostOperation(p, op) })
		}
	}
	for _, l := range p.Layers {
		for _, op := range plan.Order(l.Operations) {
			steps = append(steps, m.operation(l, op)...)
		}
	}
	for _, op := range p.Hosts {
		if op.Operation == "remove" { // nothing waits for these
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
		h.state.Keepers = []fleet.KeeperContainer{{Name: op.Name, Version: 3, State: fleet.StateRunning, Networks: networks, RestartPolicy: plan.KeeperRestartPolicy}}
		if h.keeper == nil {
			h.keeper = &fleet.KeeperState{Version: 3, Host: op.Host}
		}
		h.keeper.Version = 3
	case "connect keeper":
		h.state.Keepers[0].Networks[op.Name] = netip.Addr{}
		if part := partOf(p, op); part != nil {
			h.state.Keepers[0].Networks[op.Name] = part.Keeper
		}
	case "rename keeper":
		h.state.Keepers[0].Name = op.Name
	case "update keeper":
		h.state.Keepers[0].RestartPolicy = plan.KeeperRestartPolicy
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
		return append(append(steps, m.endOthers(op)...),
			func() { m.run(m.host(op.Host), id) },
			func() {
				h := m.host(op.Host)
				h.records[fleet.CurrentKey(op.ID)] = fleet.CurrentRecord{Generation: h.instance(id).Generation}
			})
	case plan.Start:
		return append(m.endOthers(op), func() { m.run(m.host(op.Host), op.Instance.ID) })
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

// endOthers stops what else runs of an operation's node.
func (m *model) endOthers(op plan.Operation) []func() {
	var steps []func()
	for _, in := range op.Others {
		steps = append(steps, func() { m.host(in.Host).instance(in.ID).State = fleet.StateExited })
	}
	return steps
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
		CreatedAt: m.now,
	}
	in.Mended, _ = strconv.Atoi(c.Labels[fleet.LabelMended])
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

// run starts a container; an address that is in use fails it, as it does on an engine. Of no node two run.
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
	for _, other := range m.hosts {
		for _, twin := range other.state.Instances {
			if !other.down && twin.ID != id && twin.NodeID == in.NodeID && twin.Running() {
				panic(in.Name + " is started beside " + twin.Name)
			}
		}
	}
	in.State, in.StartedAt = fleet.StateRunning, m.tick()
}
