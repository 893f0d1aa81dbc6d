package reconciler

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
	"github.com/evenkeel/evenkeel/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engine is a Docker Engine in memory, as far as a loop needs one to make and heal nodes. What it isn't
// asked for in these tests it doesn't have: a call of it ends the test.
type engine struct {
	Engine
	name   string
	keeper *keeper

	mu        sync.Mutex
	state     fleet.HostState
	specs     map[string]fleet.Container
	hangs     bool
	slow      time.Duration // that an observation takes
	stops     time.Duration // that a stop takes
	removed   []string      // containers; volumes and images with what they are
	resolve   func(ctx context.Context, ref string) (string, error)
	has       map[string]bool // images
	events    chan fleet.Event
	observing chan struct{} // told of each observation that hangs
	files     map[string]map[string]file
	reads     []string // of files
	looks     func(ctx context.Context) error
}

func newEngine(name string) *engine {
	e := &engine{name: name, keeper: newKeeper(name), specs: map[string]fleet.Container{}, has: map[string]bool{"app:1": true}, events: make(chan fleet.Event, 16), observing: make(chan struct{}, 16)}
	e.state = fleet.HostState{
		Name: name, Reachable: true, Engine: fleet.Engine{ID: name, CPUs: 8, Memory: 64 << 30, Arch: "amd64"},
		Networks: []fleet.Network{{Name: fleet.UplinkName("f"), Fleet: "f", Role: fleet.RoleKeeper}},
		Keepers: []fleet.KeeperContainer{{
			ID: "k-" + name, Name: fleet.KeeperName("f"), Version: 1, State: fleet.StateRunning,
			Networks: map[string]netip.Addr{fleet.UplinkName("f"): {}}, RestartPolicy: plan.KeeperRestartPolicy,
		}},
	}
	return e
}

func (e *engine) hung(ctx context.Context) error {
	e.mu.Lock()
	hangs := e.hangs
	e.mu.Unlock()
	if !hangs {
		return nil
	}
	select {
	case e.observing <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return ctx.Err()
}

func (e *engine) Observe(ctx context.Context, _ string) fleet.HostState {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := e.hung(ctx); err != nil {
		return fleet.HostState{Name: e.name, Problem: err.Error()}
	}
	e.mu.Lock()
	slow := e.slow
	e.mu.Unlock()
	time.Sleep(slow)
	e.mu.Lock()
	defer e.mu.Unlock()
	st := e.state
	st.Instances = append([]fleet.Instance(nil), st.Instances...)
	st.Networks = append([]fleet.Network(nil), st.Networks...)
	return st
}

func (e *engine) Events(ctx context.Context, _ string) <-chan fleet.Event {
	return e.events
}
func (e *engine) Close() error { return nil }

// file is one in a container.
type file struct {
	content string
	mode    uint32
	at      time.Time
}

// putFiles puts them into a container. e.mu is held.
func (e *engine) putFiles(id string, files []spec.File) {
	if e.files == nil {
		e.files = map[string]map[string]file{}
	}
	e.files[id] = map[string]file{}
	for _, f := range files {
		e.files[id][f.Path] = file{string(f.Content), f.Mode, fleet.PutAt(time.Now())}
	}
}

// write changes a file in a container behind evenkeel's back.
func (e *engine) write(id, path string, f file) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.files[id][path] = f
}

func (e *engine) StatFile(ctx context.Context, id, path string) (fleet.File, error) {
	e.mu.Lock()
	looks := e.looks
	e.mu.Unlock()
	if looks != nil {
		if err := looks(ctx); err != nil {
			return fleet.File{}, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.ContainsFunc(e.state.Instances, func(in fleet.Instance) bool { return in.ID == id }) {
		return fleet.File{}, fleet.ErrNotFound
	}
	f, ok := e.files[id][path]
	if !ok {
		return fleet.File{Path: path, Missing: true}, nil
	}
	return fleet.File{Path: path, Mode: fs.FileMode(f.mode), Size: int64(len(f.content)), ModTime: f.at}, nil
}

func (e *engine) ReadFile(ctx context.Context, id, path string, _ int64) (fleet.File, []byte, error) {
	f, err := e.StatFile(ctx, id, path)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reads = append(e.reads, id+" "+path)
	return f, []byte(e.files[id][path].content), err
}

func (e *engine) Image(ctx context.Context, ref string) (fleet.ImageInfo, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.has[ref] {
		return fleet.ImageInfo{ID: "sha256:" + strings.Repeat("a", 64)}, nil
	}
	return fleet.ImageInfo{}, fleet.ErrNoImage
}

func (e *engine) Pull(_ context.Context, ref string, _ fleet.Credentials) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.has[ref] = true
	return nil
}

func (e *engine) Resolve(ctx context.Context, ref string, _ fleet.Credentials) (string, error) {
	e.mu.Lock()
	f := e.resolve
	e.mu.Unlock()
	if f == nil {
		return "", fmt.Errorf("no registry: %w", fleet.ErrNoImage)
	}
	return f(ctx, ref)
}

func (e *engine) EnsureNetwork(_ context.Context, n fleet.Network) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.Networks = append(e.state.Networks, n)
	return nil
}

