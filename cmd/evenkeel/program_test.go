package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/doctor"
	"github.com/evenkeel/evenkeel/reconciler/drift"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// canned is a controller that does what a test tells it to.
type canned struct {
	plan   plan.Plan
	drift  drift.Report
	doctor doctor.Report
	result reconciler.Result
	err    error
	apply  func(ctx context.Context, stop <-chan struct{}) (reconciler.Result, error)
	run    func(ctx context.Context, stop <-chan struct{}) error
	ready  string

	uninstalled []bool // whether volumes were to go too
	removed     reconciler.Uninstalled
	closed      bool
}

func (c *canned) Plan(context.Context) (plan.Plan, error) { return c.plan, c.err }
func (c *canned) Apply(ctx context.Context, stop <-chan struct{}) (reconciler.Result, error) {
	if c.apply != nil {
		return c.apply(ctx, stop)
	}
	return c.result, c.err
}
func (c *canned) Run(ctx context.Context, stop <-chan struct{}) error { return c.run(ctx, stop) }
func (c *canned) Status(context.Context) (reconciler.Status, error) {
	return reconciler.Status{Fleet: "production"}, c.err
}
func (c *canned) Current() reconciler.Status                  { return reconciler.Status{Fleet: "production"} }
func (c *canned) CurrentPlan() plan.Plan                      { return c.plan }
func (c *canned) Drift(context.Context) (drift.Report, error) { return c.drift, c.err }
func (c *canned) CurrentDrift() drift.Report                  { return c.drift }
func (c *canned) Examine(context.Context) (doctor.Report, error) {
	return c.doctor, c.err
}
func (c *canned) Ready() string { return c.ready }
func (c *canned) Leading() (acts bool, hosts map[string]bool) {
	return c.ready == "", map[string]bool{"hn1": true}
}
func (c *canned) Uninstall(_ context.Context, volumes bool) (reconciler.Uninstalled, error) {
	c.uninstalled = append(c.uninstalled, volumes)
	return c.removed, c.err
}
func (c *canned) Close() error { c.closed = true; return nil }

func drifted() drift.Report {
	return drift.Report{Drift: []drift.Finding{{Host: "hn1", What: drift.Node, Node: "shop/web/3", Field: "state", Wanted: "running", Found: "paused"}}}
}

func ailing(s doctor.Severity, well bool) doctor.Report {
	return doctor.Report{Fleet: "production", Well: well, Findings: []doctor.Finding{{Severity: s, Area: doctor.Host, Host: "hn1", What: "it is out of reach", Remedy: "start it"}}}
}

// safeBuffer is written to and read from different goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// testProgram is a program with a canned controller; what is sent on signals interrupts it.
func testProgram(c *canned) (p *program, setup *controllerSetup, signals chan os.Signal) {
	setup, signals = &controllerSetup{}, make(chan os.Signal, 3)
	return &program{
		in: strings.NewReader(""), out: &safeBuffer{}, err: &safeBuffer{}, signals: signals,
		getenv: func(name string) string { return map[string]string{"HOME": "/root", "XDG_STATE_HOME": "/state"}[name] },
		open: func(s controllerSetup) (controller, io.Closer, error) {
			*setup = s
			return c, c, nil
		},
	}, setup, signals
}

func changes() plan.Plan {
	return plan.Plan{Revision: "8f3c2a1b9d0e", HasChanges: true, Layers: []plan.Layer{{Environment: "shop", Layer: "web"}}}
}

func removed() reconciler.Uninstalled {
	return reconciler.Uninstalled{
		Fleet: "production", Hosts: 2, Nodes: 3, Networks: 2, Keepers: 2,
		Kept: []reconciler.KeptVolume{{Host: "hn1", Volume: "production_shop_db_1_data"}},
	}
}

