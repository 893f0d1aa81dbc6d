package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/keeper/lease"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func record(key, value string) fleet.Record {
	return fleet.Record{Key: key, Value: json.RawMessage(value)}
}

func TestWhatIsKeptComesBack(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	require.NoError(t, err)
	serial, changed, err := s.SetZone(fleet.Zone{Domain: "internal"})
	require.NoError(t, err)
	require.True(t, changed)
	require.EqualValues(t, 1, serial)
	_, changed, err = s.SetZone(fleet.Zone{Domain: "internal"})
	require.NoError(t, err)
	require.False(t, changed)
	require.NoError(t, s.Change([]fleet.Record{record("b", ` "<2>" `), record("a", `1`)}, nil))
	require.NoError(t, s.SetCopy(fleet.Copy{Serial: 3}))
	require.ErrorIs(t, s.SetCopy(fleet.Copy{Serial: 2}), ErrStale)
	require.NoError(t, s.SetGrant(lease.Grant{Token: 9, Holder: "me"}))

	again, err := Open(dir)
	require.NoError(t, err)
	require.Empty(t, again.Problems())
	require.Equal(t, s.Zone(), again.Zone())
	require.Equal(t, []fleet.Record{record("a", `1`), record("b", `"<2>"`)}, again.Records())
	require.EqualValues(t, 3, again.Copy().Serial)
	require.EqualValues(t, 9, again.Grant().Token)
	_, changed, err = again.SetZone(fleet.Zone{Domain: "internal"})
	require.NoError(t, err)
	require.False(t, changed, "the same also after a restart")
}

func TestRecordsAreBounded(t *testing.T) {
	s, err := Open(t.TempDir())
	require.NoError(t, err)
	var bad *InvalidError
	require.ErrorAs(t, s.Change([]fleet.Record{record("big", `"`+strings.Repeat("x", MaxRecord)+`"`)}, nil), &bad)
	require.ErrorAs(t, s.Change([]fleet.Record{record("", `1`)}, nil), &bad)
	require.ErrorAs(t, s.Change([]fleet.Record{record("a", `{`)}, nil), &bad)
	many := make([]fleet.Record, MaxRecords+1)
	for i := range many {
		many[i] = record(fmt.Sprint(i), `1`)
	}
	require.ErrorAs(t, s.Change(many, nil), &bad)
	require.ErrorAs(t, s.Change([]fleet.Record{record("good", `1`), record("a", `{`)}, nil), &bad)
	require.Empty(t, s.Records(), "all or none")
}

var errCrash = errors.New("crash")

// A crash at any step of a write leaves the state before it or after it, and after it where it was acknowledged.
func TestCrashAtEveryStep(t *testing.T) {
	changes := []struct {
		name string
		do   func(*Store, int) error
		read func(*Store) int
	}{
		{"zone", func(s *Store, i int) error {
			_, _, err := s.SetZone(fleet.Zone{Host: fmt.Sprint(i)})
			return err
		}, func(s *Store) int { return number(s.Zone().Zone.Host) }},
		{"records", func(s *Store, i int) error {
			return s.Change([]fleet.Record{record("a", fmt.Sprint(i))}, nil)
		}, func(s *Store) int {
			if len(s.Records()) == 0 {
				return 0
			}
			return number(string(s.Records()[0].Value))
		}},
		{"copy", func(s *Store, i int) error { return s.SetCopy(fleet.Copy{Serial: uint64(i)}) },
			func(s *Store) int { return int(s.Copy().Serial) }},
		{"lease", func(s *Store, i int) error { return s.SetGrant(lease.Grant{Token: uint64(i)}) },
			func(s *Store) int { return int(s.Grant().Token) }},
	}
	for _, change := range changes {
		t.Run(change.name, func(t *testing.T) {
			crashes := 0
			for at := 1; ; at++ {
				dir := t.TempDir()
				s, err := Open(dir)
				require.NoError(t, err)
				steps, acknowledged := 0, 0
				s.disk.fault = func(string) error {
					if steps++; steps >= at {
						return errCrash
					}
					return nil
				}
				for i := 1; i <= 3; i++ {
					if err := change.do(s, i); err != nil {
						require.ErrorIs(t, err, errCrash)
						require.Equal(t, acknowledged, change.read(s), "in memory as acknowledged")
						break
					}
					acknowledged = i
				}
				again, err := Open(dir)
				require.NoError(t, err)
				require.Empty(t, again.Problems(), "step %d", at)
				require.GreaterOrEqual(t, change.read(again), acknowledged)
				require.LessOrEqual(t, change.read(again), acknowledged+1)
				if acknowledged == 3 {
					break
				}
				crashes++
			}
			require.Equal(t, 3*6, crashes, "three writes of six steps each")
		})
	}
}

