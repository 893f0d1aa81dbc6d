package hosts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
)

// watcher is the process that ends a lab when its owner can't.
type watcher struct {
	cmd  *exec.Cmd
	pipe *os.File // closed by the kernel when this process dies, however
}

// startWatcher gives the watcher the lock too, so that nobody takes the site
// while it cleans up.
func startWatcher(s site, lock *os.File) (*watcher, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting the lab's watcher: %w", err)
	}
	defer r.Close()
	cmd := exec.Command(self)
	cmd.Args[0] = "evenkeel-lab-watcher"
	cmd.Env = append(environment(), stageVar+"="+stageWatch, siteVar+"="+strconv.Itoa(int(s)))
	cmd.Dir = "/"
	cmd.Stdin = r
	cmd.ExtraFiles = []*os.File{lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a ^C on the terminal is not for it
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, fmt.Errorf("starting the lab's watcher: %w", err)
	}
	return &watcher{cmd: cmd, pipe: w}, nil
}

// dismiss tells the watcher that there is nothing to clean up.
func (w *watcher) dismiss() error {
	_, err := w.pipe.Write([]byte{0})
	err = errors.Join(err, w.pipe.Close(), w.cmd.Wait())
	if err != nil {
		return fmt.Errorf("dismissing the lab's watcher: %w", err)
	}
	return nil
}

// runWatcher is the watcher's process.
func runWatcher(s site) error {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	n, err := os.Stdin.Read(make([]byte, 1))
	if n > 0 {
		return nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("watching the owner of lab %d: %w", s, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	// Again, should something that the owner started have come between.
	for err = s.remove(ctx); err != nil && ctx.Err() == nil; {
		err = s.remove(ctx)
	}
	return errors.Join(err, s.unlock(os.NewFile(3, "lock")))
}
