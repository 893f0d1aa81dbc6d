package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/evenkeel/evenkeel/reconciler/drift"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// How often drift is made, and looked for.
const (
	kills = 50
	looks = 20
)

const confPath = "/etc/app.conf"

// withFile is a layer whose nodes have a file each.
func withFile(replicas int) string {
	return strings.TrimSuffix(layer("web", replicas, 1), "\n") + "\n      files: [{path: " + confPath + ", content: \"a = 1\"}]\n"
}

// process runs evenkeel's own binary on the site.
func (s *site) process(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "EVENKEEL_REPO="+s.dir, "EVENKEEL_STATE="+s.b.TempDir())
	return cmd
}

// From a kill to the report of a running evenkeel, as its API gives it. The clock starts before the engine is
// asked to kill.
func BenchmarkKillToReport(b *testing.B) {
	s, r := newSite(b), openBare(b)
	s.environment(layer("web", 10, 1))
	s.apply()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	address := listener.Addr().String()
	require.NoError(b, listener.Close())
	cmd := s.process(b.Context(), "run", "--interval", "10m", "--listen", address)
	require.NoError(b, cmd.Start())
	defer func() {
		require.NoError(b, cmd.Process.Signal(syscall.SIGTERM))
		require.NoError(b, cmd.Wait())
	}()
	report := func() (r drift.Report, ok bool) {
		resp, err := http.Get("http://" + address + "/api/v1/drift")
		if err != nil {
			return r, false
		}
		defer resp.Body.Close()
		return r, json.NewDecoder(resp.Body).Decode(&r) == nil && len(r.Unknown) == 0
	}
	calm := func() bool { r, ok := report(); return ok && len(r.Drift) == 0 }
	wait(b, calm)
	ids := r.templates(s.name, "web")
	var took []time.Duration
	for i := range times(kills) {
		name := strings.TrimPrefix(ids[i%len(ids)].name, "bare")
		begun := time.Now()
		require.NoError(b, r.cli.ContainerKill(b.Context(), name, "KILL"))
		wait(b, func() bool {
			r, _ := report()
			return slices.ContainsFunc(append(r.Drift, r.Ended...), func(f drift.Finding) bool { return f.Name == name && !f.Since.Before(begun) })
		})
		took = append(took, time.Since(begun))
		wait(b, calm)
		wait(b, func() bool {
			in, err := r.cli.ContainerInspect(b.Context(), name)
			return err == nil && in.State.Running
		})
	}
	m, worst := median(took), slices.Max(took)
	b.ReportMetric(float64(m.Microseconds())/1000, "ms")
	b.ReportMetric(float64(worst.Microseconds())/1000, "worst-ms")
	note("from a kill to the report", show(m), "", "worst "+show(worst), "< 1s", worst < time.Second)
}

// `evenkeel drift` over 100 nodes with a file each, as a process from its start to its end, against the calls
// that read the same, over connections of their own.
func BenchmarkDriftOverHundred(b *testing.B) {
	s := newSite(b)
	s.environment(withFile(100))
	s.apply()
	var ours, theirs []time.Duration
	for i := range times(looks) + 1 {
		cmd := s.process(b.Context(), "drift", "--exit-code")
		begun := time.Now()
		out, err := cmd.CombinedOutput()
		took := time.Since(begun)
		require.NoError(b, err, "%s", out)
		r := openBare(b)
		begun = time.Now()
		require.Equal(b, 101, r.readAll(s.name))
		if i > 0 {
			ours, theirs = append(ours, took), append(theirs, time.Since(begun))
		}
	}
	ratio(b, "evenkeel drift, 100 nodes", ours, theirs, 2)
}

// readAll reads what drift reads: the engine's facts, its networks and volumes, one filtered list, an inspect of
// each, a look at each one's file, and what the image's name stands for.
func (r *bare) readAll(fleetName string) int {
	g, ctx := errgroup.WithContext(r.b.Context())
	labelled := filters.NewArgs(filters.Arg("label", fleet.LabelFleet+"="+fleetName))
	var list []container.Summary
	g.Go(func() error { _, err := r.cli.Info(ctx); return err })
	g.Go(func() error { _, err := r.cli.NetworkList(ctx, network.ListOptions{}); return err })
	g.Go(func() error { _, err := r.cli.VolumeList(ctx, volume.ListOptions{Filters: labelled}); return err })
	g.Go(func() error { _, err := r.cli.ImageInspect(ctx, "node:1"); return err })
	g.Go(func() (err error) {
		list, err = r.cli.ContainerList(ctx, container.ListOptions{All: true, Filters: labelled})
		return err
	})
	require.NoError(r.b, g.Wait())
	g, ctx = errgroup.WithContext(r.b.Context())
	g.SetLimit(atOnce)
	for _, c := range list {
		g.Go(func() error {
			if _, err := r.cli.ContainerInspect(ctx, c.ID); err != nil || c.Labels[fleet.LabelNode] == "" {
				return err
			}
			st, err := r.cli.ContainerStatPath(ctx, c.ID, confPath)
			if err == nil && st.Size != 5 {
				err = fmt.Errorf("%s has %d bytes", confPath, st.Size)
			}
			return err
		})
	}
	require.NoError(r.b, g.Wait())
	return len(list)
}
