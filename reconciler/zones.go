package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
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
	for _, id := range idle {
		w := workers[id.LayerID()]
		if c.mayEnd(id) || w != nil && w.Busy(id.Node) {
			continue
		}
		if n := fleet.NodeOf(observed, id); n == nil || proven(observed, n) {
			c.setOut(id, "")
		}
	}
}

// mayEnd says whether a node's engine may be about to end it.
func (c *Controller) mayEnd(id fleet.NodeID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ends[id]
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

// zone works out what a host's keeper is to be told now; false: the host wasn't read.
func (c *Controller) zone(host string) (fleet.Zone, bool) {
	observed := c.observed()
	c.settleOut(observed)
	gated := c.atTheirGate(observed)
	c.mu.Lock()
	desired, networks, out := c.desired, c.plan.Networks, maps.Clone(c.out)
	c.mu.Unlock()
	return zone.Of(host, desired, observed, networks, &zone.Work{
		Out: func(n fleet.NodeID) string { return out[n] }, Gated: func(n fleet.NodeID) bool { return gated[n] > 0 },
	})
}

// atTheirGate are the nodes that were started and have not been found ready: somebody waits for that, or did until a newer
// revision overtook it.
func (c *Controller) atTheirGate(observed fleet.Observed) map[fleet.NodeID]int {
	c.mu.Lock()
	gated := maps.Clone(c.gated)
	workers := map[fleet.LayerID]*rollout.Worker{}
	for n := range gated {
		workers[n.LayerID()] = c.workers[n.LayerID()]
	}
	c.mu.Unlock()
	for id, times := range gated {
		if w := workers[id.LayerID()]; w != nil && w.Busy(id.Node) {
			continue
		}
		if n := fleet.NodeOf(observed, id); n == nil || n.CurrentInstance() == nil || !n.CurrentInstance().Running() || proven(observed, n) {
			delete(gated, id)
			c.mu.Lock()
			if c.gated[id] == times { // else it has been started again meanwhile
				delete(c.gated, id)
			}
			c.mu.Unlock()
		}
	}
	return gated
}

// tell has a host's keeper serve what is to be served now, unless it does already. Calls that wait for
// one another are answered by one write, also where the keeper doesn't answer.
func (c *Controller) tell(ctx context.Context, h *host) error {
	asked := time.Now()
	if err := h.telling.Take(ctx); err != nil {
		return fmt.Errorf("telling the keeper on %s: %w", h.name, err)
	}
	give := h.telling.Give
	defer func() { give() }()
	if h.untold != nil && h.untoldAt.After(asked) {
		return h.untold
	}
	z, ok := c.zone(h.name)
	if !ok {
		return nil
	}
	// Without its records it can't be told which containers are their nodes'.
	if st := h.snapshot(); st.Keeper == nil {
		return fmt.Errorf("the keeper on %s: %w: what it has isn't known: %s", h.name, fleet.ErrUnreachable, cmp.Or(st.KeeperProblem, st.Problem))
	}
	h.mu.Lock()
	same := h.told != nil && h.told.Same(&z)
	h.mu.Unlock()
	if same {
		return nil
	}
	k, err := h.writable()
	if err != nil {
		return err
	}
	h.untold = nil
	answered := make(chan error, 1)
	give = func() {}
	c.besides.Go(func() {
		defer h.telling.Give() // only now: what is given up on the way doesn't come to the keeper after the next one
		ctx, end := untilTheEnd(ctx)
		defer end()
		answered <- h.serve(ctx, k, z)
	})
	select {
	case err = <-answered:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("telling the keeper on %s: %w", h.name, err)
	}
	return nil
}

// untilTheEnd is a context that goes on where only what asked is given up.
func untilTheEnd(ctx context.Context) (inner context.Context, end func()) {
	inner, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); !errors.Is(cause, rollout.ErrOvertaken) && !errors.Is(cause, rollout.ErrInterrupted) {
			cancel(cause)
		}
	})
	return inner, func() { stop(); cancel(nil) }
}

// serve has a keeper serve a zone. h.telling is held.
func (h *host) serve(ctx context.Context, k Keeper, z fleet.Zone) error {
	begun := time.Now()
	if err := k.SetZone(ctx, z); err != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.told = nil // it may have taken it all the same
		if errors.Is(err, fleet.ErrUnreachable) && ctx.Err() == nil {
			h.untold, h.untoldAt = fmt.Errorf("telling the keeper on %s: %w", h.name, err), time.Now()
			h.answers(false, begun)
		}
		return err
	}
	h.mu.Lock()
	h.answers(true, begun)
	h.told, h.toldAt = &z, time.Now()
	if h.state.Keeper != nil {
		s := *h.state.Keeper
		s.Zone, s.Health = z, s.Zone.StillTold(s.Health, &z)
		h.state.Keeper = &s
	}
	h.mu.Unlock()
	return nil
}

// naming implements rollout.Names.
type naming struct{ *Controller }

func (n naming) Hold(id fleet.NodeID) { n.setOut(id, fleet.OutStarting) }

