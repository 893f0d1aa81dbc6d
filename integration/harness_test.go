package integration

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/integration/lab/image"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

var fleets atomic.Int64

// site is one test's fleet: a git repository, a name that no other test uses, and the hosts that it names.
type site struct {
	t     *testing.T
	dir   string // the repository
	state string
	fleet string
	hosts []*hosts.Host
	extra string // of the Fleet's spec
	// reach is how hosts are reached that aren't reached over plain tcp; credentials is where their files are.
	reach       map[string]spec.Host
	credentials string
	public      map[string]string // hosts' public addresses
	env         []string          // more for evenkeel's environment
	through     []string          // what runs evenkeel; nothing: it is run by itself
	program     string            // another evenkeel than the one under test; empty: that
	more        string            // keys of each host
	driver      string            // of networks; empty: bridge
	last        []func()          // what is done once the site has been cleared
}

// newSite makes a repository with a fleet over the given hosts. What evenkeel put onto them is removed at
// the test's end.
func newSite(t *testing.T, on ...*hosts.Host) *site {
	t.Helper()
	s := makeSite(t, on...)
	t.Cleanup(func() {
		for _, f := range s.last {
			defer f()
		}
		s.clear()
	})
	return s
}

// makeSite is newSite on hosts that are removed with what is on them.
func makeSite(t *testing.T, on ...*hosts.Host) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), state: t.TempDir(), hosts: on, fleet: fmt.Sprintf("t%d", fleets.Add(1))}
	s.git("init", "-q", "-b", "main")
	s.writeFleet()
	return s
}

// pool gives each fleet a part of its own, since the fleets of parallel tests share hosts.
func (s *site) pool() string {
	var n int
	_, err := fmt.Sscanf(s.fleet, "t%d", &n)
	require.NoError(s.t, err)
	return fmt.Sprintf("10.%d.%d.0/20", 112+n/16, n%16*16)
}

// atEnd has something done once the site has been cleared.
func (s *site) atEnd(f func()) { s.last = append(s.last, f) }

func (s *site) writeFleet() {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: evenkeel.dev/v1\nkind: Fleet\nmetadata: {name: %s}\nspec:\n  hosts:\n", s.fleet)
	for _, h := range s.hosts {
		e := s.entry(h)
		fmt.Fprintf(&b, "    - {name: %s, endpoint: %q, capacity: {memory: 64Gi, cpu: \"64\"}, insecure: %t", e.Name, e.Endpoint, e.Insecure)
		if e.TLS != (spec.TLS{}) {
			fmt.Fprintf(&b, ", tls: {ca: %q, cert: %q, key: %q}", e.TLS.CA, e.TLS.Cert, e.TLS.Key)
		}
		if e.SSH != (spec.SSH{}) {
			fmt.Fprintf(&b, ", ssh: {key: %q, knownHosts: %q}", e.SSH.Key, e.SSH.KnownHosts)
		}
		if e.Address != "" {
			fmt.Fprintf(&b, ", address: %q", e.Address)
		}
		if a := s.public[h.Name()]; a != "" {
			fmt.Fprintf(&b, ", publicAddresses: [%s]", a)
		}
		b.WriteString(s.more + "}\n")
	}
	fmt.Fprintf(&b, "  network: {driver: %s, pool: %s}\n  prune: {maxShare: 100%%}\n%s", cmp.Or(s.driver, "bridge"), s.pool(), s.extra)
	s.write("fleet.yaml", b.String())
}

// entry is a host as the Fleet names it.
func (s *site) entry(h *hosts.Host) spec.Host {
	if e, ok := s.reach[h.Name()]; ok {
		return e
	}
	return spec.Host{Name: h.Name(), Endpoint: h.Endpoint(), Insecure: true}
}

// write writes a file of the repository.
func (s *site) write(name, content string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(s.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(s.t, os.WriteFile(path, []byte(content), 0o600))
}

// read reads a file of the repository.
func (s *site) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	require.NoError(s.t, err)
	return string(b)
}

// environment writes an environment's layers, indented by four, and commits all.
func (s *site) environment(name, layers string) {
	s.t.Helper()
	s.write(name+".yaml", fmt.Sprintf("apiVersion: evenkeel.dev/v1\nkind: Environment\nmetadata: {name: %s}\nspec:\n  layers:\n%s", name, layers))
	s.commit()
}

func (s *site) commit() {
	s.t.Helper()
	s.git("add", "-A")
	s.git("commit", "-q", "--allow-empty", "-m", "change")
}

func (s *site) git(args ...string) {
	s.t.Helper()
	s.gitOutput(args...)
}

func (s *site) gitOutput(args ...string) string {
	s.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", s.dir, "-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
	out, err := cmd.CombinedOutput()
	require.NoError(s.t, err, "%s", out)
	return string(out)
}

// head is the newest revision.
func (s *site) head() string {
	s.t.Helper()
	return strings.TrimSpace(s.gitOutput("rev-parse", "HEAD"))
}

// outcome is what a run of evenkeel left.
type outcome struct {
	stdout, stderr string
	code           int
}

func (o outcome) String() string {
	return fmt.Sprintf("exit status %d\n--- stdout\n%s--- stderr\n%s", o.code, o.stdout, o.stderr)
}

// evenkeel runs a command on the site's repository to its end.
func (s *site) evenkeel(args ...string) outcome {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return s.command(ctx, args...).wait()
}

// process is a running evenkeel.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr output
	done           chan struct{}
}

