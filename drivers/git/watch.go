package git

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A hint waits until nothing more has changed for quiet, but never longer than atMost. git replaces
// refs atomically and last, so there is little to wait for.
const (
	quietRefs  = 2 * time.Millisecond
	quietFiles = 10 * time.Millisecond
	atMost     = 100 * time.Millisecond
)

// maxWatched bounds the directories watched, well below the system's own limit.
const maxWatched = 4096

// watchDir is a directory to watch, and which of the names in it matter.
type watchDir struct {
	path    string
	matters func(name string) bool
	quiet   time.Duration
}

// Watch signals that the source may have changed: once when the watch is in place, then after every change
// seen in the file system, and every Options.Interval in any case. It is a hint only: signals may come
// without a change, and several changes may come as one. The channel is closed when ctx is done.
func (s *Source) Watch(ctx context.Context) <-chan struct{} {
	w := &watch{source: s, hints: make(chan struct{}, 1), known: map[string]watched{}}
	go w.run(ctx)
	return w.hints
}

// watch is one call of Watch; all but the channel belongs to its goroutine.
type watch struct {
	source  *Source
	hints   chan struct{}
	notify  *fsnotify.Watcher // nil where the system has none to give
	known   map[string]watched
	first   time.Time // of the changes not yet hinted
	pending *time.Timer
}

type watched struct {
	watchDir
	info os.FileInfo
}

func (w *watch) run(ctx context.Context) {
	defer close(w.hints)
	defer w.close()
	w.pending = time.NewTimer(time.Hour)
	w.pending.Stop()
	poll := time.NewTicker(w.source.options.Interval)
	defer poll.Stop()
	w.sync()
	w.hint()
	for {
		var events <-chan fsnotify.Event
		var errs <-chan error
		if w.notify != nil {
			events, errs = w.notify.Events, w.notify.Errors
		}
		select {
		case <-ctx.Done():
			return
		case e := <-events:
			w.changed(e)
		case _, ok := <-errs: // the kernel's queue ran over: anything may have changed
			if !ok {
				return
			}
			w.soon(quietFiles)
		case <-w.pending.C:
			w.first = time.Time{}
			w.hint()
			if w.sync() {
				w.hint() // files may have appeared in a new directory before it was watched
			}
		case <-poll.C:
			w.sync()
			w.hint()
		}
	}
}

func (w *watch) hint() {
	select {
	case w.hints <- struct{}{}:
	default: // one is waiting already
	}
}

// changed starts or prolongs the wait for quiet when an event matters.
func (w *watch) changed(e fsnotify.Event) {
	if e.Op == fsnotify.Chmod {
		return
	}
	if dir, ok := w.known[filepath.Dir(e.Name)]; ok && dir.matters(filepath.Base(e.Name)) {
		w.soon(dir.quiet)
	}
	if dir, ok := w.known[e.Name]; ok && (e.Has(fsnotify.Rename) || e.Has(fsnotify.Remove)) {
		w.forget(e.Name) // its watch went with it, also where the same directory comes back
		w.soon(dir.quiet)
	}
}

func (w *watch) soon(quiet time.Duration) {
	now := time.Now()
	if w.first.IsZero() {
		w.first = now
	}
	w.pending.Reset(max(0, min(quiet, atMost-now.Sub(w.first))))
}

// sync brings the watches in line with the directories there are, and reports whether any is new.
// A directory that was replaced has the same name and another inode.
func (w *watch) sync() (added bool) {
	if w.notify == nil {
		notify, err := fsnotify.NewWatcher()
		if err != nil {
			w.trouble(err)
			return false
		}
		w.notify = notify
	}
	wanted, err := w.source.origin.watched()
	if err != nil && len(wanted) == 0 {
		return false // gone for now: the next poll looks again
	}
	var trouble error
	if len(wanted) > maxWatched {
		trouble = fmt.Errorf("more than %d directories", maxWatched)
		wanted = wanted[:maxWatched]
	}
	keep := make(map[string]bool, len(wanted))
	for _, dir := range wanted {
		keep[dir.path] = true
		isNew, err := w.add(dir)
		added = added || isNew
		if err != nil {
			trouble = err
		}
	}
	for path := range w.known {
		if !keep[path] {
			w.forget(path)
		}
	}
	w.trouble(trouble)
	return added
}