func (n naming) Probe(ctx context.Context, in fleet.Instance) error {
	h := n.host(in.Host)
	if h == nil {
		return fmt.Errorf("host %s is not known", in.Host)
	}
	n.mu.Lock()
	n.gated[in.NodeID]++
	n.mu.Unlock()
	return n.tell(ctx, h)
}

func (n naming) Withdraw(ctx context.Context, id fleet.NodeID, reason string) (rollout.Withdrawn, error) {
	found, served, failing := n.answering(id), n.mayServe(id), n.failing(id)
	n.setOut(id, withdrawn+reason)
	n.mu.Lock()
	w := rollout.Withdrawn{TTL: n.desired.Fleet.Internal.TTL}
	n.mu.Unlock()
	var lost []string
	var inside, outside error
	var leave names.Leave
	var wg sync.WaitGroup
	wg.Go(func() { lost, inside = n.confirmAll(ctx, n.wantedHosts()) })
	wg.Go(func() { leave, outside = n.external().leave(ctx, id) })
	wg.Wait()
	cameBack := failing && !n.stillFailing(ctx, id)
	answered := slices.DeleteFunc(found, func(a answering) bool { return !a.before && failing && !cameBack })
	w.Served = served || cameBack
	w.Stale, w.TTL = lost, max(w.TTL, leave.Lasts)
	w.External = leave.Lasts > 0
	w.Internal = slices.ContainsFunc(answered, func(a answering) bool { return a.host.answersWithout(id) })
	return w, errors.Join(inside, outside)
}

// failing says whether a node's health check, or a probe, failed when it was looked at last.
func (n naming) failing(id fleet.NodeID) bool {
	observed := n.observed()
	node := fleet.NodeOf(observed, id)
	return node != nil && fleet.Failing(observed, node)
}

// stillFailing looks at a node once more that failed: it may have come back since, and been found until it was withdrawn.
func (n naming) stillFailing(ctx context.Context, id fleet.NodeID) bool {
	node := fleet.NodeOf(n.observed(), id)
	if node == nil || node.CurrentInstance() == nil {
		return false
	}
	if h := n.host(node.CurrentInstance().Host); h != nil {
		select {
		case <-n.read(ctx, h, 0):
		case <-ctx.Done():
			return false
		}
	}
	return n.failing(id)
}

func (n naming) Remembered(id fleet.NodeID) time.Duration { return n.external().Remembered(id) }

// mayServe says whether a node serves, as far as is known.
func (n naming) mayServe(id fleet.NodeID) bool {
	observed := n.observed()
	node := fleet.NodeOf(observed, id)
	return node != nil && (fleet.Serving(observed, node) == "" || fleet.Unknown(observed, node))
}

// answering is a host whose keeper may answer with a node.
type answering struct {
	host   *host
	before bool // it has been told already that the node is out, and may have answered with it shortly before
}

// answering are the hosts whose keepers may answer with a node now if it is healthy: it is to be found as they were
// told last, or was when it was withdrawn without their having been told since that it is back.
func (n naming) answering(id fleet.NodeID) []answering {
	n.mu.Lock()
	out := n.out[id]
	n.mu.Unlock()
	if fleet.NodeOf(n.observed(), id) == nil || out != "" {
		return nil
	}
	var all []answering
	for _, h := range n.allHosts() {
		h.mu.Lock()
		told := h.told
		h.mu.Unlock()
		if told == nil {
			continue
		}
		for i := range told.Nodes {
			z := &told.Nodes[i]
			before := strings.HasPrefix(z.Out, withdrawn)
			if z.NodeID == id && !z.Candidate && (z.Out == "" || before) {
				all = append(all, answering{h, before})
				break
			}
		}
	}
	return all
}

// answersWithout says whether the host's keeper has another node of the layer to answer with than the one that is out.
func (h *host) answersWithout(id fleet.NodeID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.told == nil || slices.ContainsFunc(h.told.Nodes, func(z fleet.ZoneNode) bool {
		return z.LayerID() == id.LayerID() && z.NodeID != id && !z.Candidate && z.Out == ""
	})
}

// confirmAll tells keepers, side by side, and waits for them a while; lost are those that have been out of
// reach for long enough to be left out.
func (n naming) confirmAll(ctx context.Context, hosts []*host) (lost []string, err error) {
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

func (n naming) confirm(ctx context.Context, h *host) (lost bool, err error) {
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

func (n naming) Restore(ctx context.Context, id fleet.NodeID) error {
	n.mu.Lock()
	n.damping.Forget(id)
	delete(n.gated, id)
	n.mu.Unlock()
	n.setOut(id, "")
	// A keeper that can't be written to is told when it can.
	hosts := slices.DeleteFunc(n.allHosts(), func(h *host) bool { _, err := h.writable(); return err != nil })
	var inside, outside error
	var wg sync.WaitGroup
	wg.Go(func() { _, inside = n.confirmAll(ctx, hosts) })
	wg.Go(func() { outside = n.external().comeBack(ctx, id) })
	wg.Wait()
	return errors.Join(inside, outside)
}

func (n naming) Health(ctx context.Context, hostName, instance string) (fleet.ProbeResult, bool, error) {
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

func (n naming) Drain(ctx context.Context, in fleet.Instance, ports []uint16, timeout time.Duration) (int, error) {
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
