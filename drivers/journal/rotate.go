package journal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Rotated files are journal-<UTC time>.jsonl, so that their names sort by age.
const (
	rotatedPrefix = "journal-"
	rotatedSuffix = ".jsonl"
	rotatedTime   = "20060102T150405.000000000Z"
)

// rotate moves the file away and removes the oldest. Only one process does so at a time; one that finds
// another at it goes on with whatever file is there, and never waits.
func (j *Journal) rotate(room int64) error {
	lock, err := os.OpenFile(filepath.Join(j.dir, "journal.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // which gives the lock back
	if locked, err := tryLock(lock); err != nil || !locked {
		return err
	}
	info, err := os.Stat(j.Path())
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size()+room <= j.maxBytes {
		return nil // another process has just done it
	}
	if err != nil {
		return err
	}
	name := rotatedPrefix + time.Now().UTC().Format(rotatedTime) + rotatedSuffix
	if err := os.Rename(j.Path(), filepath.Join(j.dir, name)); err != nil {
		return err
	}
	old, err := rotated(j.dir)
	if err != nil {
		return err
	}
	for _, path := range old[:max(0, len(old)-j.keep)] {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// rotated lists the rotated files, the oldest first.
func rotated(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		stamp, ok := strings.CutPrefix(e.Name(), rotatedPrefix)
		stamp, ok2 := strings.CutSuffix(stamp, rotatedSuffix)
		if _, err := time.Parse(rotatedTime, stamp); ok && ok2 && err == nil && e.Type().IsRegular() {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	sort.Strings(paths)
	return paths, nil
}
