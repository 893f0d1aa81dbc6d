package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"strings"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/render"
	"github.com/evenkeel/evenkeel/cmd/evenkeel/wire"
	"github.com/evenkeel/evenkeel/drivers/git"
	"github.com/evenkeel/evenkeel/drivers/registry"
	"github.com/evenkeel/evenkeel/keeper"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/server/metrics"
	"github.com/evenkeel/evenkeel/spec"
)

// controllerSetup is what a command wants of its controller.
type controllerSetup struct {
	fleet    FleetOptions
	worktree bool
	only     string
	state    string        // the journal's directory; empty: none is kept
	interval time.Duration // of a loop; zero: one pass
	show     render.Progress
	metrics  *metrics.Metrics // nil: nobody reads any
	// committed: what isn't committed is said.
	committed bool
	// unnoticed: notices aren't shown, since the result has all that they say.
	unnoticed bool
}

// openController wires a controller to git, Docker, keepers and the journal. It speaks to none of them yet.
func openController(s controllerSetup) (controller, io.Closer, error) {
	load := new(spec.Loader).Load
	from := s.fleet.source(os.Getenv)
	from.Worktree, from.Interval, from.Reads = s.worktree, s.interval, reads(load)
	source, err := git.Open(from)
	if err != nil {
		return nil, nil, err
	}
	kept := &keptJournal{dir: s.state, show: s.show, load: load, by: holder()}
	revisions := &gitSource{source: source, journal: kept, committed: s.committed}
	credentials := s.fleet.credentials(os.Getenv)
	registries := registry.Open(registry.Options{CredentialsDir: credentials})
	c := reconciler.New(reconciler.Options{
		Source:        revisions,
		Load:          load,
		Open:          openEngine(s.show, credentials),
		OpenZone:      openZone(credentials, s.metrics),
		Registries:    registries,
		DialKeeper:    wire.DialKeeper,
		KeeperImage:   wire.KeeperImage(s.fleet.KeeperImage),
		KeeperVersion: keeper.Version,
		Holder:        holder(),
		Interval:      s.interval,
		Only:          s.only,
		Report:        s.report,
		Changed:       s.changed,
		Passed:        s.passed,
		Notice:        s.notice(revisions),
		Journal:       kept,
	})
	return c, closers{c, registries, kept}, nil
}

// reads reads the files that a loading does: in a plain directory the others are nobody's concern. What is
// wrong with them is said when the revision is loaded.
func reads(load func(fs.FS) (*spec.Spec, error)) func(fs.FS) {
	return func(files fs.FS) { _, _ = load(files) }
}

// notice shows notices. A command that ends with a refused revision says so as its error, once is enough.
func (s *controllerSetup) notice(source *gitSource) func(reconciler.Notice) {
	return func(n reconciler.Notice) {
		if !s.unnoticed && (s.interval > 0 || !source.refused(n.Message)) {
			s.show.Notice(n)
		}
	}
}

// closers closes several things, in their order.
type closers []io.Closer

func (c closers) Close() error {
	var first error
	for _, one := range c {
		if err := one.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// gitSource is a [git.Source] as the reconciler wants it.
type gitSource struct {
	source    *git.Source
	journal   *keptJournal
	committed bool // what isn't is said
	// problem is why the last fetch failed, or why what it brought is invalid.
	problem atomic.Pointer[string]
}

// refused says whether a message is that the newest revision can't be in force.
func (s *gitSource) refused(message string) bool {
	p := s.problem.Load()
	return p != nil && strings.HasSuffix(message, *p)
}

// note keeps why a revision can't be in force.
func (s *gitSource) note(err error) {
	if err == nil {
		s.problem.Store(nil)
		return
	}
	s.problem.Store(new(err.Error()))
}

func (s *gitSource) Fetch(ctx context.Context) (reconciler.Revision, error) {
	r, err := s.source.Fetch(ctx)
	s.note(err)
	if err != nil {
		return reconciler.Revision{}, err
	}
	if err := s.journal.of(r.Files); err != nil {
		s.note(err)
	}
	warnings := r.Warnings
	if s.committed {
		warnings = append(warnings, s.uncommitted(ctx, r)...)
	}
	return reconciler.Revision{ID: r.ID, Files: r.Files, Rewound: r.Rewound, Warnings: warnings}, nil
}

// uncommitted says which files differ from the commit's: whoever has just written them may expect them to count.
func (s *gitSource) uncommitted(ctx context.Context, r git.Revision) []string {
	files, err := s.source.Dirty(ctx, r)
	switch {
	case err != nil:
		return []string{"whether all files are committed could not be told: " + err.Error()}
	case len(files) == 0:
		return nil
	}
	return []string{"not committed: " + some(files) + "; only commits count: `git add` and `git commit` what is to be done, " +
		"or see what it would do with `evenkeel plan --worktree`"}
}

// some names the first of several things.
func some(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

func (s *gitSource) Watch(ctx context.Context) <-chan struct{} { return s.source.Watch(ctx) }

// holder says for people who holds a lease: user@machine (pid).
func holder() string {
	name, machine := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		machine = h
	}
	return fmt.Sprintf("%s@%s (%d)", name, machine, os.Getpid())
}
