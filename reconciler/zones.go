package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
	"github.com/evenkeel/evenkeel/reconciler/zone"
)

// staleAfter is how long a host has to be out of reach before a withdrawal does without its keeper.
const staleAfter = 10 * time.Second

// setOut keeps a node out of its layer's names, with the reason; empty: no longer.
func (c *Controller) setOut(n fleet.NodeID, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if reason == "" {
		delete(c.out, n)
		return
	}
	c.out[n] = reason
}

// settleOut gives names back to nodes that nobody works on and that are healthy: an operation that was
// given up or failed left them out, and they have come round since.
func (c *Controller) settleOut(observed fleet.Observed) {
	c.mu.Lock()
	idle := make([]fleet.NodeID, 0, len(c.out))
	workers := map[fleet.LayerID]*rollout.Worker{}
	for n := range c.out {
		idle = append(idle, n)
		workers[n.LayerID()] = c.workers[n.LayerID()]
	}
	c.mu.Unlock()
	if len(idle) == 0 {
		return
	}
	nodes := map[fleet.NodeID]*fleet.Node{}
	all := fleet.Nodes(observed)
	for i := range all {
		nodes[all[i].NodeID] = &all[i]
	}
	for _, id := range idle {
		w, n := workers[id.LayerID()], nodes[id]
		if (w == nil || !w.Busy(id.Node)) && (n == nil || proven(observed, n)) {
			c.setOut(id, "")
		}
	}
}

// proven says whether a node's current instance runs and its keeper found it healthy.
func proven(observed fleet.Observed, n *fleet.Node) bool {
	in := n.CurrentInstance()
	if in == nil || n.Unproven || in.State != fleet.StateRunning || in.Health == fleet.HealthStarting || in.Health == fleet.HealthUnhealthy {
		return false
	}
	h := observed.Host(in.Host)
	if h == nil {
		return false
	}
	r, ok := h.Keeper.ProbeResult(in.ID)
	return ok && r.Healthy
}

// zones works out what each host's keeper is to be told now.
func (c *Controller) zones() map[string]fleet.Zone {
	observed := c.observed()
	c.settleOut(observed)
	c.mu.Lock()
	desired, networks := c.desired, c.plan.Networks
	out := make(map[fleet.NodeID]string, len(c.out))
	for n, reason := range c.out {
		out[n] = reason
	}
	c.mu.Unlock()
	zones := map[string]fleet.Zone{}
	for _, z := range zone.Compute(desired, observed, networks, func(n fleet.NodeID) string { return out[n] }) {
		zones[z.Host] = z
	}
	return zones
}

// tell has a host's keeper serve what is to be served now, unless it does already. Calls that wait for
// one another are answered by one write, also where the keeper doesn't answer.
func (c *Controller) tell(ctx context.Context, h *host) error {
	asked := time.Now()
	h.telling.Lock()
	defer h.telling.Unlock()
	if h.untold != nil && h.untoldAt.After(asked) {
		return h.untold
	}
	z, ok := c.zones()[h.name]
	if !ok {
		return nil
	}
	h.mu.Lock()
	same := h.told != nil && sameZone(*h.told, z)
	h.mu.Unlock()
	if same {
		return nil
	}
	k, err := h.writable()
	if err != nil {
		return err
	}
	h.untold = nil
	begun := time.Now()
	if err := k.SetZone(ctx, z); err != nil {
		err = fmt.Errorf("telling the keeper on %s: %w", h.name, err)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.told = nil // it may have taken it all the same
		if errors.Is(err, fleet.ErrUnreachable) && ctx.Err() == nil {
			h.untold, h.untoldAt = err, time.Now()
			h.answers(false, begun)
		}
		return err
	}
	h.mu.Lock()
	h.answers(true, begun)
	h.told, h.toldAt = &z, time.Now()
	if h.state.Keeper != nil {
		s := *h.state.Keeper
		s.Zone = z
		h.state.Keeper = &s
	}
	h.mu.Unlock()
	return nil
}

func sameZone(a, b fleet.Zone) bool {
	if reflect.DeepEqual(a, b) {
		return true
	}
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}