func TestExitStatus(t *testing.T) {
	failed := errors.New("creating node 3 of shop/web on hn1: " + context.DeadlineExceeded.Error())
	tests := []struct {
		name   string
		args   []string
		on     canned
		status int
		out    string
		err    string
	}{
		{"plan without changes", []string{"plan", "--exit-code"}, canned{}, 0, "Nothing to change", ""},
		{"plan with changes", []string{"plan"}, canned{plan: changes()}, 0, "Plan for revision 8f3c2a1b", ""},
		{"plan with changes, asked to tell", []string{"plan", "--exit-code", "-o", "json"}, canned{plan: changes()}, 2, `"hasChanges": true`, ""},
		{"plan as markdown", []string{"plan", "-o", "markdown"}, canned{plan: changes()}, 0, "### evenkeel plan", ""},
		{"plan that failed", []string{"plan"}, canned{err: failed}, 1, "", "evenkeel: creating node 3 of shop/web on hn1: no answer in time"},
		{"no drift", []string{"drift", "--exit-code"}, canned{}, 0, "no drift", ""},
		{"drift", []string{"drift"}, canned{drift: drifted()}, 0, "shop/web/3", ""},
		{"drift, asked to tell", []string{"drift", "--exit-code", "-o", "json"}, canned{drift: drifted()}, 2, `"found": "paused"`, ""},
		{"drift as markdown", []string{"drift", "-o", "markdown"}, canned{drift: drifted()}, 0, "### evenkeel drift", ""},
		{"drift that isn't known", []string{"drift", "--exit-code"}, canned{drift: drift.Report{Unknown: []string{"host hn2"}}}, 1, "unknown: host hn2", "1 thing could not be read"},
		{"drift that failed", []string{"drift"}, canned{err: failed}, 1, "", "no answer in time"},
		{"converged", []string{"apply"}, canned{result: reconciler.Result{Converged: true}}, 0, "everything matches", ""},
		{"not converged", []string{"apply"}, canned{result: reconciler.Result{}}, 1, "Not converged", ""},
		{"apply that failed", []string{"apply"}, canned{err: failed}, 1, "", "no answer in time"},
		{"uninstalled", []string{"uninstall"}, canned{removed: removed()}, 0, "Removed of fleet production: 3 nodes, 2 networks, 2 keepers, 0 volumes; 2 hosts cleared.\n" +
			"Volumes kept, with what is in them (--volumes removes them too):\n  hn1  production_shop_db_1_data\n", ""},
		{"uninstalled, for programs", []string{"uninstall", "-o", "json"}, canned{removed: removed()}, 0, `"volume": "production_shop_db_1_data"`, ""},
		{"uninstalled, as markdown", []string{"uninstall", "-o", "markdown"}, canned{removed: removed()}, 0, "| `hn1` | `production_shop_db_1_data` |", ""},
		{"uninstalled in part", []string{"uninstall"}, canned{removed: removed(), err: failed}, 1, "Removed of fleet production", "no answer in time"},
		{"not uninstalled", []string{"uninstall"}, canned{err: failed}, 1, "", "no answer in time"},
		{"well", []string{"doctor"}, canned{doctor: doctor.Report{Fleet: "production", Well: true}}, 0, "Fleet production is well", ""},
		{"well, with advice", []string{"doctor"}, canned{doctor: ailing(doctor.Advice, true)}, 0, "1 piece of advice", ""},
		{"not well", []string{"doctor"}, canned{doctor: ailing(doctor.Problem, false)}, 1, "it is out of reach", ""},
		{"not well, for programs", []string{"doctor", "-o", "json"}, canned{doctor: ailing(doctor.Problem, false)}, 1, `"well": false`, ""},
		{"not well, as markdown", []string{"doctor", "-o", "markdown"}, canned{doctor: ailing(doctor.Problem, false)}, 1, "| problem | host |", ""},
		{"an examination that failed", []string{"doctor"}, canned{err: failed}, 1, "", "no answer in time"},
		{"status", []string{"status", "-o", "json"}, canned{}, 0, `"environments": []`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, _, _ := testProgram(&tt.on)
			status := run(tt.args, p)
			out, said := p.out.(*safeBuffer).String(), p.err.(*safeBuffer).String()
			require.Equal(t, tt.status, status, said)
			require.Contains(t, out, tt.out)
			require.Contains(t, said, tt.err)
			if tt.err == "" {
				require.Empty(t, said)
			}
			require.True(t, tt.on.closed, "connections are let go")
		})
	}
}

func TestFlagsReachTheController(t *testing.T) {
	c := &canned{result: reconciler.Result{Converged: true}}
	p, setup, _ := testProgram(c)
	require.Zero(t, run([]string{"apply", "--repo", "r", "--ref", "v1", "--path", "p", "-e", "shop", "--keeper-image", "k", "--credentials-dir", "c"}, p))
	require.Equal(t, FleetOptions{RepositoryOptions: RepositoryOptions{Repo: "r", Ref: "v1", Path: "p"}, KeeperImage: "k", CredentialsDir: "c"}, setup.fleet)
	require.Equal(t, "shop", setup.only)
	require.Equal(t, "/state/evenkeel", setup.state)
	require.False(t, setup.worktree)

	p, setup, _ = testProgram(c)
	require.Zero(t, run([]string{"plan", "--worktree"}, p))
	require.True(t, setup.worktree)
	require.Empty(t, setup.state, "a plan keeps no journal")

	for _, volumes := range []bool{false, true} {
		c := &canned{}
		p, setup, _ := testProgram(c)
		args := []string{"uninstall"}
		if volumes {
			args = append(args, "--volumes")
		}
		require.Zero(t, run(args, p))
		require.Equal(t, []bool{volumes}, c.uninstalled)
		require.Equal(t, "/state/evenkeel", setup.state, "what is removed is in the journal")
	}
}

