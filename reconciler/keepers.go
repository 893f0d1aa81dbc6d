package reconciler

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// How long a keeper may take to answer after it was started, before it is started again or made anew.
const (
	keeperPatience = 15 * time.Second
	keeperPoll     = 50 * time.Millisecond
)

// keeperArgs are what the image's entrypoint is given for a keeper and for a session with it.
func keeperArgs(fleetName, host string) []string {
	return []string{"keeper", "serve", "--fleet", fleetName, "--host", host}
}

var connectArgs = []string{"/evenkeel", "keeper", "connect"}

// dial opens the session with a host's keeper, where a keeper runs; nil: it doesn't answer, and the
// reason is kept for people.
func (h *host) dial(ctx context.Context, c *Controller, keepers []fleet.KeeperContainer) Keeper {
	if h.dialing.Take(ctx) != nil {
		return nil
	}
	defer h.dialing.Give()
	if k := h.keeper(); k != nil {
		return k
	}
	with, k, err := c.speakTo(ctx, h, keepers)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.state.KeeperProblem = fmt.Sprintf("the keeper on %s doesn't answer: %s", h.name, err)
		return nil
	}
	if k == nil {
		return nil
	}
	h.session, h.with, h.leased, h.told = k, with, false, nil
	h.state.KeeperProblem, h.muted = "", ""
	return k
}

// speakTo opens a session with the keeper that is to be spoken to; nil: none runs. While a hand-over isn't over
// there are two, of which it is the active one, whatever their names: the other neither grants nor writes, and which
// of them that is may change when both are started again. Where that can't be told, since one doesn't answer, it
// is neither.
func (c *Controller) speakTo(ctx context.Context, h *host, keepers []fleet.KeeperContainer) (with string, k Keeper, err error) {
	first := current(keepers, c.fleetName())
	for i := range keepers {
		container := &keepers[i]
		if container.State != fleet.StateRunning {
			continue
		}
		other, e := c.opts.DialKeeper(ctx, func(ctx context.Context) (net.Conn, error) {
			return h.engine.Exec(ctx, container.ID, connectArgs)
		})
		switch {
		case e != nil:
			err = errors.Join(err, e)
		case len(keepers) == 1:
			return container.ID, other, nil
		case active(ctx, other):
			hangUp(k)
			return container.ID, other, nil
		case k == nil || container == first:
			hangUp(k)
			with, k = container.ID, other
		default:
			hangUp(other)
		}
	}
	if err != nil {
		hangUp(k)
		return "", nil, err
	}
	return with, k, nil
}

func active(ctx context.Context, k Keeper) bool {
	s, err := k.State(ctx)
	return err == nil && s.Mode == fleet.KeeperActive
}

// hangUp ends a session that is of no use; nil: there is none.
func hangUp(k Keeper) {
	if k != nil {
		_ = k.Close() // nothing is lost with it
	}
}

// current is a host's keeper: the one with the keeper's name, else its successor.
func current(keepers []fleet.KeeperContainer, fleetName string) *fleet.KeeperContainer {
	for i := range keepers {
		if keepers[i].Name == fleet.KeeperName(fleetName) {
			return &keepers[i]
		}
	}
	if len(keepers) > 0 {
		return &keepers[0]
	}
	return nil
}

// ensureKeeper sees to it that the host's keeper runs and answers, and that it is no older than ours.
func (c *Controller) ensureKeeper(ctx context.Context, h *host) error {
	st := h.snapshot()
	if !st.Reachable {
		return fmt.Errorf("host %s: %w: %s", h.name, fleet.ErrUnreachable, st.Problem)
	}
	name := c.fleetName()
	k := current(st.Keepers, name)
	if k != nil && h.keeper() != nil {
		return nil
	}
	if k == nil || k.State != fleet.StateRunning {
		c.noteLoss(h)
	}
	if k == nil {
		was := ""
		if slices.ContainsFunc(st.Networks, func(n fleet.Network) bool { return n.Name == fleet.UplinkName(name) }) {
			was = "gone"
			c.notice("warning", h.name, "the keeper on "+h.name+" was gone and is made anew")
		}
		if err := c.createKeeper(ctx, h, was); err != nil {
			return fmt.Errorf("creating the keeper on %s: %w", h.name, err)
		}
		return c.awaitKeeper(ctx, h)
	}
	var err error
	runs := k.State == fleet.StateRunning
	if !runs {
		err = c.startKeeper(ctx, h, *k)
	}
	switch {
	case err == nil && runs:
		err = c.awaitRunning(ctx, h)
	case err == nil:
		err = c.awaitKeeper(ctx, h)
	case errors.Is(err, fleet.ErrUnreachable):
		return fmt.Errorf("starting the keeper on %s: %w", h.name, err)
	default:
		c.observeHost(ctx, h)
		if current(h.snapshot().Keepers, name) == nil { // it was being removed
			return c.ensureKeeper(ctx, h)
		}
		err = fmt.Errorf("it can't be started: %w", err)
	}
	switch {
	case err == nil || ctx.Err() != nil || errors.Is(err, fleet.ErrUnreachable):
		return err
	case errors.Is(err, errKeeperGone):
		return c.ensureKeeper(ctx, h)
	}
	return c.renewKeeper(ctx, h, k.ID, err)
}

