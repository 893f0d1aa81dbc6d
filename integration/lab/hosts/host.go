package hosts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Host is one Docker host of a lab. Its methods may be called by several
// goroutines at once, as far as what they ask for makes sense together.
type Host struct {
	site   site
	index  int
	config config

	mu  sync.Mutex
	cmd *exec.Cmd // the first process, as a child of this one; to be reaped
}

func newHost(l *Lab, i int) *Host {
	return &Host{site: l.site, index: i, config: l.config}
}

// Name returns h1, h2, ….
func (h *Host) Name() string { return hostName(h.index) }

// Address returns the host's address on the fabric. It stays the same over
// power cycles.
func (h *Host) Address() netip.Addr { return h.site.host(h.index) }

// Endpoint returns the engine's address over plain TCP, tcp://ADDRESS:2375.
func (h *Host) Endpoint() string { return "tcp://" + h.engineAddress() }

func (h *Host) engineAddress() string { return netip.AddrPortFrom(h.Address(), 2375).String() }

// Socket returns the path of the engine's Unix socket as seen from this
// process. It works whatever becomes of the host's network, and stays the same
// over power cycles.
func (h *Host) Socket() string { return filepath.Join(h.dir(), "run", "docker.sock") }

// EngineLog returns the path of what the engine wrote since the lab's start.
func (h *Host) EngineLog() string { return filepath.Join(h.dir(), "dockerd.log") }

func (h *Host) dir() string     { return h.site.hostDir(h.index) }
func (h *Host) pidFile() string { return filepath.Join(h.dir(), "init.pid") }
func (h *Host) cgroup() string  { return h.site.cgroup() + "/" + h.Name() }

// Running reports whether the host has power.
func (h *Host) Running() bool {
	p, err := h.init()
	return err == nil && p.alive()
}

// init returns the host's first process; it is an error when it was never
// started or is powered off, but not when it died by itself.
func (h *Host) init() (process, error) {
	data, err := os.ReadFile(h.pidFile())
	if errors.Is(err, fs.ErrNotExist) {
		return process{}, fmt.Errorf("%s has no power", h.Name())
	}
	if err != nil {
		return process{}, fmt.Errorf("%s: %w", h.Name(), err)
	}
	return parseProcess(string(data))
}

// pid returns the number of the first process of a running host.
func (h *Host) pid() (int, error) {
	p, err := h.init()
	if err == nil && !p.alive() {
		err = fmt.Errorf("%s has no power", h.Name())
	}
	return p.pid, err
}

// PowerOn starts the host with the disk that it had and returns when its
// engine answers. Its cable is in again, if it was cut.
func (h *Host) PowerOn(ctx context.Context) error {
	if h.Running() {
		return fmt.Errorf("powering %s on: it has power", h.Name())
	}
	err := h.PowerOff(ctx) // what is left where it ended by itself
	if err == nil {
		err = h.boot(ctx)
	}
	if err == nil {
		err = h.StartEngine(ctx)
	}
	if err != nil {
		return fmt.Errorf("powering %s on: %w", h.Name(), err)
	}
	return nil
}

// boot starts the host without its engine.
func (h *Host) boot(ctx context.Context) (err error) {
	if err := h.prepareDisk(); err != nil {
		return err
	}
	init, err := startInit(h.site, h.index)
	if err != nil {
		return err
	}
	defer init.close()
	defer func() {
		if err != nil {
			err = errors.Join(err, init.kill())
		}
	}()
	p, err := findProcess(init.cmd.Process.Pid)
	if err != nil {
		return err
	}
	if err := os.WriteFile(h.pidFile(), []byte(p.String()), 0o644); err != nil {
		return err
	}
	if err := init.awaitReady(ctx); err != nil {
		return err
	}
	if err := h.site.plug(ctx, h.index, p.pid); err != nil {
		return err
	}
	if err := init.permit(); err != nil {
		return err
	}
	h.mu.Lock()
	h.cmd = init.cmd
	h.mu.Unlock()
	return nil
}

// prepareDisk keeps what a disk keeps. /run is no disk, and lies on the lab's
// only for the engine's socket to be seen from outside.
func (h *Host) prepareDisk() error {
	run := filepath.Join(h.dir(), "run")
	if err := os.RemoveAll(run); err != nil {
		return err
	}
	for _, dir := range []string{run, filepath.Join(run, "lock"), filepath.Join(h.dir(), "docker"), filepath.Join(h.dir(), "etc")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	resolver := fmt.Sprintf("nameserver %s\n", h.site.manager())
	return os.WriteFile(filepath.Join(h.dir(), "resolv.conf"), []byte(resolver), 0o644)
}

// PowerOff cuts the host's power: nothing on it has time to say goodbye, not
// even its network. The disk is kept. It does nothing to a host without power.
func (h *Host) PowerOff(ctx context.Context) error {
	p, err := h.init()
	if err == nil {
		// The cable first, or the kernel closes connections with a FIN that no
		// power cut sends.
		err = errors.Join(h.site.unplug(ctx, h.index), p.end(ctx, unix.SIGKILL))
		h.reap()
		if err == nil {
			err = os.Remove(h.pidFile())
		}
	} else {
		err = nil
	}
	if err := errors.Join(err, removeCgroup(ctx, h.cgroup())); err != nil {
		return fmt.Errorf("powering %s off: %w", h.Name(), err)
	}
	return nil
}

// reap takes the exit status of a first process that ended.
func (h *Host) reap() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cmd == nil {
		return
	}
	_ = h.cmd.Wait() // killed, which is no news
	h.cmd = nil
}

// firstProcess is a host between its creation and its going on by itself.
type firstProcess struct {
	cmd          *exec.Cmd
	permitWriter *os.File
	reportReader *os.File
}

func startInit(s site, i int) (_ *firstProcess, err error) {
	permitReader, permitWriter, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer permitReader.Close()
	reportReader, reportWriter, err := os.Pipe()
	if err != nil {
		permitWriter.Close()
		return nil, err
	}
	defer reportWriter.Close()
	cmd := exec.Command(self)
	cmd.Args[0] = "evenkeel-lab-host"
	cmd.Env = append(environment(), stageVar+"="+stageInit, siteVar+"="+strconv.Itoa(int(s)), hostVar+"="+strconv.Itoa(i))
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{permitFd - 3: permitReader, reportFd - 3: reportWriter}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}
	f := &firstProcess{cmd: cmd, permitWriter: permitWriter, reportReader: reportReader}
	if err := cmd.Start(); err != nil {
		f.close()
		return nil, fmt.Errorf("making the host's namespaces: %w", err)
	}
	return f, nil
}

// awaitReady returns when the host is furnished.
func (f *firstProcess) awaitReady(ctx context.Context) error {
	deadline, _ := ctx.Deadline() // none is the zero time, which means none here too
	if err := f.reportReader.SetReadDeadline(deadline); err != nil {
		return err
	}
	report, err := io.ReadAll(f.reportReader)
	if err == nil && string(report) != reportReady {
		err = fmt.Errorf("%s", report)
	}
	if err != nil {
		return fmt.Errorf("furnishing the host: %w", err)
	}
	return nil
}

// permit lets it go on by itself, whatever becomes of its owner.
func (f *firstProcess) permit() error {
	_, err := f.permitWriter.Write([]byte{0})
	return err
}

func (f *firstProcess) kill() error {
	err := f.cmd.Process.Kill()
	_ = f.cmd.Wait()
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

func (f *firstProcess) close() {
	f.permitWriter.Close()
	f.reportReader.Close()
}