func (s *site) command(ctx context.Context, args ...string) *process {
	s.t.Helper()
	p := &process{t: s.t, done: make(chan struct{})}
	args = append(append(slices.Clone(s.through), cmp.Or(s.program, program)), args...)
	p.cmd = exec.CommandContext(ctx, args[0], args[1:]...)
	p.cmd.Env = append(os.Environ(), "EVENKEEL_REPO="+s.dir, "EVENKEEL_STATE="+s.state, "EVENKEEL_CREDENTIALS_DIR="+s.credentials)
	p.cmd.Env = append(p.cmd.Env, s.env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	require.NoError(s.t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait() // its exit status is read from ProcessState
		close(p.done)
	}()
	s.t.Cleanup(func() { p.kill() })
	return p
}

// output is what a process writes; it can be read while it runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (p *process) wait() outcome {
	p.t.Helper()
	<-p.done
	return outcome{stdout: p.stdout.String(), stderr: p.stderr.String(), code: p.cmd.ProcessState.ExitCode()}
}

func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); !errors.Is(err, os.ErrProcessDone) {
		require.NoError(p.t, err)
	}
}

func (p *process) kill() {
	select {
	case <-p.done:
	default:
		p.signal(syscall.SIGKILL)
		<-p.done
	}
}

// apply applies and requires that it converged.
func (s *site) apply() outcome {
	s.t.Helper()
	o := s.evenkeel("apply")
	require.Equal(s.t, 0, o.code, "%s", o)
	return o
}

// status reads the fleet as evenkeel sees it.
func (s *site) status() reconciler.Status {
	s.t.Helper()
	o := s.evenkeel("status", "-o", "json")
	require.Equal(s.t, 0, o.code, "%s", o)
	var st reconciler.Status
	require.NoError(s.t, json.Unmarshal([]byte(o.stdout), &st), "%s", o)
	return st
}

// layer finds a layer in a status.
func layer(t *testing.T, st reconciler.Status, environment, name string) reconciler.LayerStatus {
	t.Helper()
	for _, e := range st.Environments {
		for _, l := range e.Layers {
			if e.Name == environment && l.Name == name {
				return l
			}
		}
	}
	require.Failf(t, "no such layer", "%s/%s in %+v", environment, name, st)
	return reconciler.LayerStatus{}
}

// engine opens a host's engine beside evenkeel.
func engine(t *testing.T, h *hosts.Host) *docker.Host {
	t.Helper()
	return openEngine(t, spec.Host{Name: h.Name(), Endpoint: h.Endpoint(), Insecure: true}, "")
}

func openEngine(t *testing.T, entry spec.Host, credentials string) *docker.Host {
	t.Helper()
	e, err := docker.Open(entry, docker.Options{CredentialsDir: credentials})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

// observe reads what is really there of the site's fleet.
func (s *site) observe(h *hosts.Host) fleet.HostState {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	st := openEngine(s.t, s.entry(h), s.credentials).Observe(ctx, s.fleet)
	require.True(s.t, st.Reachable, "%s", st.Problem)
	return st
}

// clear removes all of the fleet.
func (s *site) clear() {
	o := s.evenkeel("uninstall", "--volumes")
	// What was killed holds its leases for a moment still.
	for end := time.Now().Add(patience); strings.Contains(o.stderr, "is at work on this fleet") && time.Now().Before(end); {
		o = s.evenkeel("uninstall", "--volumes")
	}
	if o.code != 0 {
		s.t.Errorf("uninstalling at the test's end: %s", o)
		return
	}
	for _, h := range s.hosts {
		st := s.observe(h)
		if len(st.Instances) > 0 || len(st.Keepers) > 0 || len(st.Volumes) > 0 || st.Links != nil {
			s.t.Errorf("uninstall left something on %s: %+v", h.Name(), st)
		}
	}
}

// eventually waits for a condition that holds without an error.
func eventually(t *testing.T, within time.Duration, f func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			require.NoError(t, err, "not within %s", within)
		}
		<-tick.C
	}
}

// network is the name of an environment's network.
func (s *site) network(environment string) string { return fleet.NetworkName(s.fleet, environment) }

func enough(have, want int) error {
	if have < want {
		return fmt.Errorf("%d of %d", have, want)
	}
	return nil
}

// registry starts one that the lab's engines can reach; the function it returns pushes an image of
// integration/lab/node and returns its full reference, by its tag and by its digest.
func registry(t *testing.T) func(ref, version string) (tagged, digested string) {
	t.Helper()
	_, push := startRegistry(t)
	return push
}

func startRegistry(t *testing.T) (r *image.Registry, push func(ref, version string) (tagged, digested string)) {
	t.Helper()
	return startRegistryFor(t, lab)
}

// startRegistryFor starts one that the engines of a lab of its own can reach.
func startRegistryFor(t *testing.T, l *hosts.Lab) (r *image.Registry, push func(ref, version string) (tagged, digested string)) {
	t.Helper()
	r, err := image.StartRegistry(l.Manager())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r, func(ref, version string) (string, string) {
		img, err := image.New(ref, nodes, image.Config{Labels: map[string]string{"version": version}})
		require.NoError(t, err)
		full, err := r.Push(t.Context(), img)
		require.NoError(t, err)
		digest, err := img.Digest()
		require.NoError(t, err)
		name, _, _ := strings.Cut(full[strings.LastIndex(full, "/")+1:], ":")
		return full, full[:strings.LastIndex(full, "/")+1] + name + "@" + digest
	}
}
