package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// engine is a host's engine as one process speaks to it.
type engine struct {
	host *Host
	p    *Process
}

var _ reconciler.Engine = (*engine)(nil)

func (e *engine) read(verb, object string) call { return call{verb: verb, object: object} }
func (e *engine) write(verb, object string) call {
	return call{verb: verb, object: object, write: true}
}

// locked does what takes no time.
func locked[T any](h *Host, f func() (T, error)) func() (T, error) {
	return func() (T, error) {
		h.w.mu.Lock()
		defer h.w.mu.Unlock()
		return f()
	}
}

type none = struct{}

func only(_ none, err error) error { return err }

// Observe reads what the host has of a fleet.
func (e *engine) Observe(ctx context.Context, fleetName string) fleet.HostState {
	st, err := do(ctx, e, e.read("reading", "what is there"), locked(e.host, func() (*fleet.HostState, error) { return e.host.state(fleetName), nil }))
	if err != nil {
		return fleet.HostState{Name: e.host.name, Problem: err.Error()}
	}
	return *st
}

// Inspect reads one instance.
func (e *engine) Inspect(ctx context.Context, id string) (fleet.Instance, error) {
	return do(ctx, e, e.read("inspecting", e.nameOf(id)), locked(e.host, func() (fleet.Instance, error) {
		c := e.host.find(id)
		if c == nil {
			return fleet.Instance{}, fleet.ErrNotFound
		}
		return c.instance(), nil
	}))
}

// nameOf is a container's name, which, other than its ID, says what it is.
func (e *engine) nameOf(id string) string {
	e.host.w.mu.Lock()
	defer e.host.w.mu.Unlock()
	if c := e.host.find(id); c != nil {
		return c.name
	}
	return id
}

// Create creates an instance's container with its volumes.
func (e *engine) Create(ctx context.Context, c fleet.Container) (string, error) {
	return do(ctx, e, e.write("creating", c.Name), locked(e.host, func() (string, error) { return e.host.create(c) }))
}

func (h *Host) create(c fleet.Container) (string, error) {
	if err := h.ensureVolumes(c.Volumes, c.Labels[fleet.LabelFleet]); err != nil {
		return "", err
	}
	if has := h.find(c.Name); has != nil {
		return h.adopt(has, c.Labels)
	}
	if h.image(c.Image) == nil {
		return "", fmt.Errorf("no such image %s: %w", c.Image, fleet.ErrNoImage)
	}
	made := h.make(c.Name, c.Image, c.Labels)
	made.limits, made.restart, made.stop = c.Limits.Within(h.state(FleetName).Engine), c.Restart, c.StopGrace
	made.wanted, made.published = slices.Clone(c.Ports), slices.Clone(c.Ports)
	made.listens = c.Exec != nil || len(c.Ports)+len(c.Exposed) > 0
	made.exec, made.files = c.Exec != nil, filesOf(c.Files, made.made)
	for _, v := range c.Volumes {
		made.mounts = append(made.mounts, v.Name)
	}
	slices.Sort(made.mounts)
	if c.Network != "" {
		made.networks[c.Network] = endpoint{address: c.Address}
		if n := h.network(c.Network); n != nil {
			made.networks[c.Network] = endpoint{network: n.ID, address: c.Address}
		}
	}
	made.behaviour = h.w.Registry.behaviour(c.Image, c.Name)
	h.tell(made, "create")
	h.changed(byEvenkeel)
	return made.id, nil
}

// make adds a container. The lock is held.
func (h *Host) make(name, image string, labels map[string]string) *container {
	c := &container{
		host: h, id: fmt.Sprintf("%s.%s.%s", h.name, name, h.w.nth("container "+h.name+name)), name: name, labels: maps.Clone(labels), image: image,
		made: time.Now(), state: fleet.StateCreated, networks: map[string]endpoint{},
	}
	h.containers = append(h.containers, c)
	h.w.note("%s: %s created", h.name, name)
	return c
}

// adopt takes a container that the very call has made whose reply was lost.
func (h *Host) adopt(has *container, labels map[string]string) (string, error) {
	if has.state == fleet.StateCreated && has.started.IsZero() && labels[fleet.LabelFleet] != "" && maps.Equal(has.labels, labels) {
		return has.id, nil
	}
	return "", fmt.Errorf("the name %s is taken: %w", has.name, fleet.ErrConflict)
}

func (h *Host) ensureVolumes(mounts []fleet.Mount, of string) error {
	for _, m := range mounts {
		v := h.volumes[m.Name]
		if v == nil {
			v = &volume{labels: maps.Clone(m.Labels)}
			h.volumes[m.Name] = v
			h.w.note("%s: volume %s created", h.name, m.Name)
		}
		if v.labels[fleet.LabelFleet] != of {
			return fmt.Errorf("volume %s is somebody else's: %w", m.Name, fleet.ErrConflict)
		}
	}
	return nil
}

// Start starts a container, or lets a paused one go on.
func (e *engine) Start(ctx context.Context, id string) error {
	return only(do(ctx, e, e.write("starting", e.nameOf(id)), locked(e.host, func() (none, error) {
		c := e.host.find(id)
		switch {
		case c == nil:
			return none{}, fleet.ErrNotFound
		case c.state == fleet.StatePaused:
			c.state = fleet.StateRunning
			e.host.changed(byEvenkeel)
			return none{}, nil
		case c.state == fleet.StateRunning:
			return none{}, nil
		}
		e.host.w.rules.starting(c)
		return none{}, c.run(byEvenkeel)
	})))
}

