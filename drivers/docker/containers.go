package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Create creates an instance's container with its volumes and files, and does not start it. If a later
// step fails the container is removed again. One that an earlier call with a lost reply has left is
// finished and returned as created. A name that something else has is a ConflictError.
func (h *Host) Create(ctx context.Context, c fleet.Container) (string, error) {
	o := h.write("creating container " + c.Name)
	return call(ctx, h, o, func(ctx context.Context, s *session) (string, error) {
		if err := h.ensureVolumes(ctx, s, c.Volumes, c.Labels[fleet.LabelFleet]); err != nil {
			return "", err
		}
		facts, err := s.readFacts(ctx)
		if err != nil {
			return "", err
		}
		h.warnClamped(c.Name, c.Limits, facts)
		c.Limits = c.Limits.Within(facts)
		config, hostConfig, networking := containerConfig(c)
		created, err := s.ContainerCreate(ctx, config, hostConfig, networking, nil, c.Name)
		if errdefs.IsConflict(err) {
			created.ID, err = h.adopt(ctx, s, c)
		}
		if err != nil {
			return "", err
		}
		if err := putFiles(ctx, s, created.ID, c); err != nil {
			return "", errors.Join(err, h.undo(ctx, s, created.ID))
		}
		return created.ID, nil
	})
}

// adopt finds out who has the name: a container that was created by the very call whose reply was lost is
// taken, since its labels say that it is what is asked for and nothing has run in it.
func (h *Host) adopt(ctx context.Context, s *session, c fleet.Container) (string, error) {
	has, err := h.named(ctx, s, c.Name)
	if err != nil {
		return "", fmt.Errorf("reading who has its name: %w", err)
	}
	fresh := has.State.Status == container.StateCreated && parseTime(has.State.StartedAt).IsZero()
	if fresh && includes(has.Config.Labels, c.Labels) {
		return has.ID, nil
	}
	return "", h.conflict("container", c.Name, has.ID, has.Config.Image, has.Config.Labels)
}

// The engine takes a name before it can show who has it, while that one is being created or removed.
const (
	nameSettles = 2 * time.Second
	namePoll    = 20 * time.Millisecond
)

// named reads the container that has a name for which another was refused.
func (h *Host) named(ctx context.Context, s *session, name string) (container.InspectResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, nameSettles)
	defer cancel()
	tick := time.NewTicker(namePoll)
	defer tick.Stop()
	for {
		has, err := s.ContainerInspect(ctx, name)
		if !errdefs.IsNotFound(err) {
			return has, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return has, err
		}
	}
}

// includes says whether all labels of want are in has, which also holds the image's own.
func includes(has, want map[string]string) bool {
	if want[fleet.LabelFleet] == "" {
		return false
	}
	merged := maps.Clone(has)
	maps.Copy(merged, want)
	return maps.Equal(has, merged)
}

// undo removes a container that could not be finished, also where ctx has ended meanwhile.
func (h *Host) undo(ctx context.Context, s *session, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.opts.Timeout)
	defer cancel()
	err := s.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("and removing it again: %w", err)
}

func (h *Host) warnClamped(name string, l fleet.Limits, e fleet.Engine) {
	if within := l.Within(e); within != l {
		h.opts.Warn(fmt.Sprintf("%s on %s: the host has %d CPUs, the limit of %.2f is lowered to that", name, h.name, e.CPUs, float64(l.NanoCPUs)/1e9))
	}
}

// Start starts a container, or lets a paused one go on; one that runs already is left alone.
func (h *Host) Start(ctx context.Context, id string) error {
	return h.do(ctx, h.write("starting container "+short(id)), func(ctx context.Context, s *session) error {
		err := s.ContainerStart(ctx, id, container.StartOptions{})
		if err != nil && paused(ctx, s, id) {
			return s.ContainerUnpause(ctx, id)
		}
		return err
	})
}

// paused says whether a container is paused: the engine refuses to start such a one.
func paused(ctx context.Context, s *session, id string) bool {
	c, err := s.ContainerInspect(ctx, id)
	return err == nil && c.State != nil && c.State.Paused
}

