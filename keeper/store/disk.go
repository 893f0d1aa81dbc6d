package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// disk writes files so that a reader finds the old content or the new, whole, after a crash at any point.
type disk struct {
	dir string
	// fault, in tests, stands in for a crash before the named step.
	fault func(step string) error
}

// The steps of a write, at each of which a machine may stop.
const (
	stepCreate  = "create"
	stepWrite   = "write"
	stepSync    = "sync"
	stepRename  = "rename"
	stepSyncDir = "syncdir"
)

func (d *disk) step(name string) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(name)
}

func (d *disk) write(name string, parts ...[]byte) error {
	final := filepath.Join(d.dir, name)
	tmp := final + ".tmp"
	if err := d.writeTmp(tmp, parts); err != nil {
		return fmt.Errorf("writing %s: %w", final, err)
	}
	if err := d.step(stepRename); err != nil {
		return err
	}
	if err := os.Rename(tmp, final); err != nil {
		return fmt.Errorf("writing %s: %w", final, err)
	}
	if err := d.step(stepSyncDir); err != nil {
		return err
	}
	return d.syncDir()
}

func (d *disk) writeTmp(tmp string, parts [][]byte) (err error) {
	if err := d.step(stepCreate); err != nil {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, p := range parts {
		if err := d.step(stepWrite); err != nil {
			_, _ = f.Write(p[:len(p)/2]) // as a crash in the middle of it would leave it
			return err
		}
		if _, err := f.Write(p); err != nil {
			return err
		}
	}
	if err := d.step(stepSync); err != nil {
		return err
	}
	return f.Sync()
}

func (d *disk) syncDir() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) { // some file systems can't, and needn't
		return fmt.Errorf("syncing %s: %w", d.dir, err)
	}
	return nil
}

func (d *disk) read(name string, limit int64) ([]byte, error) {
	f, err := os.Open(filepath.Join(d.dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s holds more than %d bytes", f.Name(), limit)
	}
	return b, nil
}

// Lock is the right to write to a directory. The kernel gives it back when the process ends.
type Lock struct{ f *os.File }

// ErrLocked: another process writes to the directory.
var ErrLocked = errors.New("another keeper writes there")

// TryLock takes the right to write to dir, or says ErrLocked.
func TryLock(dir string) (*Lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return &Lock{f}, nil
}

// lockPoll is how often a lock is tried that somebody has.
const lockPoll = 20 * time.Millisecond

// TakeLock takes the right to write to dir, and waits for it for so long.
func TakeLock(dir string, patience time.Duration) (*Lock, error) {
	for end := time.Now().Add(patience); ; time.Sleep(lockPoll) {
		if l, err := TryLock(dir); !errors.Is(err, ErrLocked) || time.Now().After(end) {
			return l, err
		}
	}
}

// Release gives the right to write back.
func (l *Lock) Release() { l.f.Close() }
