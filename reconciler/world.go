package reconciler

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
	"github.com/evenkeel/evenkeel/spec"
)

// world is what rollouts work with.
func (c *Controller) world() rollout.World {
	return rollout.World{
		Hosts: writes{c}, Names: naming{c}, Records: records{c}, Planner: planner{c}, Fleet: c.fleetName,
		Report: c.report, Revision: c.currentRevision, Released: c.kick, Slots: c.slots,
	}
}

// report passes an operation's progress on and keeps it in the journal.
func (c *Controller) report(p rollout.Progress) {
	c.opts.Report(p)
	c.keep(func(j Journal) error { return j.Append(p) })
	if !p.Phase.Ended() {
		return
	}
	c.mu.Lock()
	id := fleet.NodeID{Environment: p.Environment, Layer: p.Layer, Node: p.Node}
	c.ended[id.LayerID()] = c.inputs
	problem := ""
	if p.Phase == rollout.PhaseDone {
		problem = c.repeats.Note(plan.ChangeOf(id, p.Operation, p.Causes, c.writtenFor(id.LayerID()), p.Revision), p.Time)
	}
	c.mu.Unlock()
	if problem != "" {
		c.notice("error", p.Host, problem)
	}
	c.kick()
}

// writes implements rollout.Hosts.
type writes struct{ *Controller }

func (w writes) Engine(name string) (rollout.Engine, error) {
	h := w.host(name)
	if h == nil {
		return nil, fmt.Errorf("host %s is not known", name)
	}
	if _, err := h.writable(); err != nil {
		return nil, err
	}
	return puller{h.engine, w.Controller}, nil
}

// puller is an engine that pulls with the credentials that are there at that time.
type puller struct {
	Engine
	c *Controller
}

func (p puller) Pull(ctx context.Context, ref string) error {
	as, err := p.c.credentials(ctx, ref)
	if err != nil {
		return err
	}
	return p.Engine.Pull(ctx, ref, as)
}

func (w writes) Saw(in fleet.Instance) {
	if h := w.host(in.Host); h != nil {
		h.saw(in.ID, patch{in: in})
	}
}

func (w writes) Gone(name, id string) {
	if h := w.host(name); h != nil {
		h.saw(id, patch{gone: true})
	}
}

// Prepare makes the environment's network on a host and has the keeper on it, before a node needs them.
func (w writes) Prepare(ctx context.Context, hostName, environment string) error {
	h := w.host(hostName)
	if h == nil {
		return fmt.Errorf("host %s is not known", hostName)
	}
	w.mu.Lock()
	n, ok := networkOf(w.plan, hostName, environment)
	w.mu.Unlock()
	if !ok {
		return fmt.Errorf("the plan holds no network of %s for %s", environment, hostName)
	}
	if err := h.preparing.Take(ctx); err != nil {
		return fmt.Errorf("the network of %s on %s: %w", environment, hostName, err)
	}
	defer h.preparing.Give()
	w.join(ctx, h) // before the network is made: it says what its own link carries
	made, err := w.network(ctx, h, n)
	if err != nil {
		return fmt.Errorf("the network of %s on %s: %w", environment, hostName, err)
	}
	if made {
		w.join(ctx, h) // the others were, by the plan
	}
	return w.tell(ctx, h)
}

