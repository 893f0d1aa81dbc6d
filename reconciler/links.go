package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/zone"
	"github.com/evenkeel/evenkeel/spec"
)

// linkPatience is how long a host may take to set its links.
const linkPatience = 15 * time.Second

var (
	serveLinksArgs = []string{"keeper", "links", "serve"}
	setLinksArgs   = []string{"/evenkeel", "keeper", "links", "set"}
)

// joins says whether the hosts' networks are to be joined.
func (c *Controller) joins() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.desired != nil && c.desired.Fleet.Network.Driver == spec.NetworkVXLAN
}

// changeLinks makes, starts, replaces or removes what joins a host's networks to those of others.
func (c *Controller) changeLinks(ctx context.Context, h *host, operation string) error {
	if err := h.linking.Take(ctx); err != nil {
		return err
	}
	defer h.linking.Give()
	l := h.snapshot().Links
	var err error
	switch {
	case operation == "create" && l != nil, operation != "create" && l == nil:
		return nil // somebody has done it meanwhile
	case operation == "create":
		err = c.createLinks(ctx, h)
	case operation == "start":
		err = h.engine.Start(ctx, l.ID)
	case operation == "update":
		err = h.engine.SetRestartPolicy(ctx, l.ID, plan.KeeperRestartPolicy)
	case operation == "replace": // what it has set stays meanwhile: it is the kernel's
		if err = h.engine.Remove(ctx, l.ID); err == nil {
			err = c.createLinks(ctx, h)
		}
		if dropped := h.dropImage(ctx, l.Image); dropped != nil {
			c.notice("warning", h.name, "removing the image of the links before: "+dropped.Error())
		}
	case operation == "remove":
		err = c.removeLinks(ctx, h, l)
	default:
		err = fmt.Errorf("no such operation: %s links", operation)
	}
	c.observeHost(ctx, h)
	return err
}

// createLinks makes and starts the container. h.linking is held.
func (c *Controller) createLinks(ctx context.Context, h *host) error {
	var id string
	err := c.withImage(ctx, h, func(tag string) (err error) {
		id, err = h.engine.CreateService(ctx, linksService(c.fleetName(), tag, c.opts.KeeperVersion))
		return err
	})
	if err != nil {
		return err
	}
	return h.engine.Start(ctx, id)
}

// linksService is the container that joins a host's networks to those of others. It listens on nothing.
func linksService(fleetName, image string, version int) fleet.Service {
	name := fleet.LinksName(fleetName)
	labels := map[string]string{fleet.LabelFleet: fleetName, fleet.LabelRole: fleet.RoleLinks}
	return fleet.Service{
		Name: name, Image: image, Command: serveLinksArgs, HostNetwork: true,
		Labels: map[string]string{
			fleet.LabelFleet: fleetName, fleet.LabelRole: fleet.RoleLinks, fleet.LabelVersion: strconv.Itoa(version),
		},
		Volumes:      []fleet.Mount{{Name: name, Target: "/var/lib/evenkeel", Labels: labels}},
		Capabilities: []string{"NET_ADMIN"},
		Restart:      plan.KeeperRestartPolicy, LogMaxSize: "1m",
	}
}

// removeLinks takes away what was set, and the container with what it keeps. Nobody sets it meanwhile.
func (c *Controller) removeLinks(ctx context.Context, h *host, l *fleet.LinksContainer) error {
	if !plan.LinksRun(l) {
		if err := h.engine.Start(ctx, l.ID); err != nil {
			return fmt.Errorf("starting it, so that it takes its devices away: %w", err)
		}
	}
	none := fleet.Links{Fleet: c.fleetName()}
	if _, err := setLinks(ctx, h, l.ID, &none); err != nil {
		return fmt.Errorf("taking its devices away: %w", err)
	}
	h.linked = nil
	return errors.Join(h.engine.Remove(ctx, l.ID), h.engine.RemoveVolume(ctx, fleet.LinksName(c.fleetName())), h.dropImage(ctx, l.Image))
}

