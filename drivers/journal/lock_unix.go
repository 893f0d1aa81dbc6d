//go:build unix

package journal

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes the lock of a file, if no other process has it, until the file is closed.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