// names implements rollout.Names.
type names struct{ *Controller }

func (n names) Hold(id fleet.NodeID) { n.setOut(id, fleet.OutStarting) }

func (n names) Probe(ctx context.Context, in fleet.Instance) error {
	h := n.host(in.Host)
	if h == nil {
		return fmt.Errorf("host %s is not known", in.Host)
	}
	return n.tell(ctx, h)
}

func (n names) Withdraw(ctx context.Context, id fleet.NodeID, reason string) (rollout.Withdrawn, error) {
	n.setOut(id, "withdrawn: "+reason)
	n.mu.Lock()
	w := rollout.Withdrawn{TTL: n.desired.Fleet.Internal.TTL}
	n.mu.Unlock()
	lost, err := n.confirmAll(ctx, n.wantedHosts())
	w.Stale = lost
	return w, err
}

// confirmAll tells keepers, side by side, and waits for them a while; lost are those that have been out of
// reach for long enough to be left out.
func (n names) confirmAll(ctx context.Context, hosts []*host) (lost []string, err error) {
	out, errs := make([]bool, len(hosts)), make([]error, len(hosts))
	var wg sync.WaitGroup
	for i, h := range hosts {
		wg.Go(func() { out[i], errs[i] = n.confirm(ctx, h) })
	}
	wg.Wait()
	for i, h := range hosts {
		if out[i] {
			lost = append(lost, h.name)
		}
	}
	return lost, errors.Join(errs...)
}

func (n names) confirm(ctx context.Context, h *host) (lost bool, err error) {
	tick := time.NewTicker(confirmPoll)
	defer tick.Stop()
	begun := time.Now()
	for {
		err := n.tellThere(ctx, h)
		switch {
		case err == nil, !errors.Is(err, fleet.ErrUnreachable):
			return false, err
		case h.lostFor() > staleAfter:
			return true, nil
		case time.Since(begun) > confirmPatience:
			return false, err
		}
		select {
		case <-tick.C:
			n.read(ctx, h, 0) // aside: one that hangs is lost in the meantime
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// tellThere is tell for a host that has to be in reach.
func (c *Controller) tellThere(ctx context.Context, h *host) error {
	if st := h.snapshot(); !st.Reachable {
		return fmt.Errorf("host %s: %w: %s", h.name, fleet.ErrUnreachable, st.Problem)
	}
	return c.tell(ctx, h)
}

// confirmPatience is how long a keeper is waited for that answers, and doesn't acknowledge what it is told.
const confirmPatience = 2 * staleAfter

// confirmPoll is how often a keeper out of reach is tried while a node's operation waits for it.
const confirmPoll = 250 * time.Millisecond

func (n names) Restore(ctx context.Context, id fleet.NodeID) error {
	n.setOut(id, "")
	// A keeper that can't be written to is told when it can.
	hosts := slices.DeleteFunc(n.allHosts(), func(h *host) bool { _, err := h.writable(); return err != nil })
	_, err := n.confirmAll(ctx, hosts)
	return err
}

func (n names) Health(ctx context.Context, hostName, instance string) (fleet.ProbeResult, bool, error) {
	h := n.host(hostName)
	if h == nil {
		return fleet.ProbeResult{}, false, fmt.Errorf("host %s is not known", hostName)
	}
	k, err := h.keeperState(ctx)
	if err != nil {
		return fleet.ProbeResult{}, false, err
	}
	r, ok := k.ProbeResult(instance)
	return r, ok, nil
}

func (n names) Drain(ctx context.Context, in fleet.Instance, ports []uint16, timeout time.Duration) (int, error) {
	h := n.host(in.Host)
	if h == nil {
		return 0, fmt.Errorf("host %s is not known", in.Host)
	}
	return n.drain(ctx, h, in, ports, timeout)
}

// networkOf finds what the plan says of an environment's network on a host.
func networkOf(p plan.Plan, host, environment string) (plan.EnvironmentNetwork, bool) {
	for _, n := range p.Networks {
		if n.Host == host && n.Environment == environment {
			return n, true
		}
	}
	return plan.EnvironmentNetwork{}, false
}
