package hosts_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
)

// ownerVar makes this test binary into a process that owns a lab until it is
// killed. It says "ready" once the lab is up.
const (
	ownerVar      = "LAB_TEST_OWNER"
	ownerStays    = "stays"
	ownerDetaches = "detaches" // and ends
)

func runOwner() {
	lab, err := hosts.New(context.Background(), 2)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if os.Getenv(ownerVar) == ownerDetaches {
		if err := lab.Detach(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("ready")
		return
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is gone, should it not kill this
	_ = lab.Close()
}

// owner is a child process that owns a lab.
type owner struct {
	cmd     *exec.Cmd
	stdout  *bufio.Reader
	lab     int
	watcher int
}

// startOwner returns as soon as the child's watcher runs, which is before
// anything of its lab is made.
func startOwner(t *testing.T, how string) *owner {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), ownerVar+"="+how)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	o := &owner{cmd: cmd, stdout: bufio.NewReader(stdout)}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.Eventually(t, o.findWatcher, patience, time.Millisecond)
	return o
}

// findWatcher looks for a child of the owner that was started as a watcher.
func (o *owner) findWatcher() bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", o.cmd.Process.Pid))
	for _, file := range threads {
		data, _ := os.ReadFile(file)
		for _, pid := range strings.Fields(string(data)) {
			environ, _ := os.ReadFile(filepath.Join("/proc", pid, "environ"))
			env := map[string]string{}
			for entry := range strings.SplitSeq(string(environ), "\x00") {
				name, value, _ := strings.Cut(entry, "=")
				env[name] = value
			}
			if env["EVENKEEL_LAB_STAGE"] != "watch" {
				continue
			}
			var err error
			if o.lab, err = strconv.Atoi(env["EVENKEEL_LAB_SITE"]); err != nil {
				return false
			}
			o.watcher, err = strconv.Atoi(pid)
			return err == nil
		}
	}
	return false
}

func (o *owner) awaitReady(t *testing.T) {
	t.Helper()
	line, err := o.stdout.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
}

func (o *owner) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, o.cmd.Process.Kill())
	_ = o.cmd.Wait()
}

func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	lab, err := hosts.New(t.Context(), 2)
	require.NoError(t, err)
	defer lab.Close()
	require.NoError(t, lab.Load(t.Context(), node(t)))
	for _, h := range lab.Hosts() {
		overTCP(h).start(t, "web", "node:1")
	}
	// The traces are seen while they are there.
	r := remainsOf(t, lab.ID(), os.Getpid())
	require.NotEmpty(t, r.processes())
	named := strings.Join(r.named(), " ")
	for _, trace := range []string{lab.Dir() + " ", lab.Dir() + ".lock ", "mountinfo", "eklab", "/sys/fs/cgroup/"} {
		require.Contains(t, named, trace)
	}

	require.NoError(t, lab.Host(1).HangEngine(t.Context()))
	require.NoError(t, lab.Host(2).Cut(t.Context()))
	require.NoError(t, lab.Close())
	require.NoError(t, lab.Close())
	r.requireGone(t)
}

func TestKilledOwnerLeavesNothing(t *testing.T) {
	t.Parallel()
	o := startOwner(t, ownerStays)
	o.awaitReady(t)
	lab, err := hosts.Open(o.lab)
	require.NoError(t, err)
	require.Equal(t, o.cmd.Process.Pid, lab.Owner())
	require.ErrorContains(t, lab.Close(), "is alive", "another's lab is not taken away")
	require.NoError(t, lab.Load(t.Context(), node(t)))
	for _, h := range lab.Hosts() {
		overTCP(h).start(t, "web", "node:1")
	}
	r := remainsOf(t, o.lab, o.cmd.Process.Pid)

	o.kill(t)
	r.requireGone(t)
}

// The owner dies at some point of its start.
func TestOwnerKilledWhileStarting(t *testing.T) {
	t.Parallel()
	for _, ms := range []int{0, 5, 15, 30, 60, 120, 400} {
		after := time.Duration(ms) * time.Millisecond
		t.Run(after.String(), func(t *testing.T) {
			o := startOwner(t, ownerStays)
			<-time.After(after) // what is tested, not a wait for something
			o.kill(t)
			remains{lab: o.lab, owner: o.cmd.Process.Pid}.requireGone(t)
		})
	}
}

// Owner and watcher are dead: the next start cleans up.
func TestStaleLabIsRemoved(t *testing.T) {
	t.Parallel()
	o := startOwner(t, ownerStays)
	o.awaitReady(t)
	r := remainsOf(t, o.lab, o.cmd.Process.Pid)
	require.NoError(t, syscall.Kill(o.watcher, syscall.SIGKILL))
	o.kill(t)
	require.NotEmpty(t, r.processes(), "nobody cleans up yet")

	hosts.Start(t, 1)
	r.requireGone(t)
}

func TestFailedStartLeavesNothing(t *testing.T) {
	t.Parallel()
	driver := fmt.Sprintf("nonsense%d", os.Getpid())
	_, err := hosts.New(t.Context(), 2, hosts.WithEngineArgs("--storage-driver="+driver))
	require.ErrorContains(t, err, driver)
	require.ErrorContains(t, err, "starting the engine of h")
	configs, err := filepath.Glob(filepath.Join(stateDir, "*", "lab.json"))
	require.NoError(t, err)
	for _, path := range configs {
		config, _ := os.ReadFile(path)
		require.NotContains(t, string(config), driver)
	}
}

func TestDetachedLabStaysUntilClosed(t *testing.T) {
	t.Parallel()
	o := startOwner(t, ownerDetaches)
	o.awaitReady(t)
	require.NoError(t, o.cmd.Wait())

	hosts.Start(t, 1) // neither takes its place nor thinks it stale
	ids, err := hosts.List()
	require.NoError(t, err)
	require.Contains(t, ids, o.lab)

	lab, err := hosts.Open(o.lab)
	require.NoError(t, err)
	require.True(t, lab.Detached())
	r := remainsOf(t, o.lab, o.cmd.Process.Pid)
	h := lab.Host(1)
	require.True(t, overTCP(h).answers())
	require.NoError(t, h.PowerOff(t.Context()))
	require.NoError(t, h.PowerOn(t.Context()))
	require.NoError(t, lab.Close())
	r.requireGone(t)
}
