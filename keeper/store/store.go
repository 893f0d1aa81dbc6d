// Package store keeps what a keeper must not forget: its zone, the small records, the copy of who is
// where, and the lease's fencing number. What it acknowledges is on disk; what it can't read it leaves out
// and says so, since a keeper without its zone is better than none.
package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/keeper/lease"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Limits of what is kept.
const (
	MaxRecord     = 64 << 10 // bytes of one record's value
	MaxRecords    = 16384
	MaxRecordsAll = 16 << 20 // bytes of all records together
	MaxKey        = 512
	MaxDocument   = 16 << 20 // bytes of the zone, and of the copy
)

// ErrStale: a copy is older than the one that is kept.
var ErrStale = errors.New("older than what is kept")

// InvalidError is a value that can't be kept.
type InvalidError struct{ Why string }

func (e *InvalidError) Error() string { return e.Why }

func invalid(format string, a ...any) error { return &InvalidError{fmt.Sprintf(format, a...)} }

// Numbered is a zone with its serial.
type Numbered struct {
	Serial uint64     `json:"serial"`
	Zone   fleet.Zone `json:"zone"`
}

// Store is a keeper's memory, in step with its disk. It isn't safe for concurrent use: its owner
// serialises all calls, since a check of the lease and the write under it belong together.
type Store struct {
	disk     disk
	zone     Numbered
	zoneJSON []byte
	records  []fleet.Record // sorted by key
	copy     fleet.Copy
	grant    lease.Grant
	problems []string
}

// The names of the files.
const (
	zoneFile    = "zone.json"
	recordsFile = "records.json"
	copyFile    = "copy.json"
	leaseFile   = "lease.json"
)

// Open reads what is in dir, which it makes if need be. What can't be read is left out and named by
// Problems; its file is kept beside as <name>.bad when it is first written over.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the keeper's volume: %w", err)
	}
	s := &Store{disk: disk{dir: dir}}
	s.loadAll()
	return s, nil
}

func (s *Store) loadAll() {
	s.read(zoneFile, &s.zone, func() { s.zone = Numbered{} })
	s.read(recordsFile, &s.records, func() { s.records = nil })
	s.read(copyFile, &s.copy, func() { s.copy = fleet.Copy{} })
	s.read(leaseFile, &s.grant, func() {
		// The number is lost: one that no earlier grant can have reached.
		s.grant = lease.Grant{Token: uint64(time.Now().Unix()), Holder: "unknown (its record was unreadable)"}
	})
	slices.SortFunc(s.records, func(a, b fleet.Record) int { return strings.Compare(a.Key, b.Key) })
	s.zoneJSON, _ = json.Marshal(s.zone.Zone)
}

func (s *Store) read(name string, v any, lost func()) {
	err := load(&s.disk, name, MaxRecordsAll*2, v)
	if err == nil {
		return
	}
	lost()
	path := filepath.Join(s.disk.dir, name)
	s.problems = append(s.problems, fmt.Sprintf("%s can't be read (%v): started without it, kept as %s.bad", path, err, path))
	_ = os.Link(path, path+".bad") // for people to look at; the first one stays
}

// Zone returns the zone with its serial.
func (s *Store) Zone() Numbered { return s.zone }

// Records returns all records, sorted by key. They are not to be changed.
func (s *Store) Records() []fleet.Record { return s.records }

// Copy returns the copy of who is where.
func (s *Store) Copy() fleet.Copy { return s.copy }

// Grant returns the last lease granted.
func (s *Store) Grant() lease.Grant { return s.grant }

// Problems are what couldn't be read, for people.
func (s *Store) Problems() []string { return s.problems }

// SetZone keeps a zone and returns its serial. The same zone again changes nothing.
func (s *Store) SetZone(z fleet.Zone) (serial uint64, changed bool, err error) {
	b, err := json.Marshal(z)
	if err != nil {
		return 0, false, err
	}
	if s.zone.Serial > 0 && bytes.Equal(b, s.zoneJSON) {
		return s.zone.Serial, false, nil
	}
	if len(b) > MaxDocument {
		return 0, false, invalid("the zone has %d bytes, at most %d are kept", len(b), MaxDocument)
	}
	next := Numbered{Serial: s.zone.Serial + 1, Zone: z}
	if err := save(&s.disk, zoneFile, next); err != nil {
		return 0, false, err
	}
	s.zone, s.zoneJSON = next, b
	return next.Serial, true, nil
}

// SetCopy keeps a copy, unless it is older than the one that is kept. The same copy again changes nothing.
func (s *Store) SetCopy(c fleet.Copy) error {
	if c.Serial < s.copy.Serial {
		return fmt.Errorf("copy with serial %d: %w (%d)", c.Serial, ErrStale, s.copy.Serial)
	}
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if old, err := json.Marshal(s.copy); err == nil && bytes.Equal(b, old) {
		return nil
	}
	if len(b) > MaxDocument {
		return invalid("the copy has %d bytes, at most %d are kept", len(b), MaxDocument)
	}
	if err := save(&s.disk, copyFile, c); err != nil {
		return err
	}
	s.copy = c
	return nil
}

// SetGrant keeps a lease.
func (s *Store) SetGrant(g lease.Grant) error {
	if err := save(&s.disk, leaseFile, g); err != nil {
		return err
	}
	s.grant = g
	return nil
}