// Stop has a container's process end.
func (e *engine) Stop(ctx context.Context, id, _ string, grace time.Duration) error {
	c := e.write("stopping", e.nameOf(id))
	c.timeout = grace + readTimeout
	return only(do(ctx, e, c, func() (none, error) { return none{}, e.host.stop(id, grace) }))
}

func (h *Host) stop(id string, grace time.Duration) error {
	w := h.w
	w.mu.Lock()
	c := h.find(id)
	if c == nil {
		w.mu.Unlock()
		return fleet.ErrNotFound
	}
	c.byHand = true      // from now on the engine leaves it alone when it ends
	c.asked = !c.ready() // what is asked to end before it answers doesn't begin to
	took := min(c.behaviour.ending, grace)
	if c.running() {
		w.rules.stopping(c)
	}
	w.mu.Unlock()
	if !w.instant && w.sleep(context.Background(), took) != nil {
		return context.Canceled
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.running() && h.condition != off {
		c.end(0, byEvenkeel)
	}
	return nil
}

// Restart stops a container and starts it again.
func (e *engine) Restart(ctx context.Context, id, _ string, grace time.Duration) error {
	c := e.write("restarting", e.nameOf(id))
	c.timeout = grace + writeTimeout
	return only(do(ctx, e, c, func() (none, error) {
		if err := e.host.stop(id, grace); err != nil {
			return none{}, err
		}
		return locked(e.host, func() (none, error) {
			if c := e.host.find(id); c != nil {
				return none{}, c.run(byEvenkeel)
			}
			return none{}, fleet.ErrNotFound
		})()
	}))
}

// Remove removes a container, running or not.
func (e *engine) Remove(ctx context.Context, id string) error {
	return only(do(ctx, e, e.write("removing", e.nameOf(id)), locked(e.host, func() (none, error) {
		if c := e.host.find(id); c != nil {
			if c.running() {
				e.host.w.rules.stopping(c)
			}
			e.host.w.rules.removing("container", c.name, c.labels)
			e.host.remove(c, byEvenkeel)
		}
		return none{}, nil
	})))
}

// remove takes a container away. The lock is held.
func (h *Host) remove(c *container, by cause) {
	c.end(137, by)
	h.containers = slices.DeleteFunc(h.containers, func(o *container) bool { return o == c })
	h.w.note("%s: %s removed by %s", h.name, c.name, by)
	h.tell(c, "destroy")
	h.changed(by)
}

// Rename gives a container another name.
func (e *engine) Rename(ctx context.Context, id, name string) error {
	return only(do(ctx, e, e.write("renaming", name), locked(e.host, func() (none, error) {
		c, has := e.host.find(id), e.host.find(name)
		switch {
		case c == nil:
			return none{}, fleet.ErrNotFound
		case has != nil && has != c:
			return none{}, fmt.Errorf("the name %s is taken: %w", name, fleet.ErrConflict)
		}
		e.host.w.rules.touching("container", c.name, c.labels)
		c.name = name
		e.host.tell(c, "rename")
		e.host.changed(byEvenkeel)
		return none{}, nil
	})))
}

// Update changes the limits of a container in place.
func (e *engine) Update(ctx context.Context, id string, l fleet.Limits) error {
	return e.update(ctx, id, func(c *container) error {
		has := c.limits
		if has.Memory > 0 && l.Memory == 0 || has.MemoryReservation > 0 && l.MemoryReservation == 0 ||
			has.NanoCPUs > 0 && l.NanoCPUs == 0 || has.CPUShares > 0 && l.CPUShares == 0 || has.PidsLimit > 0 && l.PidsLimit == 0 {
			return errors.New("a limit can't be lifted in place")
		}
		c.limits = l.Within(e.host.state(FleetName).Engine)
		return nil
	})
}

// SetRestartPolicy gives a container another restart policy.
func (e *engine) SetRestartPolicy(ctx context.Context, id, policy string) error {
	return e.update(ctx, id, func(c *container) error { c.restart = policy; return nil })
}

func (e *engine) update(ctx context.Context, id string, f func(*container) error) error {
	return only(do(ctx, e, e.write("updating", e.nameOf(id)), locked(e.host, func() (none, error) {
		c := e.host.find(id)
		if c == nil {
			return none{}, fleet.ErrNotFound
		}
		e.host.w.rules.touching("container", c.name, c.labels)
		if err := f(c); err != nil {
			return none{}, err
		}
		e.host.tell(c, "update")
		e.host.changed(byEvenkeel)
		return none{}, nil
	})))
}

// Occupants are all containers that run on the host.
func (e *engine) Occupants(ctx context.Context) ([]fleet.Occupant, error) {
	return do(ctx, e, e.read("listing", "occupants"), locked(e.host, func() ([]fleet.Occupant, error) {
		var all []fleet.Occupant
		for _, c := range e.host.containers {
			if c.running() {
				all = append(all, c.occupant())
			}
		}
		return all, nil
	}))
}

// Logs are what a program wrote last.
func (e *engine) Logs(ctx context.Context, id string, _ int) ([]string, error) {
	return do(ctx, e, e.read("reading the log of", e.nameOf(id)), func() ([]string, error) { return []string{"a line"}, nil })
}

// Close lets go of the connections.
func (e *engine) Close() error { return nil }

// address is one that the engine chooses by itself. The lock is held.
func (h *Host) address(n *network) netip.Addr {
	for a := n.Subnet.Addr().Next().Next(); n.Subnet.Contains(a); a = a.Next() {
		taken := slices.ContainsFunc(h.containers, func(c *container) bool { return c.networks[n.Name].address == a })
		if !taken {
			return a
		}
	}
	return netip.Addr{}
}
