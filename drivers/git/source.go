// Package git is the source of revisions: a git repository, here or on a server, read from its commits only, or a
// plain directory, read as it is. It decides which commit a ref names and delivers that commit's files
// as one immutable snapshot in memory, so that a revision stays readable whatever happens to the
// repository afterwards. It never writes to a repository but to clones of its own, never runs git, never looks at the
// work tree to learn what should be, and knows nothing of what the files mean.
package git

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// DefaultInterval is how often a watched source hints that it should be looked at again, whether
// or not the file system reported a change.
const DefaultInterval = 30 * time.Second

// The bounds of one revision.
const (
	DefaultMaxBytes = 64 << 20 // of content that is read
	DefaultMaxFiles = 10_000
)

// Options says what to read. Only Repo is required.
type Options struct {
	Repo     string // a directory, or any directory inside a git work tree, or a bare repository; https://, ssh:// or user@host:path
	Ref      string // branch, tag, or full or abbreviated commit; "" follows HEAD
	Path     string // the folder below Repo that holds the specs, with slashes; "" is all of it
	Worktree bool   // read the files of a git work tree as they are, as from a plain directory
	// Reads reads what matters of the files of a plain directory; it is not to read side by side. Only what
	// it looks at is in a revision's Files, and makes a new revision when it changes. nil: all files matter.
	// Of a repository it says what [Source.Dirty] looks at; revisions have all files.
	Reads func(files fs.FS)

	Access   Access // to a remote repository
	CacheDir string // where clones of remote repositories are; "" is evenkeel/git in the user's cache directory

	Interval time.Duration // how often Watch hints anyway; 0 is DefaultInterval
	MaxBytes int64         // content of a revision in bytes; 0 is DefaultMaxBytes
	MaxFiles int           // files of a revision; 0 is DefaultMaxFiles
}

// Revision is one state of the source.
type Revision struct {
	ID      string    // the full commit hash, or dir-<hash of what was read>
	Ref     string    // the branch or tag read, "HEAD" when detached, the commit when asked for by it; "" of a directory
	Author  string    // "Name <mail>" of a commit
	Subject string    // the first line of a commit's message
	Time    time.Time // when it was committed; of a directory, the newest modification of its files

	// Files holds what is below Options.Path, without hidden directories and, of a directory, without files
	// that Options.Reads passed over. It is immutable and in memory.
	Files fs.FS
	// Rewound says that the revision fetched before isn't in this one's history: a force push, a
	// reset, another branch. It is false where that can't be told within a bounded look back.
	Rewound bool
	// Warnings are for the user: ambiguous refs, submodules and links passed over, no file watching.
	Warnings []string
}

// IsCommit reports whether the revision is a git commit.
func (r Revision) IsCommit() bool { return r.ID != "" && !strings.HasPrefix(r.ID, directoryPrefix) }

// origin is where revisions come from. What fetch gets of the revision before is a cache that is
// addressed by content, so it can't go stale.
type origin interface {
	fetch(ctx context.Context, last *fetched) (*fetched, error)
	watched() ([]watchDir, error)
	String() string
}

// fetched is a revision with what the next fetch can reuse of it.
type fetched struct {
	Revision
	root   *node
	commit *object.Commit // nil of a directory
	from   *reading       // nil of a repository
	notes  []string       // the warnings about the files

	// What the server's ref named, and its name; of a remote repository.
	tip     plumbing.Hash
	tipName string
}

// Source delivers the revisions of one directory or repository. Its methods are safe for concurrent use.
type Source struct {
	options Options
	origin  origin

	mu   sync.Mutex // one fetch at a time
	last *fetched

	watchMu      sync.Mutex
	watchProblem string
}

// Open finds out what Options.Repo is. It reads no revision, so it succeeds on a repository that is
// damaged at present; whether it is a git repository or a plain directory is decided here for good,
// so that a repository whose .git disappears never turns into a directory of uncommitted files.
func Open(o Options) (*Source, error) {
	o = o.withDefaults()
	given := o.Repo
	origin, err := newOrigin(&o)
	if err != nil {
		return nil, inRepo(given, err)
	}
	return &Source{options: o, origin: origin}, nil
}

func (o Options) withDefaults() Options {
	if o.Repo == "" {
		o.Repo = "."
	}
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxFiles <= 0 {
		o.MaxFiles = DefaultMaxFiles
	}
	return o
}

func (o Options) limits() limits { return limits{bytes: o.MaxBytes, files: o.MaxFiles} }

// String says what is read, for people.
func (s *Source) String() string { return s.origin.String() }

// Fetch reads the present revision. On any error the caller keeps what it has: the next Fetch opens
// everything anew. The errors are of type *Error, or the context's.
func (s *Source) Fetch(ctx context.Context) (Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := s.origin.fetch(ctx, s.last)
	if err != nil {
		return Revision{}, inRepo(s.options.Repo, err)
	}
	s.last = next
	rev := next.Revision
	rev.Warnings = append([]string(nil), rev.Warnings...)
	if problem := s.watchTrouble(); problem != "" {
		rev.Warnings = append(rev.Warnings, problem)
	}
	return rev, nil
}

// inRepo completes an error with the repository that it is about.
func inRepo(repo string, err error) error {
	e, ok := err.(*Error) //nolint:errorlint // only an error that was made here is completed
	if !ok {
		return fmt.Errorf("reading %s: %w", repo, err)
	}
	if e.Repo == "" {
		e.Repo = repo
	}
	return e
}
