package git

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"time"
)

const directoryPrefix = "dir-"

// directory is a plain directory, or the files of a work tree as they are.
type directory struct {
	path   string // what is read
	base   string // Options.Repo: where it is missing, all is missing
	limits limits
	reads  func(fs.FS) // Options.Reads
}

func (d *directory) String() string { return "directory " + d.path }

// A directory that changes while it is read is read again. How often, and how long to wait first.
var rereadAfter = []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond}

// raceWindow is how coarse the file system's clock may be: within it, two writes can leave the same
// times, so that a file this young is compared by content.
const raceWindow = 20 * time.Millisecond

// settled is how long the last change must be past: before, a file may be half-written, and half of a
// YAML file may well be valid. Where something changes all the time, the last attempt takes what it finds.
const settled = 8 * time.Millisecond

func (d *directory) fetch(ctx context.Context, last *fetched) (*fetched, error) {
	var moved movedError
	for i, pause := range rereadAfter {
		if err := wait(ctx, pause); err != nil {
			return nil, err
		}
		next, err := d.read(ctx, last, i == len(rereadAfter)-1)
		if !errors.As(err, &moved) {
			return next, d.describe(err)
		}
	}
	return nil, &Error{Reason: Changing, What: fmt.Sprintf("%s changed each of the %d times it was read", moved.path, len(rereadAfter)),
		Remedy: "keep what writes all the time out of it, or in a hidden directory"}
}

// read takes one snapshot. Where nothing changed that the last one was made of, it is the last one.
func (d *directory) read(ctx context.Context, last *fetched, unsettled bool) (*fetched, error) {
	began := time.Now()
	seen, err := walk(ctx, d.path, d.limits)
	if err != nil {
		return nil, err
	}
	if last != nil && !last.from.racy && last.from.difference(seen) == "" {
		return last, nil
	}
	r := &reading{dirWalk: seen, used: map[*node]bool{}}
	if err := r.read(d.reads); err != nil {
		return nil, err
	}
	r.racy = r.youngerThan(began.Add(-raceWindow))
	young := r.youngest(time.Now())
	again, err := walk(ctx, d.path, d.limits)
	if err != nil {
		return nil, err
	}
	if err := r.compare(again, began.Add(-raceWindow)); err != nil {
		return nil, err
	}
	if young != "" && !unsettled {
		return nil, movedError{young}
	}
	return r.revision(), nil
}

func (r *reading) revision() *fetched {
	_, warnings := newTreeFS(r.root)
	kept := r.kept(r.root)
	return &fetched{root: kept, from: r, Revision: Revision{
		ID: directoryPrefix + r.hash(), Time: r.newest(), Files: treeFS{root: kept},
		Warnings: append(few(r.root.notes), warnings...),
	}}
}

func (d *directory) describe(err error) error {
	if err == nil || ReasonOf(err) != NotFound || !isDir(d.base) {
		return err
	}
	return &Error{Reason: PathMissing, What: fmt.Sprintf("there is no directory %s", d.path), Remedy: "create it, or correct --path"}
}

// reading is what was read of a directory that was walked over.
type reading struct {
	*dirWalk
	used  map[*node]bool // what was read: files with their content, links, and directories that were asked for
	bytes int64          // of content
	err   error          // the first that was met
	// racy: something that was read was so young that it may have been written since without leaving a trace.
	racy bool
}

// read has reads read what matters to it, or, without one, reads everything.
func (r *reading) read(reads func(fs.FS)) error {
	if reads != nil {
		reads(treeFS{root: r.root, use: r.use})
		return r.err
	}
	for _, n := range r.nodes {
		if err := r.use(n); err != nil {
			return err
		}
	}
	return nil
}

// use reads a file and remembers it, or a link or a directory, as something that matters.
func (r *reading) use(n *node) error {
	if r.err != nil || r.used[n] {
		return r.err
	}
	if r.err = r.ctx.Err(); r.err != nil {
		return r.err
	}
	if n.mode.IsRegular() {
		r.bytes += n.size.bytes
		if r.err = r.limits.check(size{bytes: r.bytes}); r.err != nil {
			return r.err
		}
		if n.data, r.err = r.stampOf(n).content(); r.err != nil {
			return r.err
		}
	}
	r.used[n] = true
	return nil
}

// hash covers names, kinds and content of what was read: not permissions, which the specs give themselves.
func (r *reading) hash() string {
	h := sha256.New()
	r.hashInto(h, r.root, ".")
	return hex.EncodeToString(h.Sum(nil))[:hashLen]
}

func (r *reading) hashInto(h hash.Hash, n *node, at string) {
	if r.used[n] {
		fmt.Fprintf(h, "%d %q %d\n", n.mode.Type(), at, len(n.data))
		h.Write(n.data)
	}
	for _, c := range n.children {
		r.hashInto(h, c, join(at, c.name))
	}
}

// kept is the tree without the files that weren't read, whose content isn't known; nil: nothing is.
func (r *reading) kept(n *node) *node {
	if n.mode.IsRegular() && !r.used[n] {
		return nil
	}
	if !n.mode.IsDir() {
		return n
	}
	dir := *n
	dir.children = make([]*node, 0, len(n.children))
	for _, c := range n.children {
		if k := r.kept(c); k != nil {
			dir.children = append(dir.children, k)
		}
	}
	return &dir
}

// matters says whether a change of a node matters: links and directories lead to what was read.
func (r *reading) matters(n *node) bool { return r.used[n] || !n.mode.IsRegular() }

// compare holds a later walk against what was read, what is younger than a time by its content.
func (r *reading) compare(again *dirWalk, young time.Time) error {
	if moved := r.difference(again); moved != "" {
		return movedError{moved}
	}
	for i, n := range r.nodes {
		s := again.stamps[i]
		if !n.mode.IsRegular() || !r.used[n] || !s.youngerThan(young) {
			continue
		}
		content, err := s.content()
		if err != nil {
			return err
		}
		if string(content) != string(n.data) {
			return movedError{s.path}
		}
	}
	return nil
}

// difference names the first thing in which a later walk differs from what was read; empty: there is none.
// Of a file that wasn't read only its name matters, of a directory what is in it.
func (r *reading) difference(again *dirWalk) string {
	for i := range min(len(r.stamps), len(again.stamps)) {
		before, now := r.stamps[i], again.stamps[i]
		switch n := r.nodes[i]; {
		case before.path != now.path || before.mode.Type() != now.mode.Type():
			return now.path
		case n.mode.IsDir():
			if before.inode != now.inode || before.mode != now.mode {
				return now.path
			}
		case r.matters(n) && !before.equal(now):
			return now.path
		}
	}
	if len(r.stamps) != len(again.stamps) {
		return r.top
	}
	return ""
}

// newest is the latest modification of what was read.
func (r *reading) newest() time.Time {
	var t time.Time
	for i, s := range r.stamps {
		if r.used[r.nodes[i]] && s.mod.After(t) {
			t = s.mod
		}
	}
	return t
}

// youngest names something that changed just before a time. What seems to have changed after it has
// another clock, and didn't.
func (r *reading) youngest(now time.Time) string {
	for i, s := range r.stamps {
		if age := now.Sub(s.lastChange()); r.matters(r.nodes[i]) && age >= 0 && age < settled {
			return s.path
		}
	}
	return ""
}

// youngerThan says whether anything that was read changed after a time.
func (r *reading) youngerThan(t time.Time) bool {
	for i, s := range r.stamps {
		if r.used[r.nodes[i]] && s.youngerThan(t) {
			return true
		}
	}
	return false
}