func (e *engine) Connect(_ context.Context, network, container, address string) error {
	at, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(container, "k-") {
		_, err = e.change(container, func(in *fleet.Instance) { in.Network, in.Address = network, at })
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	k := e.state.Keepers[0]
	k.Networks = maps.Clone(k.Networks)
	k.Networks[network] = at
	e.state.Keepers = []fleet.KeeperContainer{k}
	return nil
}

func (e *engine) Disconnect(context.Context, string, string) error { return nil }

func (e *engine) Create(_ context.Context, c fleet.Container) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	id := fmt.Sprintf("%s-%s-%d-g%d", c.Environment, c.Layer, c.Node, c.Generation)
	var g int
	_, _ = fmt.Sscan(c.Labels[fleet.LabelGeneration], &g)
	e.state.Instances = append(e.state.Instances, fleet.Instance{
		NodeID: c.NodeID, Host: e.name, Generation: c.Generation, ID: id, Name: c.Name, State: fleet.StateCreated,
		Written: c.Labels[fleet.LabelWritten], Spec: c.Labels[fleet.LabelSpec], Image: c.Labels[fleet.LabelImage],
		Limits: c.Limits, RestartPolicy: c.Restart, Network: c.Network, Address: c.Address,
		CreatedAt: time.Now(),
	})
	fleet.SortInstances(e.state.Instances)
	e.putFiles(id, c.Files)
	return id, nil
}

func (e *engine) change(id string, f func(*fleet.Instance)) (fleet.Instance, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.state.Instances {
		if in := &e.state.Instances[i]; in.ID == id {
			f(in)
			return *in, nil
		}
	}
	return fleet.Instance{}, fleet.ErrNotFound
}

func (e *engine) Start(_ context.Context, id string) error {
	if strings.HasPrefix(id, "k-") {
		return nil
	}
	_, err := e.change(id, func(in *fleet.Instance) { in.State, in.StartedAt = fleet.StateRunning, time.Now() })
	return err
}

func (e *engine) Stop(_ context.Context, id, _ string, _ time.Duration) error {
	e.mu.Lock()
	stops := e.stops
	e.mu.Unlock()
	time.Sleep(stops)
	_, err := e.change(id, func(in *fleet.Instance) { in.State = fleet.StateExited })
	return err
}

func (e *engine) Inspect(_ context.Context, id string) (fleet.Instance, error) {
	return e.change(id, func(*fleet.Instance) {})
}

func (e *engine) Remove(_ context.Context, id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.removed = append(e.removed, id)
	e.state.Instances = slices.DeleteFunc(e.state.Instances, func(in fleet.Instance) bool { return in.ID == id })
	return nil
}

func (e *engine) RemoveNetwork(_ context.Context, name string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.Networks = slices.DeleteFunc(e.state.Networks, func(n fleet.Network) bool { return n.Name == name })
	return nil
}

func (e *engine) RemoveVolume(_ context.Context, name string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.removed = append(e.removed, "volume "+name)
	return nil
}

func (e *engine) RemoveImage(_ context.Context, id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.removed = append(e.removed, "image "+id)
	return nil
}

// RunHelper finds no open connections.
func (e *engine) RunHelper(context.Context, fleet.Service) (string, error) {
	return `{"connections": 0}` + "\n", nil
}

func (e *engine) Logs(context.Context, string, int) ([]string, error) { return nil, nil }

func (e *engine) Update(context.Context, string, fleet.Limits) error { return nil }

func (e *engine) Exec(context.Context, string, []string) (net.Conn, error) {
	return fakeConn{host: e.name}, nil
}

// fakeConn says which host's keeper it leads to.
type fakeConn struct {
	net.Conn
	host string
}

// kill has an instance exit by itself, and tells of it.
func (e *engine) kill(t *testing.T, id string) {
	_, err := e.change(id, func(in *fleet.Instance) { in.State = fleet.StateExited })
	require.NoError(t, err)
	e.events <- fleet.Event{Host: e.name, Kind: "container", Action: "die", ID: id, Labels: map[string]string{fleet.LabelNode: "1"}}
}

// runs says whether an environment's node runs.
func (e *engine) runs(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, in := range e.state.Instances {
		if in.ID == id {
			return in.State == fleet.StateRunning
		}
	}
	return false
}

func newKeeper(host string) *keeper {
	return &keeper{done: make(chan struct{}), state: fleet.KeeperState{Version: 1, Fleet: "f", Host: host, Mode: fleet.KeeperActive}}
}