func (w *watch) add(dir watchDir) (isNew bool, err error) {
	info, err := os.Stat(dir.path)
	if err != nil {
		w.forget(dir.path)
		return false, nil //nolint:nilerr // removed since it was listed
	}
	old, ok := w.known[dir.path]
	if ok && os.SameFile(old.info, info) && w.notify.Add(dir.path) == nil {
		w.known[dir.path] = watched{dir, info}
		return false, nil
	}
	w.forget(dir.path)
	if err := w.notify.Add(dir.path); err != nil {
		return false, err
	}
	w.known[dir.path] = watched{dir, info}
	return true, nil
}

func (w *watch) forget(path string) {
	_ = w.notify.Remove(path) // an error means that it is gone already
	delete(w.known, path)
}

func (w *watch) close() {
	w.pending.Stop()
	if w.notify != nil {
		_ = w.notify.Close()
	}
}

// trouble is kept for the warnings of the next revision: changes are still seen, but later.
func (w *watch) trouble(err error) {
	problem := ""
	if err != nil {
		problem = fmt.Sprintf("changes are seen only every %s, since files can't be watched: %v; raise fs.inotify.max_user_watches and max_user_instances",
			w.source.options.Interval, err)
	}
	w.source.watchMu.Lock()
	defer w.source.watchMu.Unlock()
	w.source.watchProblem = problem
}

func (s *Source) watchTrouble() string {
	s.watchMu.Lock()
	defer s.watchMu.Unlock()
	return s.watchProblem
}

// watched lists the git directories in which a commit, a push or a checkout leaves a trace, and their
// parents, in which a replaced repository does.
func (r *repository) watched() ([]watchDir, error) {
	out := []watchDir{{filepath.Dir(r.top), named(filepath.Base(r.top)), quietRefs}}
	if !r.bare {
		out = append(out, watchDir{r.top, named(".git"), quietRefs})
	}
	dirs, err := r.dirs()
	if err != nil {
		return out, nil //nolint:nilerr // the parents tell when it is back
	}
	state := named("HEAD", "packed-refs", "refs", "rebase-merge", "rebase-apply", "BISECT_START")
	out = append(out, watchDir{dirs.own, state, quietRefs})
	if dirs.common != dirs.own {
		out = append(out, watchDir{dirs.common, state, quietRefs})
	}
	notLock := func(name string) bool { return !strings.HasSuffix(name, ".lock") }
	return appendDirs(out, filepath.Join(dirs.common, "refs"), watchDir{matters: notLock, quiet: quietRefs}), nil
}

func (d *directory) watched() ([]watchDir, error) {
	any := func(string) bool { return true }
	out := []watchDir{{filepath.Dir(d.path), named(filepath.Base(d.path)), quietFiles}}
	return appendDirs(out, d.path, watchDir{matters: any, quiet: quietFiles}), nil
}

func named(names ...string) func(string) bool {
	return func(name string) bool {
		for _, n := range names {
			if n == name {
				return true
			}
		}
		return false
	}
}

// appendDirs adds a directory and all below it but the hidden ones.
func appendDirs(out []watchDir, top string, like watchDir) []watchDir {
	like.path = top
	out = append(out, like)
	entries, err := os.ReadDir(top)
	if err != nil {
		return out
	}
	for _, e := range entries {
		if len(out) > maxWatched {
			return out
		}
		if e.IsDir() && !hidden(e.Name()) {
			out = appendDirs(out, filepath.Join(top, e.Name()), like)
		}
	}
	return out
}