// network makes what isn't there, going by what was last seen; made: the network wasn't.
func (w writes) network(ctx context.Context, h *host, n plan.EnvironmentNetwork) (made bool, err error) {
	name := fleet.NetworkName(w.fleetName(), n.Environment)
	st := h.snapshot()
	if !slices.ContainsFunc(st.Networks, func(x fleet.Network) bool { return x.Name == name }) {
		if _, err := h.writable(); err != nil {
			return false, err
		}
		net := fleet.Network{
			Name: name, Fleet: w.fleetName(), Environment: n.Environment, Driver: "bridge",
			Subnet: n.Subnet, Gateway: n.Gateway, IPRange: n.IPRange, Bridge: fleet.BridgeName(w.fleetName(), n.Environment),
		}
		if w.joins() {
			net.MTU = w.mtu(n.Environment)
		}
		op := plan.HostOperation{Host: h.name, Operation: "create", What: "network", Name: name, Environment: n.Environment}
		if err := w.changing(ctx, op, func(ctx context.Context) error { return h.engine.EnsureNetwork(ctx, net) }); err != nil {
			return false, err
		}
		h.networkMade(net)
		made = true
	}
	k := current(st.Keepers, w.fleetName())
	if k == nil {
		return made, fmt.Errorf("%w: there is no keeper", fleet.ErrUnreachable)
	}
	// While one keeper takes another's place, either of them has it.
	if slices.ContainsFunc(st.Keepers, func(k fleet.KeeperContainer) bool { return k.Networks[name] == n.Keeper }) {
		return made, nil
	}
	if _, err := h.writable(); err != nil {
		return made, err
	}
	op := plan.HostOperation{Host: h.name, Operation: "connect", What: "keeper", Name: name, Environment: n.Environment}
	if err := w.changing(ctx, op, func(ctx context.Context) error { return h.connectKeeper(ctx, k, name, n.Keeper) }); err != nil {
		return made, err
	}
	h.keeperConnected(k.ID, name, n.Keeper)
	return made, nil
}

// mtu is that of an environment's network on one more host.
func (w writes) mtu(environment string) int {
	var carries []int
	for _, h := range w.allHosts() {
		carries = append(carries, int(h.carries.Load()))
	}
	return plan.NetworkMTU(w.observed(), w.fleetName(), environment, carries)
}

// connectKeeper has the keeper on a network at its address there.
func (h *host) connectKeeper(ctx context.Context, k *fleet.KeeperContainer, network string, address netip.Addr) error {
	if _, attached := k.Networks[network]; attached {
		if err := h.engine.Disconnect(ctx, network, k.ID); err != nil {
			return err
		}
	}
	if err := h.engine.Connect(ctx, network, k.ID, address.String()); err != nil {
		return fmt.Errorf("connecting the keeper: %w", err)
	}
	return nil
}

func (h *host) networkMade(n fleet.Network) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state.Networks = append(slices.Clone(h.state.Networks), n)
	slices.SortFunc(h.state.Networks, func(a, b fleet.Network) int { return cmp.Compare(a.Name, b.Name) })
}

func (h *host) keeperConnected(id, network string, address netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state.Keepers = slices.Clone(h.state.Keepers)
	for i := range h.state.Keepers {
		k := &h.state.Keepers[i]
		if k.ID != id {
			continue
		}
		networks := map[string]netip.Addr{network: address}
		for n, a := range k.Networks {
			if n != network {
				networks[n] = a
			}
		}
		k.Networks = networks
	}
}

// records implements rollout.Records.
type records struct{ *Controller }

func (r records) PutRecord(ctx context.Context, hostName, key string, value any) error {
	return r.record(ctx, hostName, key, value)
}

func (r records) DeleteRecord(ctx context.Context, hostName, key string) error {
	return r.record(ctx, hostName, key, nil)
}

// record writes a record unless the keeper is known to have it.
func (c *Controller) record(ctx context.Context, hostName, key string, value any) error {
	h := c.host(hostName)
	if h == nil {
		return fmt.Errorf("host %s is not known", hostName)
	}
	k, err := h.writable()
	if err != nil {
		return err
	}
	if value == nil {
		if err := k.DeleteRecord(ctx, key); err != nil {
			return err
		}
		h.recordPut(fleet.Record{Key: key})
		return nil
	}
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	var have json.RawMessage
	if st := h.snapshot(); st.Keeper.Record(key, &have) && string(have) == string(b) {
		return nil
	}
	if err := k.PutRecord(ctx, key, value); err != nil {
		return err
	}
	h.recordPut(fleet.Record{Key: key, Value: b})
	return nil
}

func (r records) Promote(ctx context.Context, in fleet.Instance) error {
	return r.record(ctx, in.Host, fleet.CurrentKey(in.NodeID), fleet.CurrentRecord{Generation: in.Generation})
}

