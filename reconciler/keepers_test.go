package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/drift"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// A keeper that is removed while it is asked in vain isn't waited for any longer.
func TestAKeeperThatGoesMeanwhileIsNotAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1 := newRepo("h1"), newEngine("h1")
		c := controller(t, r, h1)
		defer func() { require.NoError(t, c.Close()) }()
		_, err := c.Fetch(t.Context())
		require.NoError(t, err)
		h1.keeper.hush()
		begun := time.Now()
		time.AfterFunc(3*time.Second, func() {
			h1.mu.Lock()
			defer h1.mu.Unlock()
			h1.state.Keepers = nil
		})
		require.ErrorIs(t, c.awaitKeeper(t.Context(), c.host("h1")), errKeeperGone)
		require.Less(t, time.Since(begun), 6*time.Second)
	})
}

// twoKeepers is an engine with two keepers, as there are while one takes the other's place.
type twoKeepers struct {
	*engine
	modes map[string]fleet.KeeperMode // by container; none: it doesn't answer
}

func (e twoKeepers) Exec(_ context.Context, container string, _ []string) (net.Conn, error) {
	return fakeConn{host: container}, nil
}

func (e twoKeepers) dial(ctx context.Context, dial func(context.Context) (net.Conn, error)) (Keeper, error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	container := conn.(fakeConn).host
	mode, ok := e.modes[container]
	if !ok {
		return nil, errors.New(container + " is silent")
	}
	k := newKeeper(container)
	k.state.Mode = mode
	return k, nil
}

// Of two keepers it is the active one that is spoken to: the other grants no lease, and nothing would go on.
func TestOfTwoKeepersTheActiveOneIsSpokenTo(t *testing.T) {
	const active, standby, retired = fleet.KeeperActive, fleet.KeeperStandby, fleet.KeeperRetired
	const running, exited = fleet.StateRunning, fleet.StateExited
	tests := []struct {
		name      string
		modes     map[string]fleet.KeeperMode
		old, next fleet.State
		with      string
		problem   string
	}{
		{"before the old one is retired", map[string]fleet.KeeperMode{"old": active, "next": standby}, running, running, "old", ""},
		{"after it was retired", map[string]fleet.KeeperMode{"old": retired, "next": active}, running, running, "next", ""},
		{"both were started again, the new one first", map[string]fleet.KeeperMode{"old": standby, "next": active}, running, running, "next", ""},
		{"neither is active yet", map[string]fleet.KeeperMode{"old": retired, "next": standby}, running, running, "old", ""},
		{"the old one is silent", map[string]fleet.KeeperMode{"next": active}, running, running, "next", ""},
		{"the old one is silent, and holds the lease for all that is known", map[string]fleet.KeeperMode{"next": standby}, running, running, "", "the keeper on h1 doesn't answer: old is silent"},
		{"the new one is silent", map[string]fleet.KeeperMode{"old": active}, running, running, "old", ""},
		{"both are silent", nil, running, running, "", "the keeper on h1 doesn't answer: next is silent\nold is silent"},
		{"only the new one runs", map[string]fleet.KeeperMode{"old": active, "next": standby}, exited, running, "next", ""},
		{"none runs", map[string]fleet.KeeperMode{"old": active, "next": standby}, exited, exited, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := twoKeepers{newEngine("h1"), test.modes}
			c := controller(t, newRepo("h1"), e.engine)
			defer func() { require.NoError(t, c.Close()) }()
			_, err := c.Fetch(t.Context())
			require.NoError(t, err)
			c.opts.DialKeeper = e.dial
			h := c.host("h1")
			h.engine = e
			k := h.dial(t.Context(), c, []fleet.KeeperContainer{
				{ID: "next", Name: fleet.SuccessorName(fleet.KeeperName("f")), State: test.next}, {ID: "old", Name: fleet.KeeperName("f"), State: test.old},
			})
			require.Equal(t, test.with != "", k != nil)
			require.Equal(t, test.with, h.with)
			require.Equal(t, test.problem, h.problem())
		})
	}
}