// Stop stops a container with a signal and kills it after the grace period. An empty signal is the one that
// it was created with; engines before API 1.42 know no other. A container that is gone is an error.
func (h *Host) Stop(ctx context.Context, id, signal string, grace time.Duration) error {
	o := h.write("stopping container " + short(id))
	o.timeout, o.hold = grace+h.opts.Timeout, h.opts.Timeout
	return h.do(ctx, o, func(ctx context.Context, s *session) error {
		return s.ContainerStop(ctx, id, stopOptions(s, signal, grace))
	})
}

// Restart stops a container as Stop does and starts it again.
func (h *Host) Restart(ctx context.Context, id, signal string, grace time.Duration) error {
	o := h.write("restarting container " + short(id))
	o.timeout, o.hold = grace+3*h.opts.Timeout, h.opts.Timeout
	return h.do(ctx, o, func(ctx context.Context, s *session) error {
		return s.ContainerRestart(ctx, id, stopOptions(s, signal, grace))
	})
}

func stopOptions(s *session, signal string, grace time.Duration) container.StopOptions {
	if older(s.ClientVersion(), "1.42") {
		signal = ""
	}
	seconds := wholeSeconds(grace)
	return container.StopOptions{Signal: signal, Timeout: &seconds}
}

// wholeSeconds rounds up: a grace period is a promise.
func wholeSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// Kill sends a signal to a container's first process. One that does not run is an ErrConflict.
func (h *Host) Kill(ctx context.Context, id, signal string) error {
	return h.do(ctx, h.write("signalling container "+short(id)), func(ctx context.Context, s *session) error {
		return s.ContainerKill(ctx, id, signal)
	})
}

// Remove removes a container, running or not, with its anonymous volumes; named ones stay. One that is
// gone already is done.
func (h *Host) Remove(ctx context.Context, id string) error {
	return h.do(ctx, h.write("removing container "+short(id)), func(ctx context.Context, s *session) error {
		err := s.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
		switch {
		case errdefs.IsNotFound(err):
			return nil
		case errdefs.IsConflict(err) && strings.Contains(err.Error(), "already in progress"):
			return waitRemoved(ctx, s, id)
		}
		return err
	})
}

func waitRemoved(ctx context.Context, s *session, id string) error {
	removed, failed := s.ContainerWait(ctx, id, container.WaitConditionRemoved)
	select {
	case <-removed:
		return nil
	case err := <-failed:
		if errdefs.IsNotFound(err) {
			return nil
		}
		return err
	}
}

// Rename gives a container another name.
func (h *Host) Rename(ctx context.Context, id, name string) error {
	o := h.write("renaming container " + short(id) + " to " + name)
	return h.do(ctx, o, func(ctx context.Context, s *session) error {
		err := s.ContainerRename(ctx, id, name)
		if err == nil {
			return nil
		}
		has, inspectErr := s.ContainerInspect(ctx, name)
		switch {
		case inspectErr != nil:
			return err
		case has.ID == id:
			return nil // the engine refuses to give a container the name that it has
		}
		return h.conflict("container", name, has.ID, has.Config.Image, has.Config.Labels)
	})
}

// Update changes the limits of a container in place. A limit can be changed and not lifted: the engine
// takes zero for no change and says nothing, so that is an error here.
func (h *Host) Update(ctx context.Context, id string, l fleet.Limits) error {
	return h.do(ctx, h.write("changing the limits of container "+short(id)), func(ctx context.Context, s *session) error {
		facts, err := s.readFacts(ctx)
		if err != nil {
			return err
		}
		has, err := s.ContainerInspect(ctx, id)
		if err != nil {
			return err
		}
		if lifts(limits(&has.HostConfig.Resources).Held(facts), l.Held(facts)) {
			return errors.New("a limit can't be lifted in place: recreate the container")
		}
		h.warnClamped(strings.TrimPrefix(has.Name, "/"), l, facts)
		_, err = s.ContainerUpdate(ctx, id, container.UpdateConfig{Resources: resources(l.Within(facts)), RestartPolicy: has.HostConfig.RestartPolicy})
		return err
	})
}

// SetRestartPolicy gives a container another restart policy of the engine's, and changes nothing else.
func (h *Host) SetRestartPolicy(ctx context.Context, id, policy string) error {
	return h.do(ctx, h.write("changing the restart policy of container "+short(id)), func(ctx context.Context, s *session) error {
		_, err := s.ContainerUpdate(ctx, id, container.UpdateConfig{RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(policy)}})
		return err
	})
}
