package store

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Change puts and deletes records, all of them or none. A deleted key that isn't there is no error.
func (s *Store) Change(put []fleet.Record, remove []string) error {
	next := slices.Clone(s.records)
	changed := false
	for _, r := range put {
		r, err := CheckRecord(r)
		if err != nil {
			return err
		}
		i, found := search(next, r.Key)
		switch {
		case !found:
			next = slices.Insert(next, i, r)
			changed = true
		case !bytes.Equal(next[i].Value, r.Value):
			next[i] = r
			changed = true
		}
	}
	for _, key := range remove {
		if i, found := search(next, key); found {
			next = slices.Delete(next, i, i+1)
			changed = true
		}
	}
	if !changed {
		return nil
	}
	size := recordsSize(next)
	if len(next) > MaxRecords || size > MaxRecordsAll {
		return invalid("%d records with %d bytes, at most %d with %d are kept", len(next), size, MaxRecords, MaxRecordsAll)
	}
	if err := save(&s.disk, recordsFile, next); err != nil {
		return err
	}
	s.records = next
	return nil
}

func search(rs []fleet.Record, key string) (int, bool) {
	return slices.BinarySearchFunc(rs, key, func(r fleet.Record, k string) int { return strings.Compare(r.Key, k) })
}

// CheckRecord returns the record with its value compacted, so that the same value is the same bytes.
func CheckRecord(r fleet.Record) (fleet.Record, error) {
	if r.Key == "" || len(r.Key) > MaxKey || !utf8.ValidString(r.Key) {
		return r, invalid("record key %q: it has to be text of 1 to %d bytes", r.Key, MaxKey)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, r.Value); err != nil {
		return r, invalid("record %s: its value isn't JSON: %v", r.Key, err)
	}
	if b.Len() > MaxRecord {
		return r, invalid("record %s has %d bytes, at most %d are kept", r.Key, b.Len(), MaxRecord)
	}
	return fleet.Record{Key: r.Key, Value: b.Bytes()}, nil
}

func recordsSize(rs []fleet.Record) int {
	n := 0
	for _, r := range rs {
		n += len(r.Key) + len(r.Value)
	}
	return n
}
