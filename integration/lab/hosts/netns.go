package hosts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// ownNet is the network namespace of the calling thread.
const ownNet = "/proc/thread-self/ns/net"

// errNoNetwork is returned where the namespace to enter does not exist.
var errNoNetwork = errors.New("no such network namespace")

var errGoexit = errors.New("the function ended its goroutine")

func netPath(pid int) string { return fmt.Sprintf("/proc/%d/ns/net", pid) }

// inNetwork runs fn on a thread in the network namespace at path. Goroutines
// that fn starts are not in it; processes are.
func inNetwork(path string, fn func() error) error {
	target, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", path, errNoNetwork)
	}
	if err != nil {
		return err
	}
	defer target.Close()
	return onThread(func() error {
		err := unix.Setns(int(target.Fd()), unix.CLONE_NEWNET)
		if errors.Is(err, unix.EINVAL) { // the mount point without its namespace
			return fmt.Errorf("%s: %w", path, errNoNetwork)
		}
		if err != nil {
			return fmt.Errorf("entering network namespace %s: %w", path, err)
		}
		return fn()
	})
}

// newNetwork makes a network namespace that lives as long as its mount at path.
func newNetwork(path string) error {
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		return err
	}
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unsharing the network: %w", err)
		}
		if err := unix.Mount(ownNet, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mounting the network namespace on %s: %w", path, err)
		}
		return nil
	})
}

// onThread runs fn on a thread of its own and brings that thread back into
// the network that it came from. A thread that can't be brought back stays
// locked, and so ends with its goroutine instead of serving others.
//
// It is never the process's first thread: /proc/PID/ns/net is that one's, and
// other programs (ip link … netns PID) take it for the process's.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		err := errGoexit
		defer func() { done <- err }()
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			err = onThread(fn)
			runtime.UnlockOSThread()
			return
		}
		err = thereAndBack(fn)
	}()
	return <-done
}

// thereAndBack runs fn on the present, locked thread.
func thereAndBack(fn func() error) error {
	home, err := os.Open(ownNet)
	if err != nil {
		return err
	}
	defer home.Close()
	defer func() {
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return fn()
}
