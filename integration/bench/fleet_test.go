package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/wire"
	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/drivers/git"
	"github.com/evenkeel/evenkeel/keeper"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
	"github.com/evenkeel/evenkeel/spec"
)

// site is a fleet of one host in a git repository, with a controller in this process.
type site struct {
	b          *testing.B
	dir        string
	name       string
	controller *reconciler.Controller
	calls      *calls
}

var fleets int

// plain is how the fleet's host is reached where nothing else is said.
func plain() string { return fmt.Sprintf("endpoint: %q, insecure: true", lab.Host(1).Endpoint()) }

func newSite(b *testing.B) *site { return newSiteOver(b, plain()) }

// newSiteOver is newSite with what the Fleet says of how its host is reached.
func newSiteOver(b *testing.B, way string) *site {
	return openSite(b, fmt.Sprintf("    - {name: %s, %s, address: %s, capacity: {memory: 64Gi, cpu: \"64\"}}\n", lab.Host(1).Name(), way, lab.Host(1).Address()))
}

// openSite is a fleet of the given hosts.
func openSite(b *testing.B, hosts string) *site {
	fleets++
	s := &site{b: b, dir: b.TempDir(), name: fmt.Sprintf("bench%d", fleets), calls: newCalls()}
	s.git("init", "-q", "-b", "main")
	s.write("fleet.yaml", fmt.Sprintf(`apiVersion: evenkeel.dev/v1
kind: Fleet
metadata: {name: %s}
spec:
  hosts:
%s  prune: {maxShare: 100%%}
`, s.name, hosts))
	source, err := git.Open(git.Options{Repo: s.dir, Interval: time.Minute})
	require.NoError(b, err)
	s.controller = reconciler.New(reconciler.Options{
		Source: repository{source},
		Open: func(h spec.Host) (reconciler.Engine, error) {
			e, err := docker.Open(h, docker.Options{})
			return recorded{e, s.calls}, err
		},
		DialKeeper:    wire.DialKeeper,
		KeeperImage:   wire.KeeperImage(program),
		KeeperVersion: keeper.Version,
		Holder:        "bench",
		Notice: func(n reconciler.Notice) {
			if n.Level != "info" {
				b.Logf("%s: %s", n.Host, n.Message)
			}
		},
		Report: func(p rollout.Progress) {
			if p.Error != "" {
				b.Logf("%s/%s/%d: %s", p.Environment, p.Layer, p.Node, p.Error)
			}
		},
	})
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		_, err := s.controller.Uninstall(ctx, true)
		require.NoError(b, err)
		require.NoError(b, s.controller.Close())
	})
	return s
}

// repository is a [git.Source] as the reconciler wants it.
type repository struct{ *git.Source }

func (r repository) Fetch(ctx context.Context) (reconciler.Revision, error) {
	rev, err := r.Source.Fetch(ctx)
	return reconciler.Revision{ID: rev.ID, Files: rev.Files, Warnings: rev.Warnings}, err
}

func (s *site) write(name, content string) {
	require.NoError(s.b, os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600))
}

func (s *site) git(args ...string) {
	cmd := exec.Command("git", append([]string{"-C", s.dir, "-c", "user.name=b", "-c", "user.email=b@example.com", "-c", "gc.auto=0"}, args...)...)
	out, err := cmd.CombinedOutput()
	require.NoError(s.b, err, "%s", out)
}

// environment writes the environment's layers and commits.
func (s *site) environment(layers string) {
	s.write("shop.yaml", "apiVersion: evenkeel.dev/v1\nkind: Environment\nmetadata: {name: shop}\nspec:\n  layers:\n"+layers)
	s.git("add", "-A")
	s.git("commit", "-q", "--allow-empty", "-m", "change")
}

// layer is one without ports, so that nothing is waited for but its process.
func layer(name string, replicas, version int) string {
	return fmt.Sprintf(`    - name: %s
      image: node:1
      replicas: %d
      env: {VERSION: "%d"}
      updatePolicy: {strategy: simultaneous, removeFromDNS: false, minHealthy: 0s, delay: 0s}
`, name, replicas, version)
}

// anchor keeps the environment's network and the keeper in it while other layers come and go.
var anchor = layer("anchor", 1, 1)

// apply makes a pass, requires that it converged, and returns how long it took and its calls.
func (s *site) apply() (time.Duration, []call) {
	ctx, cancel := context.WithTimeout(s.b.Context(), 5*time.Minute)
	defer cancel()
	s.calls.taken()
	begun := time.Now()
	r, err := s.controller.Apply(ctx, nil)
	took := time.Since(begun)
	require.NoError(s.b, err)
	require.True(s.b, r.Converged, "%+v %v", r.Problems, r.Left.Refused)
	return took, s.calls.taken()
}
