package sim

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing/fstest"
	"time"

	"github.com/distribution/reference"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// Repo is a repository.
type Repo struct {
	w *World

	mu      sync.Mutex
	commits []commit // r1, r2, …
	n       int      // the newest revision is rn
	down    bool
	hung    chan struct{}    // closed while it answers
	resume  func()           // closes it; nil: it answers
	fetched map[*Process]int // what each process fetched last
	hints   []chan struct{}
}

// commit is a revision, and upon which one it was made.
type commit struct {
	upon  int
	files map[string]string
}

func newRepo(w *World) *Repo {
	r := &Repo{w: w, hung: make(chan struct{}), fetched: map[*Process]int{}}
	close(r.hung)
	return r
}

// Commit makes a revision of these files and tells who watches.
func (r *Repo) Commit(files map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commits = append(r.commits, commit{r.n, files})
	r.n = len(r.commits)
	r.hint()
}

// Reset makes an earlier revision the newest again, as a force push does.
func (r *Repo) Reset(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, err := strconv.Atoi(strings.TrimPrefix(id, "r"))
	if err != nil || n < 1 || n > len(r.commits) {
		panic("there is no revision " + id)
	}
	r.n = n
	r.hint()
}

func (r *Repo) hint() {
	for _, c := range r.hints {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// contains says whether a revision is another, or made upon it.
func (r *Repo) contains(n, other int) bool {
	for n > other {
		n = r.commits[n-1].upon
	}
	return n == other
}

// Hang has the repository not answer until Resume is called.
func (r *Repo) Hang() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.resume == nil {
		hung := make(chan struct{})
		r.hung, r.resume = hung, func() { close(hung) }
	}
}

// Resume has it answer again.
func (r *Repo) Resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.resume != nil {
		r.resume()
		r.resume = nil
	}
}

// answers returns once the repository does, or with the reason why nobody waits any more.
func (r *Repo) answers(ctx context.Context) error {
	r.mu.Lock()
	hung := r.hung
	r.mu.Unlock()
	select {
	case <-hung:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	case <-r.w.ended:
		return context.Canceled
	}
}

// Down has the repository not be readable.
func (r *Repo) Down(yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = yes
}

// repoOf is the repository as one process reads it.
type repoOf struct {
	*Repo
	p *Process
}

var _ reconciler.Source = repoOf{}

// Fetch returns the newest revision.
func (r repoOf) Fetch(ctx context.Context) (reconciler.Revision, error) {
	r.w.mu.Lock()
	random := r.w.chance.of("fetch", r.p.name, r.w.nth("fetch"+r.p.name))
	r.w.mu.Unlock()
	if !r.w.instant {
		if err := r.w.sleep(ctx, between(random, time.Millisecond, 50*time.Millisecond)); err != nil {
			return reconciler.Revision{}, err
		}
	}
	if err := r.answers(ctx); err != nil {
		return reconciler.Revision{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return reconciler.Revision{}, errors.New("the repository can't be read: connection refused")
	}
	if r.n == 0 {
		return reconciler.Revision{}, errors.New("the repository has no commit yet")
	}
	files := fstest.MapFS{}
	for name, text := range r.commits[r.n-1].files {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	last := r.fetched[r.p]
	r.fetched[r.p] = r.n
	return reconciler.Revision{ID: fmt.Sprintf("r%d", r.n), Files: files, Rewound: !r.contains(r.n, last)}, nil
}

// Watch hints that there may be a newer revision, at once, too.
func (r repoOf) Watch(ctx context.Context) <-chan struct{} {
	c := make(chan struct{}, 1)
	c <- struct{}{}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hints = append(r.hints, c)
	context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.hints = slices.DeleteFunc(r.hints, func(h chan struct{}) bool { return h == c })
		close(c)
	})
	return c
}

// Registry has every image. A tag's name says how its program goes about: one that has "broken" in it never gets
// healthy, one with "crashing" ends again and again.
type Registry struct {
	w *World

	mu   sync.Mutex
	down bool
}

func newRegistry(w *World) *Registry { return &Registry{w: w} }

// Down has the registry not answer.
func (r *Registry) Down(yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = yes
}

func (r *Registry) isDown() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.down
}

var _ reconciler.Registries = (*Registry)(nil)

// Credentials are none.
func (r *Registry) Credentials(context.Context, *spec.Registry, string) (fleet.Credentials, error) {
	return fleet.Credentials{}, nil
}

// Digest says which digest a tag stands for.
func (r *Registry) Digest(ctx context.Context, ref string, _ fleet.Credentials, _ bool) (string, error) {
	return r.digest(ctx, ref, "evenkeel")
}

func (r *Registry) digest(ctx context.Context, ref, from string) (string, error) {
	if !r.w.instant {
		r.w.mu.Lock()
		random := r.w.chance.of("digest", from, ref, r.w.nth("digest"+from+ref))
		r.w.mu.Unlock()
		if err := r.w.sleep(ctx, between(random, time.Millisecond, 200*time.Millisecond)); err != nil {
			return "", err
		}
	}
	if r.isDown() {
		return "", errors.New("the registry can't be reached: connection refused")
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(ref))
	return fmt.Sprintf("sha256:%064x", digestMark(ref)<<56|h.Sum64()>>8), nil
}

// A digest tells how the program goes about, as the tag did: nothing else is known where a container is made of it.
const (
	markBroken   = 0xb0
	markCrashing = 0xc0
)

func digestMark(ref string) uint64 {
	switch {
	case strings.Contains(ref, "broken"):
		return markBroken
	case strings.Contains(ref, "crashing"):
		return markCrashing
	}
	return 0
}

func markOf(ref string) uint64 {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return digestMark(ref)
	}
	d, ok := named.(reference.Digested)
	if !ok {
		return digestMark(ref)
	}
	hex := d.Digest().Encoded()
	var mark uint64
	_, _ = fmt.Sscanf(hex[len(hex)-16:len(hex)-14], "%x", &mark)
	return mark
}

// behaviour is how a container's program goes about. The world's lock is held.
func (r *Registry) behaviour(ref, name string) behaviour {
	if r.w.habits != nil {
		return r.w.habits.Program(name)
	}
	random := r.w.chance.of("program", ref, name, r.w.nth("program "+name))
	b := behaviour{
		startup: between(random, 50*time.Millisecond, 3*time.Second), ending: between(random, 10*time.Millisecond, 2*time.Second),
	}
	if oneIn(random, 10) {
		b.ending = time.Hour // it heeds no signal
	}
	switch markOf(ref) {
	case markBroken:
		b.broken = true
	case markCrashing:
		b.crashes = between(random, 100*time.Millisecond, 4*time.Second)
	}
	return b
}

// How long a pull may take, and how long its driver waits for progress.
const (
	slowestPull = 90 * time.Second
	pullStall   = 60 * time.Second
)

// pull says how long a pull takes and whether it fails.
func (r *Registry) pull(h *Host, ref string) (time.Duration, error) {
	r.w.mu.Lock()
	random := r.w.chance.of("pull", h.name, ref, r.w.nth("pull "+h.name+ref))
	rough := r.w.rough
	r.w.mu.Unlock()
	took := between(random, 100*time.Millisecond, 5*time.Second)
	switch {
	case r.isDown():
		return took, errors.New("the registry can't be reached: connection refused")
	case rough && oneIn(random, 6):
		return between(random, 5*time.Second, slowestPull), nil
	case rough && oneIn(random, 12):
		return took, errors.New("unexpected EOF")
	}
	return took, nil
}

// newest is the newest revision.
func (r *Repo) newest() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprintf("r%d", r.n)
}
