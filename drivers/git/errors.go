package git

import (
	"errors"
	"fmt"
	"io/fs"
)

// Reason classes what stood in the way of a revision, for callers that act on it.
type Reason string

// The reasons. None of them says anything about what should run: whoever fetched a good revision
// before keeps it in force.
const (
	NotFound    Reason = "not found"     // the directory or repository isn't there (any more)
	NoCommits   Reason = "no commits"    // a repository without a first commit
	RefNotFound Reason = "ref not found" // no such branch, tag or commit; the branch was deleted
	Ambiguous   Reason = "ambiguous"     // an abbreviated commit that fits several
	PathMissing Reason = "path missing"  // the path isn't a directory in that revision
	Corrupt     Reason = "corrupt"       // objects or refs are missing, cut short or damaged
	Changing    Reason = "changing"      // a directory that didn't hold still while it was read
	TooLarge    Reason = "too large"     // more than a revision may hold
	Unreachable Reason = "unreachable"   // a server that doesn't answer, hangs or cuts the transfer
	Refused     Reason = "refused"       // a server that refuses us, or that we can't trust
	Unreadable  Reason = "unreadable"    // permissions or I/O
	Unsupported Reason = "unsupported"   // something this source can't read, such as a remote address
	BadOption   Reason = "bad option"    // an option that can't be right
)

// Error says why there is no revision, and what to do about it.
type Error struct {
	Reason Reason
	Repo   string // as given in Options
	What   string // what is wrong
	Remedy string // what to do
	Err    error  // the cause, or nil
}

func (e *Error) Error() string {
	s := fmt.Sprintf("reading %s: %s", e.Repo, e.What)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// ReasonOf returns the reason of an error of this package, or "" for any other.
func ReasonOf(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

// ioError classes an error of the file system.
func ioError(what string, err error) *Error {
	e := &Error{Reason: Unreadable, What: what, Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Reason, e.Remedy = NotFound, "put it back or point --repo elsewhere"
	case errors.Is(err, fs.ErrPermission):
		e.Remedy = "give the user that evenkeel runs as the right to read it"
	}
	return e
}

// Remedied is what is wrong and what to do about it, apart.
func (e *Error) Remedied() (what, remedy string) {
	plain := *e
	plain.Remedy = ""
	return plain.Error(), e.Remedy
}
