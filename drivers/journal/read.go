package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Filter selects events. What is empty selects all.
type Filter struct {
	Environment string
	Layer       string
	Node        int
	Since       time.Time
	Limit       int // the newest so many
}

func (f Filter) matches(e Event) bool {
	return (f.Environment == "" || f.Environment == e.Environment) &&
		(f.Layer == "" || f.Layer == e.Layer) &&
		(f.Node == 0 || f.Node == e.Node) &&
		(f.Since.IsZero() || !e.Time.Before(f.Since))
}

// Read returns the events of a fleet in the order they were written, the newest last, rotated files included. It
// takes no lock, so it works beside a running controller. Lines that are torn or aren't events are
// passed over. No journal at all is no error: nothing happened yet.
func Read(dir, fleet string, filter Filter) ([]Event, error) {
	path, err := directory(dir, fleet)
	if err != nil {
		return nil, err
	}
	events, err := readAll(path, filter)
	if err != nil {
		return nil, fmt.Errorf("reading the journal in %s: %w", path, err)
	}
	return events, nil
}

// readAll opens the present file before it lists the rotated ones: if it is rotated in between it is
// seen twice, and known by its inode, rather than not at all.
func readAll(dir string, filter Filter) ([]Event, error) {
	var newest fs.FileInfo
	var batches [][]Event // the newest first
	found := 0
	current, err := os.Open(filepath.Join(dir, fileName))
	switch {
	case err == nil:
		defer current.Close()
		if newest, err = current.Stat(); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	old, err := rotated(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	take := func(r io.Reader) error {
		events, err := scan(r, filter)
		batches, found = append(batches, events), found+len(events)
		return err
	}
	if newest != nil {
		if err := take(current); err != nil {
			return nil, err
		}
	}
	for _, path := range slices.Backward(old) {
		if filter.Limit > 0 && found >= filter.Limit {
			break
		}
		if err := readRotated(path, newest, take); err != nil {
			return nil, err
		}
	}
	slices.Reverse(batches)
	events := slices.Concat(batches...)
	if filter.Limit > 0 && len(events) > filter.Limit {
		events = events[len(events)-filter.Limit:]
	}
	return events, nil
}

func readRotated(path string, newest fs.FileInfo, take func(io.Reader) error) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the oldest, removed meanwhile
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || newest != nil && os.SameFile(info, newest) {
		return err
	}
	return take(f)
}

// maxLine is well above the longest line that is ever written.
const maxLine = 1 << 20

// scan reads the events of one file.
func scan(r io.Reader, filter Filter) ([]Event, error) {
	var events []Event
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := readLine(in)
		if event, ok := parse(line); ok && filter.matches(event) {
			events = append(events, event)
		}
		if errors.Is(err, io.EOF) {
			return events, nil
		}
		if err != nil {
			return events, err
		}
	}
}

// readLine returns the next line, or nothing of one that is too long to be an event.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := in.ReadSlice('\n')
		if long = long || len(line)+len(part) > maxLine; long {
			line = nil
		} else {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// parse accepts a whole event only: half of one is no JSON, and what has no time isn't ours.
func parse(line []byte) (Event, bool) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '{' {
		return Event{}, false
	}
	var e Event
	if err := json.Unmarshal(line, &e); err != nil || e.Time.IsZero() {
		return Event{}, false
	}
	return e, true
}
