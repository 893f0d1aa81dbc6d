package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/config"
)

// repository is a local git repository, of which only commits are read.
type repository struct {
	top    string // the root of the work tree, or the bare repository
	bare   bool
	prefix string // from top to Options.Repo, with slashes
	path   string // from top to what is read
	ref    string
	limits limits
}

func (r *repository) String() string {
	s := "git repository " + r.top
	if r.ref != "" {
		s += ", ref " + r.ref
	}
	if r.path != "." {
		s += ", path " + r.path
	}
	return s
}

// A repository that is repacked while it is read looks damaged for a moment.
var retryAfter = []time.Duration{0, 10 * time.Millisecond, 40 * time.Millisecond}

func (r *repository) fetch(ctx context.Context, last *fetched) (*fetched, error) {
	var err error
	for _, pause := range retryAfter {
		if err := wait(ctx, pause); err != nil {
			return nil, err
		}
		var next *fetched
		next, err = r.read(ctx, last)
		if err == nil || ReasonOf(err) != Corrupt {
			return next, err
		}
	}
	return nil, err
}

// read is one attempt. go-git may panic on damaged packs: that too is a damaged repository.
func (r *repository) read(ctx context.Context, last *fetched) (next *fetched, err error) {
	defer func() {
		if p := recover(); p != nil {
			next, err = nil, corrupt("its objects are damaged", fmt.Errorf("%v", p))
		}
	}()
	dirs, err := r.dirs()
	if err != nil {
		return nil, err
	}
	if err := supported(dirs.common); err != nil {
		return nil, err
	}
	objects := openObjects(dirs.common)
	defer objects.close()

	if last == nil {
		last = &fetched{}
	}
	found, err := resolver{refs: refStore{dirs}, objects: objects, known: last.commit}.resolve(r.ref)
	if err != nil {
		return nil, err
	}
	next = &fetched{commit: found.commit, Revision: describe(found)}
	if next.ID == last.ID {
		// Nothing is read of a commit in hand: a poll of a large repository costs a look at its refs.
		next.root, next.Files, next.notes = last.root, last.Files, last.notes
	} else if err := r.readFiles(ctx, objects, next, last); err != nil {
		return nil, r.explain(err, next.ID)
	}
	next.Warnings = append(found.warnings, next.notes...)
	return next, nil
}

func describe(found resolved) Revision {
	c := found.commit
	return Revision{
		ID: c.Hash.String(), Ref: found.ref, Time: c.Committer.When, Subject: subject(c.Message),
		Author: fmt.Sprintf("%s <%s>", c.Author.Name, c.Author.Email),
	}
}

// readFiles reads the files of a new commit, and how it follows the last.
func (r *repository) readFiles(ctx context.Context, objects *objectStore, next, last *fetched) error {
	tree := &treeReader{ctx: ctx, objects: objects, limits: r.limits, known: index(last.root)}
	root, err := tree.at(next.commit.TreeHash, r.path)
	if err != nil {
		return err
	}
	files, links := newTreeFS(root)
	next.root, next.Files = root, files
	next.notes = append(few(root.notes), links...)
	if last.commit != nil {
		next.Rewound = rewound(objects, next.commit, last.Revision)
	}
	return nil
}

// explain says which commit an error is about.
func (r *repository) explain(err error, id string) error {
	var e *Error
	if errors.As(err, &e) && e.Reason == PathMissing && r.prefix != "." {
		e.Remedy += fmt.Sprintf(" (the repository's root is %s)", r.top)
	}
	if e != nil && (e.Reason == PathMissing || e.Reason == Corrupt) {
		e.What = fmt.Sprintf("commit %.8s: %s", id, e.What)
	}
	return err
}

// supported refuses formats that would be misread. A configuration that can't be parsed is git's
// business: nothing else in it matters here.
func supported(common string) error {
	f, err := os.Open(filepath.Join(common, "config"))
	if err != nil {
		return nil // a repository without configuration has git's defaults
	}
	defer f.Close()
	cfg := config.New()
	if err := config.NewDecoder(f).Decode(cfg); err != nil {
		return nil // as without one
	}
	ext := cfg.Section("extensions")
	if format := strings.ToLower(ext.Option("objectformat")); format != "" && format != "sha1" {
		return &Error{Reason: Unsupported, What: fmt.Sprintf("its object format %s can't be read", format), Remedy: "use a repository with SHA-1 objects"}
	}
	if storage := strings.ToLower(ext.Option("refstorage")); storage != "" && storage != "files" {
		return &Error{Reason: Unsupported, What: fmt.Sprintf("its ref storage %s can't be read", storage),
			Remedy: "run `git refs migrate --ref-format=files`"}
	}
	return nil
}

func subject(message string) string {
	line, _, _ := strings.Cut(strings.TrimLeft(message, "\r\n"), "\n")
	return strings.TrimSpace(line)
}

func wait(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d == 0 {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