// renewKeeper makes a keeper anew that doesn't answer, or that its engine can't start. All that it has is in its volume.
func (c *Controller) renewKeeper(ctx context.Context, h *host, id string, why error) error {
	c.notice("warning", h.name, "the keeper doesn't answer and is made anew: "+why.Error())
	if err := h.engine.Remove(ctx, id); err != nil {
		return fmt.Errorf("removing the keeper on %s, which doesn't answer: %w", h.name, err)
	}
	if err := c.createKeeper(ctx, h, "not answering"); err != nil {
		return fmt.Errorf("creating the keeper on %s: %w", h.name, err)
	}
	return c.awaitKeeper(ctx, h)
}

// startKeeper starts a keeper that is there.
func (c *Controller) startKeeper(ctx context.Context, h *host, k fleet.KeeperContainer) error {
	op := plan.HostOperation{Host: h.name, Operation: "start", What: "keeper", Name: k.Name}
	return c.changing(ctx, op, func(ctx context.Context) error { return h.engine.Start(ctx, k.ID) })
}

// createKeeper makes and starts a keeper. One that another controller made meanwhile is as good. What the one
// before it was, if there was one, is its cause.
func (c *Controller) createKeeper(ctx context.Context, h *host, was string) error {
	fleetName := c.fleetName()
	op := plan.HostOperation{Host: h.name, Operation: "create", What: "keeper", Name: fleet.KeeperName(fleetName)}
	if was != "" {
		op.Causes = []plan.Cause{{Field: "keeper", From: was, To: "running"}}
	}
	return c.changing(ctx, op, func(ctx context.Context) error { return c.makeKeeper(ctx, h, fleetName) })
}

func (c *Controller) makeKeeper(ctx context.Context, h *host, fleetName string) error {
	if err := h.engine.EnsureNetwork(ctx, uplink(fleetName)); err != nil {
		return fmt.Errorf("network %s: %w", fleet.UplinkName(fleetName), err)
	}
	id, err := c.keeperContainer(ctx, h, fleet.KeeperName(fleetName))
	if errors.Is(err, fleet.ErrConflict) {
		c.observeHost(ctx, h)
		if k := current(h.snapshot().Keepers, fleetName); k != nil {
			id, err = k.ID, nil
		}
	}
	if err != nil {
		return err
	}
	return h.engine.Start(ctx, id)
}

// imageTries is how often evenkeel's own image is loaded that somebody removes before a container is made of it: another
// fleet's uninstall, or a prune.
const imageTries = 3

// keeperContainer makes a keeper's container.
func (c *Controller) keeperContainer(ctx context.Context, h *host, name string) (id string, err error) {
	err = c.withImage(ctx, h, func(tag string) (err error) {
		id, err = h.engine.CreateService(ctx, c.keeperService(h, name, tag))
		return err
	})
	return id, err
}

// withImage makes something of evenkeel's own image, which is loaded where it isn't there.
func (c *Controller) withImage(ctx context.Context, h *host, make func(tag string) error) (err error) {
	for range imageTries {
		tag, missing := c.loadImage(ctx, h)
		if missing != nil {
			return missing
		}
		if err = make(tag); !errors.Is(err, fleet.ErrNoImage) {
			return err
		}
	}
	return err
}

func (c *Controller) keeperService(h *host, name, tag string) fleet.Service {
	fleetName := c.fleetName()
	labels := map[string]string{
		fleet.LabelFleet: fleetName, fleet.LabelRole: fleet.RoleKeeper,
		fleet.LabelVersion: strconv.Itoa(c.opts.KeeperVersion),
	}
	volume := map[string]string{fleet.LabelFleet: fleetName, fleet.LabelRole: fleet.RoleKeeper}
	return fleet.Service{
		Name: name, Image: tag, Command: keeperArgs(fleetName, h.name), Labels: labels,
		Network: fleet.UplinkName(fleetName),
		// With forwarding it would route between environments.
		Sysctls:      map[string]string{"net.ipv4.ip_forward": "0"},
		Volumes:      []fleet.Mount{{Name: fleet.KeeperVolume(fleetName), Target: "/var/lib/evenkeel", Labels: volume}},
		Capabilities: []string{"NET_BIND_SERVICE"},
		Restart:      plan.KeeperRestartPolicy, LogMaxSize: "1m",
	}
}

