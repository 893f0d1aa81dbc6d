package hosts

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// startTimeout is for a whole lab on a busy machine; three hosts take two
	// to three seconds on an idle one.
	startTimeout = 2 * time.Minute
	// closeTimeout bounds a teardown; it takes less than a second.
	closeTimeout = time.Minute
	// maxHosts keeps the last byte of a host's address below 255.
	maxHosts = 200
)

// Lab is a number of Docker hosts on a network of their own. Its methods may
// be called by several goroutines at once.
type Lab struct {
	site   site
	config config
	lock   *os.File // nil: opened by another process than the one that started it
	watch  *watcher // nil: detached or opened

	mu     sync.Mutex
	hosts  []*Host
	closed bool
}

// config is what the options say, kept on the lab's disk for [Open].
type config struct {
	EngineArgs    []string `json:"engineArgs,omitempty"`
	UserlandProxy bool     `json:"userlandProxy"`
	Owner         int      `json:"owner"`
}

// Option changes how a lab is made.
type Option func(*config)

// WithEngineArgs adds arguments to the dockerd of every host, such as
// "--live-restore". Where an argument repeats one of the lab's own, dockerd
// takes the later, which is this one.
func WithEngineArgs(args ...string) Option {
	return func(c *config) { c.EngineArgs = append(c.EngineArgs, args...) }
}

// WithUserlandProxy leaves the engines' userland proxy on, which is dockerd's
// own default but costs a process for each published port.
func WithUserlandProxy() Option {
	return func(c *config) { c.UserlandProxy = true }
}

// TB is the part of testing.TB that Start uses.
type TB interface {
	Helper()
	Context() context.Context
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Start is New for a single test: the lab is closed when the test ends.
func Start(t TB, n int, opts ...Option) *Lab {
	t.Helper()
	lab, err := New(t.Context(), n, opts...)
	if err != nil {
		t.Fatalf("starting %d Docker hosts: %v", n, err)
		return nil
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Errorf("closing the lab: %v", err)
		}
	})
	return lab
}

// New starts a lab of n hosts and returns when all their engines answer. It
// first removes labs whose owners died. On an error nothing is left behind.
func New(ctx context.Context, n int, opts ...Option) (*Lab, error) {
	if n < 1 || n > maxHosts {
		return nil, fmt.Errorf("a lab has 1 to %d hosts, not %d", maxHosts, n)
	}
	if err := checkMachine(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := removeStale(ctx); err != nil {
		return nil, err
	}
	site, lock, err := claimSite(ctx)
	if err != nil {
		return nil, err
	}
	lab := &Lab{site: site, lock: lock, config: config{Owner: os.Getpid()}}
	for _, opt := range opts {
		opt(&lab.config)
	}
	if err := lab.start(ctx, n); err != nil {
		return nil, errors.Join(err, lab.Close())
	}
	return lab, nil
}

// start has the watcher running before there is anything to be left behind.
func (l *Lab) start(ctx context.Context, n int) error {
	var err error
	if l.watch, err = startWatcher(l.site, l.lock); err != nil {
		return err
	}
	if err := l.site.create(ctx, l.config); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for i := 1; i <= n; i++ {
		h := newHost(l, i)
		l.hosts = append(l.hosts, h)
		group.Go(func() error { return h.PowerOn(ctx) })
	}
	return group.Wait()
}

// Open returns a running lab that another process started, so that a command
// line can work on it. It does not become its owner.
func Open(id int) (*Lab, error) {
	site := site(id)
	c, err := site.readConfig()
	if err != nil {
		return nil, fmt.Errorf("opening lab %d: %w", id, err)
	}
	lab := &Lab{site: site, config: c}
	indexes, err := site.hostIndexes()
	if err != nil {
		return nil, fmt.Errorf("opening lab %d: %w", id, err)
	}
	for _, i := range indexes {
		lab.hosts = append(lab.hosts, newHost(lab, i))
	}
	return lab, nil
}

// Add powers one more host on and returns when its engine answers.
func (l *Lab) Add(ctx context.Context) (*Host, error) {
	l.mu.Lock()
	h := newHost(l, len(l.hosts)+1)
	if h.index > maxHosts {
		l.mu.Unlock()
		return nil, fmt.Errorf("lab %d is full: it has %d hosts", l.site, maxHosts)
	}
	l.hosts = append(l.hosts, h)
	l.mu.Unlock()
	return h, h.PowerOn(ctx)
}

// ID tells this machine's labs apart: 0 to 250.
func (l *Lab) ID() int { return int(l.site) }

// Owner returns the process that started the lab.
func (l *Lab) Owner() int { return l.config.Owner }

// Hosts returns all hosts, h1 first.
func (l *Lab) Hosts() []*Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.hosts)
}

// Host returns a host by its number, from 1. It panics when there is none,
// which is a mistake in the test.
func (l *Lab) Host(i int) *Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i < 1 || i > len(l.hosts) {
		panic(fmt.Sprintf("lab %d has hosts 1 to %d, no %d", l.site, len(l.hosts), i))
	}
	return l.hosts[i-1]
}

// Manager returns this process's own address on the fabric, by which the
// hosts and their containers reach it.
func (l *Lab) Manager() netip.Addr { return l.site.manager() }

// Network returns the fabric's subnet.
func (l *Lab) Network() netip.Prefix { return l.site.network() }

// Dir returns where the hosts' disks are. It is gone after Close.
func (l *Lab) Dir() string { return l.site.dir() }

// Detach gives the lab up without ending it: it stays after this process
// until some process calls Open and Close on it.
func (l *Lab) Detach() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lock == nil || l.closed {
		return fmt.Errorf("lab %d is not owned by this process", l.site)
	}
	if err := os.WriteFile(filepath.Join(l.site.dir(), detachedFile), nil, 0o644); err != nil {
		return fmt.Errorf("detaching lab %d: %w", l.site, err)
	}
	l.closed = true
	return errors.Join(l.watch.dismiss(), l.lock.Close())
}

// Detached reports whether the lab lives on without an owner.
func (l *Lab) Detached() bool { return l.site.detached() }

// Close ends the lab and removes all of it. A second call does nothing. On a
// lab from Open it is refused while its owner lives.
func (l *Lab) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	if l.lock == nil {
		lock, err := l.site.tryLock()
		if err != nil {
			return err
		}
		if lock == nil {
			return fmt.Errorf("lab %d belongs to process %d, which is alive: end that first", l.site, l.config.Owner)
		}
		l.lock = lock
	}
	l.closed = true
	// Not the caller's context: what is started must end even when that is over.
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var errs []error
	errs = append(errs, l.site.remove(ctx))
	for _, h := range l.hosts {
		h.reap()
	}
	if l.watch != nil {
		errs = append(errs, l.watch.dismiss())
	}
	errs = append(errs, l.site.unlock(l.lock))
	return errors.Join(errs...)
}