func (r records) Pause(ctx context.Context, l fleet.LayerID, p fleet.PauseRecord) error {
	var errs []error
	for _, name := range r.hostsOf(l) {
		if err := r.record(ctx, name, fleet.PauseKey(l), p); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// hostsOf are the hosts that carry instances of a layer.
func (c *Controller) hostsOf(l fleet.LayerID) []string {
	var hosts []string
	for _, h := range c.observed().Hosts {
		if slices.ContainsFunc(h.Instances, func(in fleet.Instance) bool { return in.LayerID() == l }) {
			hosts = append(hosts, h.Name)
		}
	}
	return hosts
}

// planner implements rollout.Planner.
type planner struct{ *Controller }

func (p planner) Layer(ctx context.Context, l fleet.LayerID) (rollout.View, error) {
	var wg sync.WaitGroup
	for _, name := range p.hostsOf(l) {
		if h := p.host(name); h != nil {
			wg.Go(func() { p.observeHost(ctx, h) })
		}
	}
	wg.Wait()
	p.lookAgain(ctx, l)
	pl := p.computeAfter(ctx, unknownImage(p.imageOf(l)))
	v := rollout.View{Plan: plan.Layer{Environment: l.Environment, Layer: l.Layer}, Serving: map[int]bool{}, Unknown: map[int]bool{}}
	for i := range pl.Layers {
		if pl.Layers[i].ID() == l {
			v.Plan = pl.Layers[i]
		}
	}
	p.serving(l, &v)
	return v, ctx.Err()
}

// serving says which of a layer's nodes serve.
func (c *Controller) serving(l fleet.LayerID, v *rollout.View) {
	observed := c.observed()
	for _, n := range fleet.Nodes(observed) {
		if n.LayerID() == l {
			v.Unknown[n.Node] = fleet.Unknown(observed, &n)
			v.Serving[n.Node] = fleet.Serving(observed, &n) == "" && !v.Unknown[n.Node]
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if want := c.layer(l); want != nil {
		for i := 1; i <= want.Replicas; i++ {
			if !v.Serving[i] {
				v.Serving[i] = false // wanted, and not there
			}
		}
	}
}

// writtenFor is the hash of all that is written for a layer; empty: it isn't wanted. c.mu is held.
func (c *Controller) writtenFor(l fleet.LayerID) string {
	if want := c.layer(l); want != nil {
		return want.LayerHash
	}
	return ""
}

// layer is the layer as wanted, or nil. c.mu is held.
func (c *Controller) layer(l fleet.LayerID) *spec.Layer {
	if c.desired == nil {
		return nil
	}
	if e := c.desired.Environment(l.Environment); e != nil {
		return e.Layer(l.Layer)
	}
	return nil
}

// helperPatience is how long starting and removing a helper may take.
const helperPatience = 30 * time.Second

// drain has a helper in the node's network look until its connections have ended.
func (c *Controller) drain(ctx context.Context, h *host, in fleet.Instance, ports []uint16, timeout time.Duration) (int, error) {
	args := []string{"keeper", "drain", "--timeout", timeout.String()}
	for _, p := range ports {
		args = append(args, "--port", strconv.Itoa(int(p)))
	}
	c.mu.Lock()
	n, ok := networkOf(c.plan, h.name, in.Environment)
	c.mu.Unlock()
	if ok {
		args = append(args, "--exclude", n.Keeper.String())
	}
	ctx, cancel := context.WithTimeout(ctx, timeout+helperPatience)
	defer cancel()
	k := current(h.snapshot().Keepers, c.fleetName())
	if k == nil {
		return 0, fmt.Errorf("%w: there is no keeper", fleet.ErrUnreachable)
	}
	out, err := h.engine.RunHelper(ctx, fleet.Service{
		Image: k.Image, Command: args, InNetworkOf: in.ID, AutoRemove: true,
		Name:   fmt.Sprintf("evenkeel-drain-%s", fleet.ContainerName(c.fleetName(), in.NodeID, in.Generation)),
		Labels: map[string]string{fleet.LabelFleet: c.fleetName(), fleet.LabelRole: fleet.RoleHelper},
	})
	if err != nil {
		return 0, err
	}
	return leftOpen(out)
}

// leftOpen reads the last line that the helper wrote.
func leftOpen(output string) (int, error) {
	last := -1
	for line := range strings.Lines(output) {
		var v struct {
			Connections *int `json:"connections"`
		}
		if json.Unmarshal([]byte(line), &v) == nil && v.Connections != nil {
			last = *v.Connections
		}
	}
	if last < 0 {
		return 0, fmt.Errorf("the helper said nothing of connections: %q", output)
	}
	return last, nil
}
