// Package journal keeps the history of what was done: one JSON line an event, appended to
// <dir>/<fleet>/journal.jsonl, rotated by size. It decides nothing and nothing depends on it: a journal
// that can't be written stops no work, and one that was deleted is missed by nobody but its readers.
//
// Several processes may append at the same time (run and apply), and any may read meanwhile. Hence each event
// is a single write to a file opened for appending, the file is looked up anew for each of them, and
// rotation is our own: the usual rotating writers own their file, cut it when they open it anew and go
// on writing to one that another process has moved away.
package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// The defaults of Options.
const (
	DefaultMaxBytes = 8 << 20
	DefaultKeep     = 5
)

const fileName = "journal.jsonl"

// Options say where a journal is and how large it may grow.
type Options struct {
	Dir      string // the state directory
	Fleet    string // the fleet's name, a directory below it
	MaxBytes int64  // of a file, from which on it is rotated; 0 is DefaultMaxBytes
	Keep     int    // rotated files; 0 is DefaultKeep
}

// Journal appends events. It is safe for concurrent use.
type Journal struct {
	dir      string
	maxBytes int64
	keep     int

	mu      sync.Mutex
	file    *os.File // nil until the first event, and after a failure
	failing string   // the error that was told last; "" when all is well
	lost    int      // events since then
	since   time.Time
}

// Open prepares a journal. It touches no disk, so that a full or read-only one keeps nothing from
// starting; the only error is a fleet name that can't be a directory.
func Open(o Options) (*Journal, error) {
	dir, err := directory(o.Dir, o.Fleet)
	if err != nil {
		return nil, err
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Keep <= 0 {
		o.Keep = DefaultKeep
	}
	return &Journal{dir: dir, maxBytes: o.MaxBytes, keep: o.Keep}, nil
}

func directory(dir, fleet string) (string, error) {
	if dir == "" {
		return "", errors.New("opening the journal: no state directory: set --state")
	}
	if fleet == "" || strings.HasPrefix(fleet, ".") || strings.ContainsAny(fleet, "/\\\x00") {
		return "", fmt.Errorf("opening the journal: %q can't be a fleet's name: use a DNS label", fleet)
	}
	return filepath.Join(dir, fleet), nil
}

// Path is the file that events are appended to.
func (j *Journal) Path() string { return filepath.Join(j.dir, fileName) }

// Append writes one event, with the present time if it has none. A failure is returned once, when it
// begins or becomes another; the events after it are lost without a word while each of them is tried. The first that
// succeeds is preceded by one that says how many were lost. No caller has reason to stop for an error.
func (j *Journal) Append(e Event) error {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	line, err := e.line()
	if err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lost > 0 {
		if gap, err := j.gap(e.Time).line(); err == nil {
			line = append(gap, line...)
		}
	}
	whole, err := j.write(line)
	switch {
	case whole:
		j.lost = 0
	case j.lost == 0:
		j.lost, j.since = 1, e.Time
	default:
		j.lost++
	}
	return j.tell(err)
}

// gap is the event that stands for those lost.
func (j *Journal) gap(now time.Time) Event {
	return Event{Time: now, Operation: "journal", Outcome: "lost", Duration: now.Sub(j.since).Round(time.Millisecond),
		Message: fmt.Sprintf("%d events could not be written: %s", j.lost, j.failing)}
}

// tell returns an error only where it is news.
func (j *Journal) tell(err error) error {
	if err == nil {
		j.failing = ""
		return nil
	}
	if j.failing == err.Error() {
		return nil
	}
	j.failing = err.Error()
	return fmt.Errorf("writing the journal %s: %w; history is incomplete until this is mended", j.Path(), err)
}

// write appends in a single call. The line may be whole in spite of an error: of rotation, or where the
// disk was full just before its end.
func (j *Journal) write(line []byte) (whole bool, err error) {
	size, err := j.current()
	if err != nil {
		return false, err
	}
	var notRotated error
	if size > 0 && size+int64(len(line)) > j.maxBytes {
		notRotated = j.rotate(int64(len(line)))
		if size, err = j.current(); err != nil {
			return false, err
		}
	}
	if j.torn(size) {
		line = append([]byte{'\n'}, line...)
	}
	n, err := j.file.Write(line)
	if err != nil {
		j.drop()
		return n >= len(line)-1, err
	}
	return true, notRotated
}

// current makes sure that the open file is the one at the path, which another process may have
// rotated and anyone removed, and returns its size.
func (j *Journal) current() (int64, error) {
	if j.file != nil {
		there, thereErr := os.Stat(j.Path())
		open, openErr := j.file.Stat()
		if thereErr == nil && openErr == nil && os.SameFile(there, open) {
			return open.Size(), nil
		}
		j.drop()
	}
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return 0, err
	}
	file, err := os.OpenFile(j.Path(), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	j.file = file
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// torn reports whether a write that was cut short, by a crash or a full disk, left a line without an
// end: the next event must not be lost with it.
func (j *Journal) torn(size int64) bool {
	last := make([]byte, 1)
	if size == 0 {
		return false
	}
	_, err := j.file.ReadAt(last, size-1)
	return err == nil && last[0] != '\n'
}

func (j *Journal) drop() {
	if j.file != nil {
		_ = j.file.Close()
		j.file = nil
	}
}

// Close closes the file. A later Append opens it again.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.drop()
	return nil
}