// loadImage puts evenkeel's own image onto a host that doesn't have it, and returns its tag.
func (c *Controller) loadImage(ctx context.Context, h *host) (tag string, err error) {
	image, err := c.opts.KeeperImage(h.snapshot().Engine.Arch)
	if err != nil {
		return "", fmt.Errorf("evenkeel's own image: %w", err)
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	if _, err := h.engine.Image(ctx, image.Tag()); err == nil || !errors.Is(err, fleet.ErrNoImage) {
		return image.Tag(), err
	}
	tar := image.Tar()
	if err := errors.Join(h.engine.LoadImage(ctx, tar), tar.Close()); err != nil {
		return "", fmt.Errorf("loading evenkeel's own image: %w", err)
	}
	return image.Tag(), nil
}

// dropImage removes an image of evenkeel's that no container uses any more.
func (h *host) dropImage(ctx context.Context, id string) error {
	if id == "" { // not known
		return nil
	}
	err := h.engine.RemoveImage(ctx, id)
	if errors.Is(err, fleet.ErrConflict) || errors.Is(err, fleet.ErrNotFound) {
		return nil
	}
	return err
}

// errKeeperGone: a host has no keeper that runs any more, though there was one a moment ago.
var errKeeperGone = errors.New("its container is gone")

// awaitKeeper waits until the keeper has said hello, for as long as there is one.
func (c *Controller) awaitKeeper(ctx context.Context, h *host) error {
	return c.awaitHello(ctx, h, func(k *fleet.KeeperContainer) bool { return k != nil })
}

// awaitRunning waits for the hello of a keeper that was found running, for as long as it runs: one that was stopped is
// told of before it is started again.
func (c *Controller) awaitRunning(ctx context.Context, h *host) error {
	return c.awaitHello(ctx, h, func(k *fleet.KeeperContainer) bool { return k != nil && k.State == fleet.StateRunning })
}

// awaitHello waits no longer than the host is in reach: of a keeper whose engine doesn't answer either nothing is known.
func (c *Controller) awaitHello(parent context.Context, h *host, worth func(*fleet.KeeperContainer) bool) error {
	ctx, cancel := context.WithTimeoutCause(parent, keeperPatience, fmt.Errorf("no hello within %s", keeperPatience))
	defer cancel()
	tick := time.NewTicker(keeperPoll)
	defer tick.Stop()
	for {
		c.observeHost(ctx, h)
		if h.keeper() != nil {
			return nil
		}
		st := h.snapshot()
		switch {
		case !st.Reachable:
			return fmt.Errorf("the keeper on %s: host %s: %w: %s", h.name, h.name, fleet.ErrUnreachable, st.Problem)
		case !worth(current(st.Keepers, c.fleetName())):
			return fmt.Errorf("the keeper on %s: %w", h.name, errKeeperGone)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if st := h.engine.Observe(parent, c.fleetName()); parent.Err() == nil && !st.Reachable {
				return fmt.Errorf("the keeper on %s: host %s: %w: %s", h.name, h.name, fleet.ErrUnreachable, st.Problem)
			}
			return fmt.Errorf("the keeper on %s: %w %s", h.name, context.Cause(ctx), st.KeeperProblem)
		}
	}
}

// replaceKeeper puts a newer keeper into an older one's place, network by network, so that no lookup is
// lost. A hand-over that was cut short goes on from what is there.
func (c *Controller) replaceKeeper(ctx context.Context, h *host) error {
	name := c.fleetName()
	if _, err := h.writable(); err != nil {
		return err
	}
	next, err := c.ensureSuccessor(ctx, h)
	if err != nil {
		return fmt.Errorf("starting the new keeper on %s: %w", h.name, err)
	}
	st := h.snapshot()
	old := byName(st.Keepers, fleet.KeeperName(name))
	if old != nil {
		if err := c.handOver(ctx, h, *old, next); err != nil {
			return fmt.Errorf("handing the keeper's networks over on %s: %w", h.name, err)
		}
		if err := h.engine.Remove(ctx, old.ID); err != nil {
			return fmt.Errorf("removing the old keeper on %s: %w", h.name, err)
		}
		if err := h.dropImage(ctx, old.Image); err != nil {
			c.notice("warning", h.name, "removing the old keeper's image: "+err.Error())
		}
	}
	if err := h.engine.Rename(ctx, next.ID, fleet.KeeperName(name)); err != nil {
		return fmt.Errorf("naming the new keeper on %s: %w", h.name, err)
	}
	if err := c.awaitKeeper(ctx, h); err != nil {
		return err
	}
	return c.lease(ctx, h)
}

func byName(keepers []fleet.KeeperContainer, name string) *fleet.KeeperContainer {
	for i := range keepers {
		if keepers[i].Name == name {
			return &keepers[i]
		}
	}
	return nil
}

// ensureSuccessor starts the new keeper beside the old one, on the uplink alone.
func (c *Controller) ensureSuccessor(ctx context.Context, h *host) (fleet.KeeperContainer, error) {
	name := fleet.SuccessorName(fleet.KeeperName(c.fleetName()))
	if k := byName(h.snapshot().Keepers, name); k != nil {
		return *k, h.engine.Start(ctx, k.ID)
	}
	id, err := c.keeperContainer(ctx, h, name)
	if err != nil {
		return fleet.KeeperContainer{}, err
	}
	if err := h.engine.Start(ctx, id); err != nil {
		return fleet.KeeperContainer{}, err
	}
	return fleet.KeeperContainer{ID: id, Name: name, Version: c.opts.KeeperVersion, State: fleet.StateRunning}, nil
}
