package hosts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process is a process for good: its start time tells it from a later one
// that got the same number.
type process struct {
	pid   int
	start uint64 // clock ticks after boot
}

// findProcess returns the process that has the number now.
func findProcess(pid int) (process, error) {
	stat, err := readStat(pid)
	if err != nil {
		return process{}, err
	}
	return process{pid: pid, start: stat.start}, nil
}

func (p process) String() string { return fmt.Sprintf("%d %d", p.pid, p.start) }

func parseProcess(s string) (process, error) {
	var p process
	_, err := fmt.Sscanf(s, "%d %d", &p.pid, &p.start)
	return p, err
}

func (p process) alive() bool {
	stat, err := readStat(p.pid)
	return err == nil && stat.start == p.start && stat.state != "Z" && stat.state != "X"
}

// open returns a descriptor of the process, and false where it is gone.
func (p process) open() (int, bool, error) {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("opening process %d: %w", p.pid, err)
	}
	if stat, err := readStat(p.pid); err == nil && stat.start == p.start {
		return fd, true, nil
	}
	unix.Close(fd)
	return 0, false, nil
}

// signal does nothing where the process is gone.
func (p process) signal(sig unix.Signal) error {
	fd, ok, err := p.open()
	if !ok {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("sending %s to process %d: %w", unix.SignalName(sig), p.pid, err)
	}
	return nil
}

// end sends the signal and waits until the process is dead. It may still be a
// zombie then, but of a host's first process nothing else is left.
func (p process) end(ctx context.Context, sig unix.Signal) error {
	fd, ok, err := p.open()
	if !ok {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("sending %s to process %d: %w", unix.SignalName(sig), p.pid, err)
	}
	// The context can't wake poll, so it is looked at between short ones.
	const slice = 50 * time.Millisecond
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(slice.Milliseconds()))
		switch {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("waiting for the end of process %d: %w", p.pid, err)
		case ctx.Err() != nil:
			return fmt.Errorf("process %d does not end after %s: %w", p.pid, unix.SignalName(sig), ctx.Err())
		}
	}
}

type stat struct {
	name  string
	state string
	start uint64
}

// stopped reports whether every thread stands still. The first one may do so
// while another still answers a request.
func (p process) stopped() bool {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.pid))
	if err != nil || len(files) == 0 {
		return false
	}
	for _, file := range files {
		if stat, err := readStatFile(file); err == nil && stat.state != "T" {
			return false
		}
	}
	return p.alive()
}

func readStat(pid int) (stat, error) {
	return readStatFile(fmt.Sprintf("/proc/%d/stat", pid))
}

// readStatFile reads the format of proc_pid_stat(5).
func readStatFile(path string) (stat, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return stat{}, err
	}
	// The name is in parentheses and may hold any byte, parentheses too.
	text := string(data)
	from, to := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if from < 0 || to < from {
		return stat{}, fmt.Errorf("%s: unexpected content %q", path, text)
	}
	fields := strings.Fields(text[to+1:])
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("%s: unexpected content %q", path, text)
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	return stat{name: text[from+1 : to], state: fields[0], start: start}, err
}

// children returns those direct children of p that have one of the names.
func (p process) children(names ...string) []process {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.pid, p.pid))
	if err != nil {
		return nil
	}
	var found []process
	for _, field := range strings.Fields(string(data)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			continue
		}
		if stat, err := readStat(pid); err == nil && slices.Contains(names, stat.name) {
			found = append(found, process{pid: pid, start: stat.start})
		}
	}
	return found
}

// descendants returns those children of p that have one of the names, with such children of theirs.
func (p process) descendants(names ...string) []process {
	var found []process
	for _, child := range p.children(names...) {
		found = append(append(found, child), child.descendants(names...)...)
	}
	return found
}

// waitFor asks done again and again until it is true or the context is over.
func waitFor(ctx context.Context, done func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}
