package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// choreRetry is how long a chore that failed is left alone.
const choreRetry = 30 * time.Second

// atHand marks a chore that is being done.
var atHand = time.Unix(1<<40, 0)

// beginChores begins what the plan of that number has to be done on hosts beside nodes: leftovers, networks,
// volumes, keepers. Networks that nodes need are made when they are needed.
func (c *Controller) beginChores(ctx context.Context, p plan.Plan, number int) {
	c.forgetChores(number)
	byHost := map[string][]plan.HostOperation{}
	for _, op := range p.Hosts {
		if (op.What == "keeper" || op.What == "links") && (op.Operation == "create" || op.Operation == "start") {
			continue // made and started when the host is leased, or joined
		}
		if op.Waits != "" || op.Within {
			continue // it was done too often a moment ago, or its node's operation ends it; then it is planned anew
		}
		if !c.canWrite(op.Host) || op.Operation != "remove" && c.atWork(op) {
			continue // planned anew once that has ended, or the host is in reach, its keeper answers and its lease is ours
		}
		if op.Instance != nil && c.worked(c.host(op.Host), op.Instance) {
			continue // planned anew when its operation has ended
		}
		if op.Operation == "replace" && op.What == "keeper" && c.busyOn(op.Host) {
			continue // no other operation is begun there until that one has ended
		}
		if c.takeChore(choreKey(op), number) {
			byHost[op.Host] = append(byHost[op.Host], op)
		}
	}
	for name, ops := range byHost {
		c.choring.Go(func() {
			for _, op := range ops {
				err := c.doChore(ctx, name, op)
				c.endChore(choreKey(op), err)
				if err != nil {
					c.notice("error", name, fmt.Sprintf("%s %s %s: %s", op.Operation, op.What, op.Name, err))
				}
			}
			c.kick()
		})
	}
}

// doChore does one thing and tells of it. What networks need is told of by what makes them ready, for nodes too.
func (c *Controller) doChore(ctx context.Context, name string, op plan.HostOperation) error {
	do := func(ctx context.Context) error { return c.chore(ctx, name, op) }
	if kind := op.Operation + " " + op.What; kind == "create network" || kind == "connect keeper" && op.Environment != "" {
		return do(ctx)
	}
	return c.changing(ctx, op, do)
}

func (c *Controller) canWrite(name string) bool {
	h := c.host(name)
	if h == nil {
		return false
	}
	_, err := h.writable()
	return err == nil
}

func choreKey(op plan.HostOperation) string {
	key := op.Host + " " + op.Operation + " " + op.What + " " + op.Name
	if op.Instance != nil {
		key += " " + op.Instance.ID + " " + op.Network
	}
	return key
}

// takeChore marks a chore as being done; false: it is being done, failed a moment ago, or has ended since
// the input of the plan that asks for it was gathered.
func (c *Controller) takeChore(key string, number int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if until, ok := c.chores[key]; ok && time.Now().Before(until) {
		return false
	}
	if ended, ok := c.done[key]; ok && number <= ended {
		return false
	}
	delete(c.done, key)
	c.chores[key] = atHand
	return true
}

func (c *Controller) endChore(key string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && !errors.Is(err, fleet.ErrUnreachable) && !errors.Is(err, fleet.ErrFenced) {
		c.chores[key] = time.Now().Add(choreRetry)
		return
	}
	delete(c.chores, key)
	if err == nil {
		c.done[key] = c.inputs
	}
}

// forgetChores forgets the ended chores that a plan of that number, or a later one, can't ask for by mistake.
func (c *Controller) forgetChores(number int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.done, func(_ string, ended int) bool { return ended < number })
}

// chore does one thing and notes what it changed. Each can be repeated.
func (c *Controller) chore(ctx context.Context, hostName string, op plan.HostOperation) error {
	h := c.host(hostName)
	if h == nil {
		return fmt.Errorf("host %s is not known", hostName)
	}
	if _, err := h.writable(); err != nil {
		return err
	}
	switch op.Operation + " " + op.What {
	case "create network":
		if op.Environment == "" {
			return nil // the uplink comes with the keeper
		}
		return writes{c}.Prepare(ctx, hostName, op.Environment)
	case "connect keeper":
		if op.Environment == "" {
			return c.mendKeeper(ctx, h, op)
		}
		return writes{c}.Prepare(ctx, hostName, op.Environment)
	case "disconnect keeper", "rename keeper", "update keeper":
		return c.mendKeeper(ctx, h, op)
	case "rename container", "update container", "disconnect container", "connect container":
		return c.mend(ctx, h, op)
	case "replace links", "update links", "remove links":
		return c.changeLinks(ctx, h, op.Operation)
	case "replace keeper":
		return c.replaceKeeper(ctx, h)
	case "remove container":
		if c.worked(h, op.Instance) {
			return nil // it has been taken since
		}
		if err := h.engine.Remove(ctx, op.Instance.ID); err != nil {
			return err
		}
		h.saw(op.Instance.ID, patch{gone: true})
		return nil
	case "remove network":
		return c.removeNetwork(ctx, h, op.Name)
	case "remove volume":
		err := h.engine.RemoveVolume(ctx, op.Name)
		c.observeHost(ctx, h)
		return err
	}
	return fmt.Errorf("no such operation: %s %s", op.Operation, op.What)
}

// worked says whether a worker has an instance at hand: the newest of a node that is being changed. The
// plan that asked for its removal may be older than that.
func (c *Controller) worked(h *host, in *fleet.Instance) bool {
	c.mu.Lock()
	w := c.workers[in.LayerID()]
	c.mu.Unlock()
	if w == nil || !w.Busy(in.Node) {
		return false
	}
	for _, other := range h.snapshot().Instances {
		if other.NodeID == in.NodeID && other.Generation > in.Generation {
			return false
		}
	}
	return true
}

// removeNetwork takes the keeper off an environment's network, which then can go.
func (c *Controller) removeNetwork(ctx context.Context, h *host, name string) error {
	for _, k := range h.snapshot().Keepers {
		if _, attached := k.Networks[name]; attached {
			if err := h.engine.Disconnect(ctx, name, k.ID); err != nil {
				return err
			}
		}
	}
	err := h.engine.RemoveNetwork(ctx, name)
	c.observeHost(ctx, h)
	return err
}