// The first signal lets the node at hand be finished and says so; the controller sees stop closed and its
// context alive.
func TestFirstSignalFinishesWhatIsAtHand(t *testing.T) {
	var setup *controllerSetup
	c := &canned{}
	p, setup, signals := testProgram(c)
	c.apply = func(ctx context.Context, stop <-chan struct{}) (reconciler.Result, error) {
		setup.show.Report(rollout.Progress{Time: time.Now(), Environment: "shop", Layer: "web", Node: 3, Host: "hn1", Phase: rollout.PhaseGate, Total: 3})
		signals <- os.Interrupt
		<-stop
		return reconciler.Result{}, ctx.Err()
	}
	require.Equal(t, exitInterrupted, run([]string{"apply"}, p))
	require.Contains(t, p.err.(*safeBuffer).String(), "stopping: finishing shop/web/3 on hn1 (gate), then giving back its names; Ctrl-C again stops at once")
	require.Contains(t, p.out.(*safeBuffer).String(), "Not converged")
}

func TestSecondSignalStopsAtOnce(t *testing.T) {
	c := &canned{}
	p, _, signals := testProgram(c)
	c.apply = func(ctx context.Context, stop <-chan struct{}) (reconciler.Result, error) {
		signals <- os.Interrupt
		<-stop
		signals <- os.Interrupt
		<-ctx.Done()
		return reconciler.Result{}, context.Cause(ctx)
	}
	require.Equal(t, exitInterrupted, run([]string{"apply"}, p))
	said := p.err.(*safeBuffer).String()
	require.Contains(t, said, "stopping: no node is at hand")
	require.Contains(t, said, "stopping at once")
	require.Contains(t, said, "evenkeel: interrupted")
}

func TestApplyThatConvergedInSpiteOfASignalIsDone(t *testing.T) {
	c := &canned{}
	p, _, signals := testProgram(c)
	c.apply = func(_ context.Context, stop <-chan struct{}) (reconciler.Result, error) {
		signals <- os.Interrupt
		<-stop
		return reconciler.Result{Converged: true}, nil
	}
	require.Equal(t, exitDone, run([]string{"apply"}, p))
}

func TestRunServesAndEndsWithItsSignal(t *testing.T) {
	for signal, status := range map[os.Signal]int{syscall.SIGTERM: exitDone, os.Interrupt: exitInterrupted} {
		t.Run(signal.String(), func(t *testing.T) {
			c := &canned{ready: "ann@box holds the lease"}
			p, _, signals := testProgram(c)
			p.global.Verbose = true
			started := make(chan struct{})
			c.run = func(_ context.Context, stop <-chan struct{}) error {
				close(started)
				<-stop
				return nil
			}
			go func() {
				<-started
				signals <- signal
			}()
			require.Equal(t, status, run([]string{"run", "--listen", "127.0.0.1:0"}, p))
			require.Contains(t, p.err.(*safeBuffer).String(), "serving")
		})
	}
}

func TestRunSaysThatItsAddressIsInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	p, _, _ := testProgram(&canned{})
	require.Equal(t, exitFailed, run([]string{"run", "--listen", l.Addr().String()}, p))
	require.Contains(t, p.err.(*safeBuffer).String(), "the address is in use; choose another with --listen")
}

func TestDemoTakesTheLocalEngine(t *testing.T) {
	for host, want := range map[string]string{"": localEngine, "unix:///run/user/1000/docker.sock": "unix:///run/user/1000/docker.sock", "tcp://127.0.0.1:2375": "tcp://127.0.0.1:2375"} {
		got, err := demoEndpoint(host)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := demoEndpoint("ssh://root@elsewhere")
	require.ErrorContains(t, err, "unset it to use "+localEngine)
}

func TestJournalIsKeptWhereItShouldBe(t *testing.T) {
	env := func(values map[string]string) func(string) string { return func(n string) string { return values[n] } }
	t.Setenv("HOME", "/home/ann")
	for _, tt := range []struct{ state, xdg, want string }{
		{"/var/lib/e", "/xdg", "/var/lib/e"},
		{"", "/xdg", "/xdg/evenkeel"},
		{"", "", "/home/ann/.local/state/evenkeel"},
		{"", "relative", "/home/ann/.local/state/evenkeel"},
	} {
		o := JournalOptions{State: tt.state}
		dir, err := o.dir(env(map[string]string{"XDG_STATE_HOME": tt.xdg}))
		require.NoError(t, err)
		require.Equal(t, tt.want, dir)
	}
}
