package hosts

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The program that imports this package runs itself again, with these
// variables saying as what.
const (
	stageVar = "EVENKEEL_LAB_STAGE"
	siteVar  = "EVENKEEL_LAB_SITE"
	hostVar  = "EVENKEEL_LAB_HOST"

	stageInit  = "init"
	stageWatch = "watch"
)

// self is this program, even when its file has been removed since.
const self = "/proc/self/exe"

// init is where such a run ends: it never comes to main or to a test.
func init() {
	stage := os.Getenv(stageVar)
	if stage == "" {
		return
	}
	err := runStage(stage)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runStage(stage string) error {
	s, err := siteOf(os.Getenv(siteVar))
	if err != nil {
		return fmt.Errorf("%s: %w", siteVar, err)
	}
	if stage == stageWatch {
		return runWatcher(s)
	}
	i, err := strconv.Atoi(os.Getenv(hostVar))
	if err != nil {
		return fmt.Errorf("%s: %w", hostVar, err)
	}
	return runInit(s, i)
}

// Descriptors that the first process of a host has besides the usual three.
const (
	permitFd = 3 // read end: a byte allows it to go on; its end means that the owner died
	reportFd = 4 // write end: reportReady, or what went wrong
)

const reportReady = "ready"

// runInit is the first process of a host. It makes the new namespaces into a
// machine, waits until its owner has written down that it exists and given it
// a network, and becomes docker-init, which reaps what the engine orphans.
func runInit(s site, i int) error {
	unix.CloseOnExec(permitFd)
	unix.CloseOnExec(reportFd)
	report := os.NewFile(reportFd, "report")
	if err := furnish(s, i); err != nil {
		fmt.Fprint(report, err)
		return err
	}
	if _, err := io.WriteString(report, reportReady); err != nil {
		return err
	}
	report.Close()
	if n, err := os.NewFile(permitFd, "permit").Read(make([]byte, 1)); n == 0 {
		return fmt.Errorf("the owner is gone: %w", err)
	}
	path, err := program("docker-init")
	if err != nil {
		return err
	}
	return unix.Exec(path, []string{"docker-init", "-s", "--", "sleep", "infinity"}, environment())
}

// furnish gives the host what must not be shared with the machine: its
// processes, run-time files, engine data and identity.
func furnish(s site, i int) error {
	dir := s.hostDir(i)
	// Slave, so that what the machine unmounts later is not held here.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("separating the mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	// What the machine's engine and other labs have mounted would be held here
	// where the machine's mounts are private, so that no unmounting gets through.
	if err := detachBelow("/var/lib/docker"); err != nil {
		return err
	}
	for _, b := range []struct{ from, to string }{
		{"docker", "/var/lib/docker"},
		{"etc", "/etc/docker"}, // holds key.json on older engines: shared, all would have one ID
		{"run", "/tmp"},        // on its way to /run
	} {
		if err := bind(filepath.Join(dir, b.from), b.to); err != nil {
			return err
		}
	}
	if err := bindResolvConf(dir); err != nil {
		return err
	}
	if err := detachBelow("/run"); err != nil { // the lab's own disk too: from here on dir is gone
		return err
	}
	if err := unix.Mount("/tmp", "/run", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving the host's /run into place: %w", err)
	}
	if err := unix.Mount("tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
		return fmt.Errorf("mounting /tmp: %w", err)
	}
	if err := unix.Sethostname([]byte(s.hostName(i))); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	return nil
}

func bind(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return fmt.Errorf("making a mount point: %w", err)
	}
	return bindOn(from, to)
}

func bindOn(from, to string) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting %s on %s: %w", from, to, err)
	}
	return nil
}

// bindResolvConf gives the host a resolver configuration that is the same on
// every machine; engines copy it into containers. A link into /run, which is
// about to be the host's own, gets its target there.
func bindResolvConf(dir string) error {
	const path = "/etc/resolv.conf"
	from := filepath.Join(dir, "resolv.conf")
	target, err := os.Readlink(path)
	if err != nil {
		if _, err := os.Stat(path); err == nil {
			return bindOn(from, path)
		}
		return nil // no such file on this machine: engines have a default of their own
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(path), target)
	}
	inRun, ok := strings.CutPrefix(target, "/run/")
	if !ok {
		return bindOn(from, target)
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	to := filepath.Join(dir, "run", inRun)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}