// What is done to a host's nodes while its keeper is being replaced would have no session with either.
func TestNodesWaitForTheirKeeperToBeReplaced(t *testing.T) {
	r := newRepo("h1")
	r.write("shop.yaml", environment("shop", "app:1", "h1"))
	c := controller(t, r, newEngine("h1"))
	defer func() { require.NoError(t, c.Close()) }()
	_, err := c.Fetch(t.Context())
	require.NoError(t, err)
	c.opts.KeeperVersion = 2
	c.leading.Store(true)
	c.observeAll(t.Context())
	require.NoError(t, c.lease(t.Context(), c.host("h1")))
	const waits = "the keeper on h1 is being replaced by a newer one"
	replace := plan.HostOperation{Host: "h1", Operation: "replace", What: "keeper", Name: fleet.KeeperName("f")}
	held := func(want bool, when string) {
		t.Helper()
		p := c.computeWhole(t.Context())
		require.Contains(t, p.Hosts, replace)
		require.Len(t, p.Layers, 1)
		require.Equal(t, want, len(p.Layers[0].Operations) == 0, when)
		if want {
			require.Equal(t, waits, p.Layers[0].Waiting[0].Reason)
		}
	}
	held(true, "it is about to be replaced")
	require.True(t, c.takeChore(choreKey(replace), 99))
	held(true, "it is being replaced")
	c.endChore(choreKey(replace), errors.New("no room"))
	held(false, "that failed, and is tried again in a while: nodes don't wait for it")
	require.Empty(t, c.whyNot("h1"))
}

// lame is an engine that can't start the keeper that it has.
type lame struct{ *engine }

func (e lame) Start(_ context.Context, id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	k := &e.state.Keepers[0]
	if k.ID == "k-h1" {
		return errors.New("task k-h1: already exists")
	}
	k.State = fleet.StateRunning
	return nil
}

func (e lame) Remove(_ context.Context, id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.Keepers, e.removed = nil, append(e.removed, id)
	return nil
}

func (e lame) CreateService(_ context.Context, v fleet.Service) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.Keepers = []fleet.KeeperContainer{{ID: "new", Name: v.Name, Version: 1, State: fleet.StateCreated, RestartPolicy: v.Restart}}
	return "new", nil
}

func (e lame) EnsureNetwork(context.Context, fleet.Network) error { return nil }

// noImage is one that every host has.
type noImage struct{ KeeperImage }

func (noImage) Tag() string  { return "app:1" }
func (noImage) Close() error { return nil }

func TestAKeeperThatCannotBeStartedIsMadeAnew(t *testing.T) {
	e := lame{newEngine("h1")}
	e.state.Keepers[0].State = fleet.StateExited
	c := controller(t, newRepo("h1"), e.engine)
	defer func() { require.NoError(t, c.Close()) }()
	_, err := c.Fetch(t.Context())
	require.NoError(t, err)
	c.opts.KeeperImage = func(string) (KeeperImage, error) { return noImage{}, nil }
	h := c.host("h1")
	h.engine = e
	c.observeHost(t.Context(), h)
	require.NoError(t, c.ensureKeeper(t.Context(), h))
	require.Equal(t, []string{"k-h1"}, e.removed)
	require.Equal(t, "new", h.snapshot().Keepers[0].ID)
	require.NotNil(t, h.keeper())
}

// late is an engine that says that its keeper runs for some readings after that was stopped.
type late struct {
	*engine
	stopped bool
	stale   int // readings
}

func (e *late) Observe(ctx context.Context, fleetName string) fleet.HostState {
	st := e.engine.Observe(ctx, fleetName)
	st.Keepers = slices.Clone(st.Keepers)
	if e.stopped && e.stale <= 0 {
		st.Keepers[0].State = fleet.StateExited
	}
	e.stale--
	return st
}

func (e *late) Start(context.Context, string) error {
	e.stopped = false
	return nil
}

func (e *late) dial(context.Context, func(context.Context) (net.Conn, error)) (Keeper, error) {
	if e.stopped {
		return nil, errors.New("its process has ended")
	}
	return newKeeper("h1"), nil
}