// keeper is a keeper in memory.
type keeper struct {
	Keeper
	mu      sync.Mutex
	state   fleet.KeeperState
	done    chan struct{}
	silent  time.Time     // since when it doesn't answer; zero: it does
	stuck   bool          // it takes no zone
	forgets bool          // it takes zones and never says so
	refuses string        // who else has the lease
	broken  error         // why it can't be had
	slow    int           // so often it doesn't answer in time when its lease is asked for
	news    chan struct{} // tells of changes; nil: nothing does
	// judge is what its probes say of a node; nil: that it has long been healthy.
	judge func(n fleet.ZoneNode) (r fleet.ProbeResult, known bool)
}

// heldError is what a keeper refuses the lease with.
type heldError struct{ by string }

func (e heldError) Error() string  { return "held by " + e.by }
func (e heldError) Holder() string { return e.by }

// answer waits for as long as a call to a keeper that doesn't answer takes.
func (k *keeper) answer(ctx context.Context) error {
	k.mu.Lock()
	silent := !k.silent.IsZero()
	k.mu.Unlock()
	if !silent {
		return nil
	}
	return unanswered(ctx)
}

func unanswered(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	<-ctx.Done()
	return fmt.Errorf("%w: %w", fleet.ErrUnreachable, ctx.Err())
}

// sessionSilence is how long a session lasts in which the keeper doesn't answer, and a lease with it.
const sessionSilence = 15 * time.Second

// hush has the keeper not answer from now on.
func (k *keeper) hush() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.silent = time.Now()
	time.AfterFunc(sessionSilence, func() { close(k.done) })
}

func (k *keeper) change(f func(*fleet.KeeperState)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(&k.state)
	return nil
}

func (k *keeper) State(ctx context.Context) (*fleet.KeeperState, error) {
	if err := k.answer(ctx); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.state
	s.Health = nil
	for _, n := range s.Zone.Nodes {
		r, known := fleet.ProbeResult{Healthy: true, For: time.Minute}, true
		if k.judge != nil {
			r, known = k.judge(n)
		}
		if r.Instance = n.Instance; known {
			s.Health = append(s.Health, r)
		}
	}
	return &s, nil
}
func (k *keeper) Acquire(ctx context.Context, _ string) error {
	if err := k.answer(ctx); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refuses != "" {
		return heldError{k.refuses}
	}
	if k.slow > 0 {
		k.slow--
		return fmt.Errorf("%w: no answer in time", fleet.ErrUnreachable)
	}
	return k.broken
}
func (k *keeper) Release(context.Context) error { return nil }
func (k *keeper) LeaseLeft() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.silent.IsZero() {
		return sessionSilence
	}
	return max(0, sessionSilence-time.Since(k.silent))
}
func (k *keeper) Done() <-chan struct{} { return k.done }
func (k *keeper) Close() error          { return nil }
func (k *keeper) SetZone(ctx context.Context, z fleet.Zone) error {
	k.mu.Lock()
	stuck, forgets := k.stuck, k.forgets
	k.mu.Unlock()
	if err := k.answer(ctx); err != nil {
		return err
	}
	if stuck {
		return unanswered(ctx)
	}
	if err := k.change(func(s *fleet.KeeperState) { s.Zone = z }); err != nil || !forgets {
		return err
	}
	return unanswered(ctx)
}
func (k *keeper) SetCopy(_ context.Context, c fleet.Copy) error {
	return k.change(func(s *fleet.KeeperState) { s.Copy = c })
}
func (k *keeper) PutRecord(_ context.Context, key string, v any) error {
	return k.change(func(s *fleet.KeeperState) {
		s.Records = fleet.WithRecord(s.Records, fleet.Record{Key: key, Value: raw(v)})
	})
}
func (k *keeper) DeleteRecord(_ context.Context, key string) error {
	return k.change(func(s *fleet.KeeperState) { s.Records = fleet.WithRecord(s.Records, fleet.Record{Key: key}) })
}
func (k *keeper) Watch(ctx context.Context) <-chan struct{} {
	if k.news == nil {
		return make(chan struct{})
	}
	return k.news
}

func controller(t *testing.T, r *repo, engines ...*engine) *Controller {
	as := map[string]Engine{}
	for _, e := range engines {
		as[e.name] = e
	}
	return controllerOf(t, r, as, engines...)
}

// controllerOf is a controller that is given other engines in the place of those that stand behind them.
func controllerOf(t *testing.T, r *repo, as map[string]Engine, engines ...*engine) *Controller {
	byName := map[string]*engine{}
	for _, e := range engines {
		byName[e.name] = e
	}
	return New(Options{
		Source: r, Holder: "test", KeeperVersion: 1,
		Open: func(h spec.Host) (Engine, error) { return as[h.Name], nil },
		DialKeeper: func(ctx context.Context, dial func(context.Context) (net.Conn, error)) (Keeper, error) {
			c, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			k := byName[c.(fakeConn).host].keeper
			return k, k.answer(ctx)
		},
		Report: func(p rollout.Progress) {
			t.Logf("%s %s %d %s %s %s", p.Environment, p.Operation, p.Node, p.Phase, p.Error, p.Message)
		},
		Notice: func(n Notice) { t.Logf("%s: %s", n.Host, n.Message) },
	})
}