func number(text string) (n int) {
	_, _ = fmt.Sscan(text, &n)
	return n
}

func TestDamagedFilesAreLeftOutAndSaid(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"empty":      func([]byte) []byte { return nil },
		"torn":       func(b []byte) []byte { return b[:len(b)-3] },
		"bent":       func(b []byte) []byte { b[len(b)-3] ^= 1; return b },
		"no header":  func(b []byte) []byte { return b[strings.IndexByte(string(b), '\n')+1:] },
		"newer":      func(b []byte) []byte { return []byte(strings.Replace(string(b), " 1 ", " 2 ", 1)) },
		"other type": func([]byte) []byte { return append(header([]byte("7\n")), "7\n"...) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := Open(dir)
			require.NoError(t, err)
			_, _, err = s.SetZone(fleet.Zone{Domain: "internal"})
			require.NoError(t, err)
			require.NoError(t, s.Change([]fleet.Record{record("a", `1`)}, nil))
			require.NoError(t, s.SetGrant(lease.Grant{Token: 5}))
			for _, f := range []string{zoneFile, leaseFile} {
				path := filepath.Join(dir, f)
				b, err := os.ReadFile(path)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(path, damage(b), 0o600))
			}
			again, err := Open(dir)
			require.NoError(t, err)
			require.Len(t, again.Problems(), 2)
			require.Contains(t, again.Problems()[0], "zone.json can't be read")
			require.Zero(t, again.Zone().Serial)
			require.Len(t, again.Records(), 1, "the others are kept")
			require.Greater(t, again.Grant().Token, uint64(1<<30), "above every number that was ever granted")
			require.FileExists(t, filepath.Join(dir, "zone.json.bad"))
			_, _, err = again.SetZone(fleet.Zone{Domain: "internal"})
			require.NoError(t, err)
		})
	}
}

// Records are a map, whatever the order of changes.
func TestRecordsAreAMap(t *testing.T) {
	dir, runs := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		sub := filepath.Join(dir, strconv.Itoa(runs))
		runs++
		require.NoError(t, os.Mkdir(sub, 0o700))
		s, err := Open(sub)
		require.NoError(t, err)
		want := map[string]string{}
		for range rapid.IntRange(0, 8).Draw(t, "changes") {
			key := rapid.SampledFrom([]string{"a", "b", "c/d", "é"}).Draw(t, "key")
			if rapid.Bool().Draw(t, "delete") {
				require.NoError(t, s.Change(nil, []string{key}))
				delete(want, key)
				continue
			}
			value := fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "value"))
			require.NoError(t, s.Change([]fleet.Record{record(key, value)}, nil))
			want[key] = value
		}
		again, err := Open(sub)
		require.NoError(t, err)
		got := map[string]string{}
		before := ""
		for _, r := range again.Records() {
			require.Greater(t, r.Key, before)
			before, got[r.Key] = r.Key, string(r.Value)
		}
		require.Equal(t, want, got)
	})
}

func TestLockIsOneKeepersAtATime(t *testing.T) {
	dir := t.TempDir()
	first, err := TryLock(dir)
	require.NoError(t, err)
	_, err = TryLock(dir)
	require.ErrorIs(t, err, ErrLocked)
	first.Release()
	second, err := TryLock(dir)
	require.NoError(t, err)
	second.Release()
}

// Whatever is on the disk is read or refused, and what was written comes back as it was.
func FuzzFile(f *testing.F) {
	f.Add([]byte(`{"serial":1,"zone":{"domain":"internal"}}`))
	f.Add(append(header([]byte(`[{"key":"a","value":1}]`)), `[{"key":"a","value":1}]`...))
	f.Add([]byte("evenkeel-keeper 1 x\n{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if body, err := unwrap(b); err == nil {
			require.Equal(t, b, append(header(body), body...))
		}
		body, err := unwrap(append(header(b), b...))
		require.NoError(t, err)
		require.Equal(t, string(b), string(body))
		for _, v := range []any{new(Numbered), new([]fleet.Record), new(fleet.Copy), new(lease.Grant)} {
			_ = json.Unmarshal(body, v)
		}
		if r, err := CheckRecord(record("key", string(b))); err == nil {
			again, err := CheckRecord(r)
			require.NoError(t, err)
			require.Equal(t, r, again)
		}
	})
}
