package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/keeper/lease"
	"github.com/evenkeel/evenkeel/keeper/names"
	"github.com/evenkeel/evenkeel/keeper/probe"
	"github.com/evenkeel/evenkeel/keeper/store"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// host is one keeper: what it keeps, what it serves, and to whom the host is leased. One lock orders all
// changes, so that a call is checked against the lease that is in force while it is carried out.
type host struct {
	options Options
	log     *slog.Logger
	names   *names.Server
	prober  *probe.Prober

	mu    sync.Mutex
	store *store.Store
	lease *lease.Lease
	lock  *store.Lock // nil: another keeper writes
	mode  fleet.KeeperMode
}

// modeError refuses what only an active keeper does.
type modeError struct{ mode fleet.KeeperMode }

func (e *modeError) Error() string {
	if e.mode == fleet.KeeperRetired {
		return "this keeper is retired: ask its successor"
	}
	return "this keeper is on standby: its predecessor isn't retired yet"
}

// open reads the volume, serves what is there, and becomes active if nobody else is.
func open(o Options, n *names.Server, p *probe.Prober) (*host, error) {
	h := &host{options: o, log: o.Log, names: n, prober: p, mode: fleet.KeeperStandby}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.read(); err != nil {
		return nil, err
	}
	if err := h.takeOver(); err != nil && !errors.Is(err, store.ErrLocked) {
		return nil, err
	}
	return h, nil
}

// read reads the volume and puts what is there in effect.
func (h *host) read() error {
	s, err := store.Open(h.options.Dir)
	if err != nil {
		return err
	}
	for _, p := range s.Problems() {
		h.log.Error("the keeper's volume is damaged", "problem", p)
	}
	h.store, h.lease = s, lease.New(s.Grant(), time.Now())
	h.serve()
	return nil
}

// takeOver makes the keeper active if nobody else is; what the other wrote meanwhile is read again.
func (h *host) takeOver() error {
	if h.mode == fleet.KeeperActive {
		return nil
	}
	l, err := store.TryLock(h.options.Dir)
	if err != nil {
		return err
	}
	if err := h.read(); err != nil {
		l.Release()
		return err
	}
	h.lock, h.mode = l, fleet.KeeperActive
	h.log.Info("active", "version", Version, "serial", h.store.Zone().Serial)
	return nil
}

// serve puts the zone that is kept in effect, for probes and lookups.
func (h *host) serve() {
	zone := h.store.Zone()
	if zone.Serial == 0 {
		return
	}
	var environments []string
	for _, e := range h.store.Copy().Environments {
		environments = append(environments, strings.ToLower(e.Name))
	}
	h.prober.Set(Targets(&zone.Zone))
	h.names.Serve(names.Compile(&zone.Zone, zone.Serial, environments, h.prober.Healthy), zone.Zone.Networks)
}

// standBy waits for the predecessor to leave.
func (h *host) standBy(ctx context.Context) {
	for ctx.Err() == nil {
		h.mu.Lock()
		if h.mode == fleet.KeeperStandby {
			if err := h.takeOver(); err != nil && !errors.Is(err, store.ErrLocked) {
				h.log.Error("can't take the volume over", "error", err)
			}
		}
		mode := h.mode
		h.mu.Unlock()
		if mode != fleet.KeeperStandby {
			return
		}
		wait(ctx, StandbyPoll)
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// acquire grants the lease, or says who has it.
func (h *host) acquire(holder, client string, s *session) (uint64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mode != fleet.KeeperActive {
		if err := h.takeOver(); err != nil {
			if errors.Is(err, store.ErrLocked) {
				err = &modeError{h.mode}
			}
			return 0, err
		}
	}
	if s.over {
		return 0, errors.New("the session is over")
	}
	g, fresh, err := h.lease.Prepare(holder, client, s.id, time.Now())
	if err != nil || !fresh {
		return g.Token, err
	}
	if err := h.store.SetGrant(g); err != nil {
		return 0, err
	}
	h.lease.Commit(g, s.id, time.Now())
	h.log.Info("lease granted", "holder", holder, "token", g.Token)
	return g.Token, nil
}

// change carries out what needs the lease.
func (h *host) change(token uint64, s *session, do func() error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mode != fleet.KeeperActive {
		return &modeError{h.mode}
	}
	if err := h.lease.Check(token, s.id, time.Now()); err != nil {
		return err
	}
	return do()
}

// setZone keeps a zone and puts it in effect before it returns.
func (h *host) setZone(z *fleet.Zone) (uint64, error) {
	if err := CheckZone(z); err != nil {
		return 0, err
	}
	if f := h.options.Fleet; f != "" && z.Fleet != f {
		return 0, invalid("the zone is of fleet %q, this keeper is of %q", z.Fleet, f)
	}
	serial, changed, err := h.store.SetZone(*z)
	if err == nil && changed {
		h.serve()
	}
	return serial, err
}

func (h *host) setCopy(c *fleet.Copy) error {
	before := h.store.Copy().Serial
	if err := h.store.SetCopy(*c); err != nil {
		return err
	}
	if h.store.Copy().Serial != before {
		h.serve() // it knows of environments that aren't on this host
	}
	return nil
}

func (h *host) release() error {
	if err := h.store.SetGrant(h.lease.Release()); err != nil {
		return fmt.Errorf("the lease is given back, but not on disk: %w", err)
	}
	return nil
}

// retire gives back the lease and leaves the volume to the successor.
func (h *host) retire() error {
	if err := h.release(); err != nil {
		return err
	}
	h.lock.Release()
	h.lock, h.mode = nil, fleet.KeeperRetired
	h.log.Info("retired")
	return nil
}

// endSession starts the grace of a lease that was held over the session. None is granted over it any more.
func (h *host) endSession(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.over = true
	h.lease.EndSession(s.id, time.Now())
}

func (h *host) hello() Hello {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := Hello{Product: product, Version: Version, Mode: h.mode}
	r.Fleet, r.Host = h.name()
	if l := h.lease.State(time.Now()); l != nil && h.mode == fleet.KeeperActive {
		r.Token = l.Token
	}
	return r
}

// name is the fleet's and the host's, as given at the start, else as in the zone.
func (h *host) name() (string, string) {
	f, n := h.options.Fleet, h.options.Host
	zone := h.store.Zone().Zone
	if f == "" {
		f = zone.Fleet
	}
	if n == "" {
		n = zone.Host
	}
	return f, n
}

func (h *host) serial() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.store.Zone().Serial
}

func (h *host) state() fleet.KeeperState {
	h.mu.Lock()
	defer h.mu.Unlock()
	zone := h.store.Zone()
	s := fleet.KeeperState{
		Version: Version, Serial: zone.Serial, Zone: zone.Zone, Health: h.prober.Results(),
		Records: h.store.Records(), Copy: h.store.Copy(), Unbound: h.names.Unbound(),
		Mode: h.mode, Problems: h.store.Problems(),
	}
	s.Fleet, s.Host = h.name()
	if h.mode == fleet.KeeperActive {
		s.Lease = h.lease.State(time.Now())
	}
	return s
}