// A keeper that was stopped is told of, also where it is started again before a pass has seen it so, and where the
// session ends before the engine says why.
func TestAKeeperThatWasStoppedIsToldOfBeforeItIsStarted(t *testing.T) {
	for stale := range 4 {
		synctest.Test(t, func(t *testing.T) {
			e := &late{engine: newEngine("h1")}
			c := controller(t, newRepo("h1"), e.engine)
			defer func() { require.NoError(t, c.Close()) }()
			c.opts.DialKeeper = e.dial
			_, err := c.Fetch(t.Context())
			require.NoError(t, err)
			h := c.host("h1")
			h.engine, c.drifting = e, &drifting{}
			c.observeHost(t.Context(), h)
			require.NoError(t, c.ownHost(t.Context(), h))
			h.session, e.stopped, e.stale = nil, true, stale
			c.observeHost(t.Context(), h)
			require.NoError(t, c.ensureKeeper(t.Context(), h))
			require.False(t, e.stopped)
			found := c.CurrentDrift().Drift
			require.Len(t, found, 1, "stale %d", stale)
			require.Equal(t, []string{drift.Keeper, "state", "running", "exited"}, []string{found[0].What, found[0].Field, found[0].Wanted, found[0].Found})
		})
	}
}

// pruned is an engine on which somebody else removes what nothing is made of, a few times.
type pruned struct {
	lame
	times, loaded int
}

func (e *pruned) Image(context.Context, string) (fleet.ImageInfo, error) {
	return fleet.ImageInfo{}, fleet.ErrNoImage
}

func (e *pruned) LoadImage(context.Context, io.Reader) error {
	e.loaded++
	return nil
}

func (e *pruned) CreateService(ctx context.Context, v fleet.Service) (string, error) {
	if e.times--; e.times >= 0 {
		return "", fmt.Errorf("no such image: %w", fleet.ErrNoImage)
	}
	return e.lame.CreateService(ctx, v)
}

// anImage is one that is to be loaded.
type anImage struct{ noImage }

func (anImage) Tar() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Evenkeel's own image may go between being loaded and being used: another fleet on the host was uninstalled.
func TestAnImageThatGoesMeanwhileIsLoadedAgain(t *testing.T) {
	for times, want := range map[int]int{0: 1, 2: 3} {
		e := &pruned{lame: lame{newEngine("h1")}, times: times}
		c := controller(t, newRepo("h1"), e.engine)
		c.opts.Open = func(spec.Host) (Engine, error) { return e, nil }
		c.opts.KeeperImage = func(string) (KeeperImage, error) { return anImage{}, nil }
		_, err := c.Fetch(t.Context())
		require.NoError(t, err)
		id, err := c.keeperContainer(t.Context(), c.host("h1"), "keeper")
		require.NoError(t, err)
		require.Equal(t, "new", id)
		require.Equal(t, want, e.loaded)
		require.NoError(t, c.Close())
	}
}

// offline is an engine that can't be reached for some seconds of its life.
type offline struct {
	*engine
	from, until time.Time
}

func (e *offline) Observe(ctx context.Context, fleetName string) fleet.HostState {
	if now := time.Now(); now.After(e.from) && now.Before(e.until) {
		return fleet.HostState{Name: e.state.Name, Problem: "dial: timeout"}
	}
	return e.engine.Observe(ctx, fleetName)
}

// A keeper isn't made anew for not having answered while its host could not be reached.
func TestAKeeperWhoseHostWasAwayIsLeft(t *testing.T) {
	for name, away := range map[string]time.Duration{"meanwhile": 8 * time.Second, "in the end": 15*time.Second - keeperPoll/2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, h1 := newRepo("h1"), newEngine("h1")
				c := controller(t, r, h1)
				defer func() { require.NoError(t, c.Close()) }()
				_, err := c.Fetch(t.Context())
				require.NoError(t, err)
				h1.keeper.hush()
				h := c.host("h1")
				c.observeHost(t.Context(), h)
				from := time.Now().Add(away)
				h.engine = &offline{h1, from, from.Add(5 * time.Second)}
				require.ErrorIs(t, c.ensureKeeper(t.Context(), h), fleet.ErrUnreachable)
				require.Empty(t, h1.removed)
			})
		})
	}
}