// ensureLinks has a host's links run.
func (c *Controller) ensureLinks(ctx context.Context, h *host) error {
	l := h.snapshot().Links
	operation := ""
	switch {
	case l == nil:
		operation = "create"
	case !plan.LinksRun(l):
		operation = "start"
	default:
		return nil
	}
	op := plan.HostOperation{Host: h.name, Operation: operation, What: "links", Name: fleet.LinksName(c.fleetName())}
	return c.changing(ctx, op, func(ctx context.Context) error { return c.changeLinks(ctx, h, operation) })
}

// join has a host joined to the others as it is to be now. Where that fails all else goes on: it is said once, and tried
// again after a while.
func (c *Controller) join(ctx context.Context, h *host) {
	if !c.joins() || h.joining.Take(ctx) != nil {
		return
	}
	defer h.joining.Give()
	if time.Now().Before(h.joinAgain) {
		return
	}
	_, err := h.writable()
	if err == nil {
		err = c.ensureLinks(ctx, h)
	}
	if err == nil {
		err = c.link(ctx, h)
	}
	if err != nil && ctx.Err() == nil {
		h.joinAgain = time.Now().Add(choreRetry)
	}
	if _, lost := h.writable(); ctx.Err() != nil || lost != nil {
		return // that is told of anyway
	}
	text := ""
	if err != nil {
		text = fmt.Sprintf("joining %s to the other hosts: %s (its nodes may not reach those of other hosts)", h.name, err)
	}
	h.mu.Lock()
	news := text != h.unjoined
	h.unjoined = text
	h.mu.Unlock()
	if news && text != "" {
		c.notice("error", h.name, text)
	}
}

// unjoined says why hosts aren't joined that are to be.
func (c *Controller) unjoined() []string {
	if !c.joins() {
		return nil
	}
	var problems []string
	for _, h := range c.allHosts() {
		h.mu.Lock()
		text := h.unjoined
		h.mu.Unlock()
		if text != "" {
			problems = append(problems, text)
		}
	}
	return problems
}

// link sets a host's links, unless they are as they are to be.
func (c *Controller) link(ctx context.Context, h *host) error {
	if err := h.linking.Take(ctx); err != nil {
		return err
	}
	defer h.linking.Give()
	observed := c.observed()
	c.mu.Lock()
	desired, networks := c.desired, c.plan.Networks
	c.mu.Unlock()
	want, ok := zone.Links(h.name, desired, observed, networks)
	if h.relink.Swap(false) {
		h.linked = nil
	}
	l := h.snapshot().Links
	if !ok || l == nil || !plan.LinksRun(l) || h.linked != nil && h.linkedWith == l.ID && h.linked.Same(&want) {
		return nil
	}
	if _, err := h.writable(); err != nil {
		return err
	}
	r, err := setLinks(ctx, h, l.ID, &want)
	if err != nil {
		h.linked = nil // they may have been set all the same
		return err
	}
	h.linked, h.linkedWith = &want, l.ID
	h.carries.Store(int64(r.MTU))
	return nil
}

// setLinks has a host's links set, and says what became of them.
func setLinks(ctx context.Context, h *host, container string, want *fleet.Links) (r fleet.LinksResult, err error) {
	ctx, cancel := context.WithTimeout(ctx, linkPatience)
	defer cancel()
	conn, err := h.engine.Exec(ctx, container, setLinksArgs)
	if err != nil {
		return r, err
	}
	defer func() { _ = conn.Close() }() // it has said all by then
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := json.NewEncoder(conn).Encode(want); err != nil {
		return r, fmt.Errorf("telling it: %w", err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, linksAnswer))
	if ctx.Err() != nil {
		return r, fmt.Errorf("%w: %w", fleet.ErrUnreachable, context.Cause(ctx))
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(answer, &r); err != nil {
		return r, fmt.Errorf("its answer can't be read: %w", err)
	}
	if r.Problem != "" {
		return r, errors.New(r.Problem)
	}
	return r, nil
}

// linksAnswer is more than what is said of all networks that a host may have.
const linksAnswer = 1 << 20
