package sim

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	realkeeper "github.com/evenkeel/evenkeel/keeper"
	"github.com/evenkeel/evenkeel/keeper/lease"
	"github.com/evenkeel/evenkeel/keeper/probe"
	"github.com/evenkeel/evenkeel/keeper/store"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// disk is what a keeper keeps on its volume.
type disk struct {
	grant   lease.Grant
	zone    fleet.Zone
	serial  uint64
	records []fleet.Record
	copied  fleet.Copy
	writer  *keeper // the active one
}

// keeper is one life of a host's keeper. The world's lock guards it, but for its prober.
type keeper struct {
	c        *container
	w        *World
	began    time.Time
	volume   *disk
	disk     *disk // what it knows: all that is on the volume while it is active, else what was when it last looked
	mode     fleet.KeeperMode
	lease    *lease.Lease
	prober   *probe.Prober
	cancel   context.CancelFunc
	stopped  bool
	sessions map[*session]bool
	last     uint64 // session
}

// startKeeper starts the process of a keeper's container. The lock is held.
func startKeeper(c *container) *keeper {
	h := c.host
	v := h.volumes[fleet.KeeperVolume(FleetName)]
	if v == nil {
		v = &volume{}
		h.volumes[fleet.KeeperVolume(FleetName)] = v
	}
	if v.disk == nil {
		v.disk = &disk{}
	}
	k := &keeper{c: c, w: h.w, began: time.Now(), volume: v.disk, mode: fleet.KeeperStandby, sessions: map[*session]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	k.prober = probe.New(ctx, k.ask)
	if !k.takeOver() {
		k.look()
		k.serve()
		h.w.task(func() { k.standBy(ctx) })
	}
	h.w.task(k.prober.Close)
	h.w.task(func() { k.follow(ctx) })
	return k
}

// takeOver makes the keeper active if no other is. The lock is held.
func (k *keeper) takeOver() bool {
	if k.volume.writer != nil {
		return false
	}
	k.volume.writer, k.disk, k.mode = k, k.volume, fleet.KeeperActive
	k.lease = lease.New(k.disk.grant, time.Now())
	k.serve()
	return true
}

// look has the keeper know what is on the volume now, and not what another will write. The lock is held.
func (k *keeper) look() {
	now := *k.volume
	k.disk = &now
}

// standBy waits for the predecessor to leave.
func (k *keeper) standBy(ctx context.Context) {
	for k.w.sleep(ctx, realkeeper.StandbyPoll) == nil {
		k.w.mu.Lock()
		over := k.stopped || k.mode != fleet.KeeperStandby || k.takeOver()
		k.w.mu.Unlock()
		if over {
			return
		}
	}
}

// acquire grants the lease, or says why not. The lock is held.
func (k *keeper) acquire(holder, client string, session uint64) (token uint64, err error) {
	if k.mode != fleet.KeeperActive && !k.takeOver() {
		return 0, modeError(k.mode)
	}
	g, fresh, err := k.lease.Prepare(holder, client, session, time.Now())
	if err != nil || !fresh {
		return g.Token, err
	}
	k.disk.grant = g
	k.lease.Commit(g, session, time.Now())
	return g.Token, nil
}

// check refuses what isn't asked for under the lease. The lock is held.
func (k *keeper) check(token, session uint64) error {
	if k.mode != fleet.KeeperActive {
		return modeError(k.mode)
	}
	return k.lease.Check(token, session, time.Now())
}

// held is the lease that is in force; nil: none. The lock is held.
func (k *keeper) held() *fleet.Lease {
	if k.mode != fleet.KeeperActive {
		return nil
	}
	return k.lease.State(time.Now())
}

func (k *keeper) release() { k.disk.grant = k.lease.Release() }

// retire leaves the volume to the successor. The lock is held.
func (k *keeper) retire() {
	k.release()
	k.look()
	k.leave()
	k.mode = fleet.KeeperRetired
}

func (k *keeper) leave() {
	if k.volume.writer == k {
		k.volume.writer = nil
	}
}

// modeError refuses what only an active keeper does.
type modeError fleet.KeeperMode

func (e modeError) Error() string { return "the keeper is " + string(e) }

func (e modeError) Is(target error) bool { return target == fleet.ErrFenced }

// stop is the end of the process. The lock is held.
func (k *keeper) stop() {
	k.stopped = true
	k.cancel()
	k.leave()
	for s := range k.sessions {
		s.close()
	}
}

func (h *Host) stopKeepers() {
	for _, c := range h.containers {
		if c.keeper != nil {
			c.keeper.stop()
			c.keeper = nil
		}
	}
}

// serving is the keeper that answers on the host now, or nil. The lock is held.
func (h *Host) serving() *keeper {
	for _, c := range h.containers {
		if c.keeper != nil && c.state == fleet.StateRunning {
			return c.keeper
		}
	}
	return nil
}

// ask is one probe of a node.
func (k *keeper) ask(ctx context.Context, t *probe.Target, p *fleet.Probe) error {
	k.w.mu.Lock()
	defer k.w.mu.Unlock()
	attached := false
	for _, e := range k.c.networks {
		attached = attached || e.address == t.Source
	}
	if !attached {
		return probe.ErrUnattached
	}
	for _, c := range k.c.host.containers {
		if !c.running() || !slices.Contains(c.addresses(), t.Address) {
			continue
		}
		k.w.detail("%s is asked", c.name)
		if c.deaf {
			defer k.w.detail("%s was asked in vain", c.name)
			return c.unanswered(ctx)
		}
		if c.ready() {
			return nil
		}
		return fmt.Errorf("port %d: connection refused", p.Port)
	}
	return fmt.Errorf("port %d: no route to host", p.Port)
}

func (c *container) addresses() []netip.Addr {
	list := make([]netip.Addr, 0, len(c.networks))
	for _, e := range c.networks {
		list = append(list, e.address)
	}
	return list
}

// serve puts the zone that is kept in effect. The lock is held.
func (k *keeper) serve() {
	if k.disk.serial > 0 {
		k.prober.Set(realkeeper.Targets(&k.disk.zone))
	}
}

// follow tells of each change in what the probes say.
func (k *keeper) follow(ctx context.Context) {
	var seen uint64
	for {
		results, seq, changed := k.prober.Since(seen)
		seen = seq
		if len(results) > 0 {
			k.w.mu.Lock()
			for _, r := range results {
				k.w.detail("%s is found healthy: %t", r.Instance, r.Healthy)
			}
			for s := range k.sessions {
				s.hint()
			}
			k.w.rules.look(byProbe)
			k.w.mu.Unlock()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// answers are the addresses that the layer's name is answered with on its environment's network; kept: none of them
// is to be found, and they are answered since there is no other. The lock is held.
//
//	to be found, healthy   to be found   current   answered with
//	some                   -             -         those healthy
//	none                   some          -         those to be found
//	none                   none          some      all
func (k *keeper) answers(l fleet.LayerID) (answers []netip.Addr, kept bool) {
	var healthy, found, all []netip.Addr
	for i := range k.disk.zone.Nodes {
		n := &k.disk.zone.Nodes[i]
		if n.LayerID() != l || n.Candidate {
			continue
		}
		all = append(all, n.Address)
		if n.Out == "" {
			found = append(found, n.Address)
			if k.prober.Healthy(n.Instance).Load() {
				healthy = append(healthy, n.Address)
			}
		}
	}
	switch {
	case len(healthy) > 0:
		return healthy, false
	case len(found) > 0:
		return found, false
	}
	return all, true
}

// has says whether a container is its node as the keeper was told, and to be found; kept: it was withdrawn, which
// makes no difference where it is answered with for want of another. The lock is held.
func (k *keeper) has(c *container) (has, kept bool) {
	for i := range k.disk.zone.Nodes {
		n := &k.disk.zone.Nodes[i]
		if n.Instance == c.id && !n.Candidate {
			return n.Out == "", strings.HasPrefix(n.Out, "withdrawn")
		}
	}
	return false, false
}

// setZone keeps a zone and puts it in effect. The lock is held.
func (k *keeper) setZone(z fleet.Zone) error {
	if err := realkeeper.CheckZone(&z); err != nil {
		return err
	}
	if z.Fleet != FleetName {
		return fmt.Errorf("the zone is of fleet %q, this keeper is of %q", z.Fleet, FleetName)
	}
	if k.disk.serial > 0 && reflect.DeepEqual(k.disk.zone, z) {
		return nil
	}
	before := k.disk.zone
	k.disk.zone = z
	k.disk.serial++
	k.w.note("%s: zone %d: %s", k.c.host.name, k.disk.serial, zoneText(&z))
	k.serve()
	k.w.rules.zoned(k, &before, &z)
	return nil
}

// setCopy keeps a copy, unless it is older than the one that is kept. The lock is held.
func (k *keeper) setCopy(c fleet.Copy) error {
	if c.Serial < k.disk.copied.Serial {
		return fmt.Errorf("copy %d: %w: copy %d is kept", c.Serial, fleet.ErrConflict, k.disk.copied.Serial)
	}
	k.disk.copied = c
	return nil
}

// setRecord keeps a record. The lock is held.
func (k *keeper) setRecord(r fleet.Record) error {
	r, err := store.CheckRecord(r)
	if err != nil {
		return err
	}
	k.disk.records = fleet.WithRecord(k.disk.records, r)
	k.w.note("%s: %s = %s", k.c.host.name, r.Key, r.Value)
	return nil
}

func zoneText(z *fleet.Zone) string {
	text := ""
	for i := range z.Nodes {
		n := &z.Nodes[i]
		text += fmt.Sprintf(" %s(g%d", n.NodeID, n.Generation)
		if n.Candidate {
			text += " candidate"
		}
		if n.Out != "" {
			text += " " + n.Out
		}
		text += ")"
	}
	return text
}

// state is what a keeper says of itself. The lock is held.
func (k *keeper) state() *fleet.KeeperState {
	s := &fleet.KeeperState{
		Version: 1, Fleet: FleetName, Host: k.c.host.name, Serial: k.disk.serial, Zone: k.disk.zone, Health: k.prober.Results(),
		Records: k.disk.records, Copy: k.disk.copied, Mode: k.mode, Lease: k.held(),
	}
	return s
}
