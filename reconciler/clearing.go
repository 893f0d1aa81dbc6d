package reconciler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// clearing takes all of a fleet off one host.
type clearing struct {
	*Controller
	h       *host
	volumes bool // nodes' volumes go too
	leased  bool // false: there is no keeper that could grant a lease
	sizes   map[fleet.LayerID]int
	counted *counter

	mu   sync.Mutex
	out  Uninstalled
	errs []error
	lost bool // the lease: nothing is removed any more
}

// counter counts the nodes of each layer that are gone, over all hosts.
type counter struct {
	mu sync.Mutex
	of map[fleet.LayerID]int
}

func (c *counter) add(l fleet.LayerID, n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of[l] += n
	return c.of[l]
}

func (u *clearing) fail(err error) {
	if err == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.errs = append(u.errs, err)
}

func (u *clearing) failed() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.errs) > 0
}

// may says whether the host may still be written to: another controller may have come to work on it.
func (u *clearing) may(ctx context.Context) bool {
	if !u.leased {
		return ctx.Err() == nil
	}
	_, err := u.h.writable()
	u.mu.Lock()
	defer u.mu.Unlock()
	if err != nil && !u.lost {
		u.lost = true
		u.errs = append(u.errs, fmt.Errorf("nothing more is removed: %w", err))
	}
	return err == nil && ctx.Err() == nil
}

// clear removes what is there: nodes first, which need the rest, the keeper last, which grants the lease.
func (u *clearing) clear(ctx context.Context, st fleet.HostState) {
	switch {
	case u.failed():
		return
	case !st.Reachable:
		u.fail(fmt.Errorf("%w: %s", fleet.ErrUnreachable, st.Problem))
		return
	}
	var wg sync.WaitGroup
	for _, node := range byNode(st.Instances) {
		wg.Go(func() { u.end(ctx, node) })
	}
	wg.Wait()
	u.clearVolumes(ctx, st)
	name := u.fleetName()
	for _, n := range st.Networks {
		if n.Fleet == name && n.Role != fleet.RoleKeeper {
			u.clearNetwork(ctx, st, n)
		}
	}
	u.clearLinks(ctx, st)
	u.clearKeepers(ctx, st)
	u.fail(ctx.Err())
}

// clearLinks takes the host's devices away that lead to others, and what made them.
func (u *clearing) clearLinks(ctx context.Context, st fleet.HostState) {
	if l := st.Links; l != nil {
		u.remove(ctx, HostStep{What: "links", Name: l.Name}, func() error { return u.removeLinks(ctx, u.h, l) })
	}
}

// end stops and removes a node's instances, each given the time that it wants.
func (u *clearing) end(ctx context.Context, node []fleet.Instance) {
	release, err := u.slots.Take(ctx, u.h.name)
	if err != nil {
		return // interrupted
	}
	defer release()
	if !u.may(ctx) {
		return
	}
	begun := time.Now()
	id := node[0].NodeID
	p := rollout.Progress{
		Revision: u.currentRevision(), Environment: id.Environment, Layer: id.Layer, Node: id.Node, Host: u.h.name,
		Operation: plan.Remove, Phase: rollout.PhaseOperate, Total: u.sizes[id.LayerID()],
	}
	say := func(gone int) {
		p.Time, p.Done = time.Now(), u.counted.add(id.LayerID(), gone)
		u.report(p)
	}
	say(0)
	for _, in := range node {
		if err = u.endInstance(ctx, in); err != nil {
			break
		}
	}
	p.Took, p.Causes = plan.Duration(time.Since(begun)), []plan.Cause{{Field: "uninstall"}}
	switch {
	case err == nil:
		p.Phase = rollout.PhaseDone
		u.mu.Lock()
		u.out.Nodes++
		u.mu.Unlock()
		say(1)
		return
	case ctx.Err() != nil:
		p.Phase = rollout.PhaseGivenUp
	default:
		p.Phase = rollout.PhaseFailed
	}
	p.Error = err.Error()
	say(0)
	u.fail(fmt.Errorf("removing %s: %w", id, err))
}

func (u *clearing) endInstance(ctx context.Context, in fleet.Instance) error {
	if in.Running() {
		if err := u.h.engine.Stop(ctx, in.ID, "", in.StopGrace); err != nil && !errors.Is(err, fleet.ErrNotFound) {
			return err
		}
	}
	if _, err := u.h.writable(); u.leased && err != nil { // stopping took its time
		return err
	}
	return u.h.engine.Remove(ctx, in.ID)
}

// remove removes something that is no node and says so; false: it is still there.
func (u *clearing) remove(ctx context.Context, s HostStep, remove func() error) bool {
	if !u.may(ctx) {
		return false
	}
	s.Operation, s.Cause = "remove", "uninstall"
	err := remove()
	if err != nil {
		if ctx.Err() != nil {
			return false
		}
		s.Error = err.Error()
		u.fail(fmt.Errorf("removing %s %s: %w", s.What, s.Name, err))
	}
	u.did(u.h.name, s)
	return err == nil
}

func (u *clearing) clearVolumes(ctx context.Context, st fleet.HostState) {
	for _, v := range st.Volumes {
		gone := u.volumes && u.remove(ctx, HostStep{What: "volume", Name: v.Name, Node: v.NodeID}, func() error {
			return u.h.engine.RemoveVolume(ctx, v.Name)
		})
		if gone {
			u.out.Volumes++
		} else {
			u.out.Kept = append(u.out.Kept, KeptVolume{Host: u.h.name, Volume: v.Name})
		}
	}
}

// clearNetwork removes a network, off which its keepers are taken first.
func (u *clearing) clearNetwork(ctx context.Context, st fleet.HostState, n fleet.Network) {
	gone := u.remove(ctx, HostStep{What: "network", Name: n.Name, Node: fleet.NodeID{Environment: n.Environment}}, func() error {
		for _, k := range st.Keepers {
			if _, attached := k.Networks[n.Name]; attached {
				if err := u.h.engine.Disconnect(ctx, n.Name, k.ID); err != nil {
					return err
				}
			}
		}
		return u.h.engine.RemoveNetwork(ctx, n.Name)
	})
	if gone {
		u.out.Networks++
	}
}

// clearKeepers removes the keepers with what is theirs. From the first one's end on there is no lease.
func (u *clearing) clearKeepers(ctx context.Context, st fleet.HostState) {
	name := u.fleetName()
	for i, k := range st.Keepers {
		gone := u.remove(ctx, HostStep{What: "keeper", Name: k.Name}, func() error {
			u.leased = false
			if s := u.h.keeper(); s != nil && i == 0 {
				_ = s.Close() // its answer changes nothing: the keeper goes
			}
			return errors.Join(u.h.engine.Remove(ctx, k.ID), u.h.dropImage(ctx, k.Image))
		})
		if gone {
			u.out.Keepers++
		}
	}
	if u.out.Keepers < len(st.Keepers) {
		return
	}
	for _, n := range st.Networks {
		if n.Fleet == name && n.Role == fleet.RoleKeeper {
			u.clearNetwork(ctx, fleet.HostState{}, n)
		}
	}
	if len(st.Keepers) > 0 {
		volume := fleet.KeeperVolume(name)
		u.remove(ctx, HostStep{What: "volume", Name: volume}, func() error { return u.h.engine.RemoveVolume(ctx, volume) })
	}
}
