package docker_test

import (
	"context"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// BenchmarkObserve compares reading 100 containers with the bare list and inspects, 4 at a time, in turns
// with each other, since other work on the machine comes and goes.
func BenchmarkObserve(b *testing.B) {
	h := open(b, lab.Host(1), docker.Options{})
	fleetName := randomFleet()
	for n := range 100 {
		create(b, h, node(fleetName, n+1))
	}
	cli := bare(b, lab.Host(1))
	ctx := b.Context()
	require.Len(b, h.Observe(ctx, fleetName).Instances, 100)
	bareRead(b, cli, fleetName)
	var ours, theirs time.Duration
	b.ResetTimer()
	for range b.N {
		began := time.Now()
		st := h.Observe(ctx, fleetName)
		ours += time.Since(began)
		require.True(b, st.Reachable, st.Problem)
		began = time.Now()
		bareRead(b, cli, fleetName)
		theirs += time.Since(began)
	}
	b.ReportMetric(float64(ours)/float64(theirs), "ratio")
	b.ReportMetric(float64(ours.Microseconds())/float64(b.N)/1000, "observe-ms")
	b.ReportMetric(float64(theirs.Microseconds())/float64(b.N)/1000, "bare-ms")
}

func bareRead(b *testing.B, cli *client.Client, fleetName string) {
	list, err := cli.ContainerList(b.Context(), container.ListOptions{All: true,
		Filters: filters.NewArgs(filters.Arg("label", fleet.LabelFleet+"="+fleetName))})
	require.NoError(b, err)
	g, ctx := errgroup.WithContext(context.Background())
	g.SetLimit(4)
	for _, c := range list {
		g.Go(func() error { _, err := cli.ContainerInspect(ctx, c.ID); return err })
	}
	require.NoError(b, g.Wait())
}
