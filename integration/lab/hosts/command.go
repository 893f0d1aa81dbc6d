package hosts

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Command prepares a command that runs on the host: its processes, files,
// network and name. /tmp and /run are the host's own; all other programs and
// files are the machine's. When the context is over, the command and its
// children are killed.
func (h *Host) Command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	return h.enter(ctx, []string{"--mount", "--uts", "--ipc", "--net", "--pid"}, name, args)
}

// NetCommand prepares a command that has this process's files and the host's
// network, such as a test program somewhere in /tmp.
func (h *Host) NetCommand(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	return h.enter(ctx, []string{"--net"}, name, args)
}

func (h *Host) enter(ctx context.Context, namespaces []string, name string, args []string) (*exec.Cmd, error) {
	pid, err := h.pid()
	if err != nil {
		return nil, err
	}
	all := append([]string{"--target", strconv.Itoa(pid)}, namespaces...)
	all = append(append(all, "--", name), args...)
	cmd := newCommand(ctx, "nsenter", all...)
	// nsenter has a child of its own, which would outlive it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd, nil
}

// Exec runs a command on the host and returns what it wrote to its standard
// output. The error holds what it wrote to its standard error.
func (h *Host) Exec(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd, err := h.Command(ctx, name, args...)
	if err != nil {
		return nil, err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s on %s: %w: %s", strings.Join(append([]string{name}, args...), " "), h.Name(), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}
