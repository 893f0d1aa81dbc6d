package bench

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// atOnce is how many calls the bare loops have under way.
const atOnce = 4

// bare is the engine without evenkeel: Docker's own client, its connections kept.
type bare struct {
	b     *testing.B
	cli   *client.Client
	calls *calls
}

func openBare(b *testing.B) *bare { return openBareOver(b, &http.Transport{}, lab.Host(1).Endpoint()) }

// openBareOver is openBare with connections of another kind.
func openBareOver(b *testing.B, transport *http.Transport, endpoint string, more ...client.Opt) *bare {
	transport.MaxIdleConnsPerHost = 2 * atOnce
	opts := []client.Opt{client.WithHTTPClient(&http.Client{Transport: transport}), client.WithHost(endpoint), client.WithAPIVersionNegotiation()}
	cli, err := client.NewClientWithOpts(append(opts, more...)...)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, cli.Close()) })
	return &bare{b: b, cli: cli, calls: newCalls()}
}

// template is what a container was created with, as the engine tells it.
type template struct {
	name    string
	config  *container.Config
	host    *container.HostConfig
	network *network.NetworkingConfig
}

// templates are what a layer's nodes were created with, under other names and without being the fleet's.
func (r *bare) templates(fleetName, layer string) []template {
	args := filters.NewArgs(filters.Arg("label", fleet.LabelFleet+"="+fleetName), filters.Arg("label", fleet.LabelLayer+"="+layer))
	list, err := r.cli.ContainerList(r.b.Context(), container.ListOptions{All: true, Filters: args})
	require.NoError(r.b, err)
	out := make([]template, 0, len(list))
	for _, c := range list {
		in, err := r.cli.ContainerInspect(r.b.Context(), c.ID)
		require.NoError(r.b, err)
		in.Config.Labels[fleet.LabelFleet] = "bare"
		t := template{
			name: "bare" + strings.TrimPrefix(in.Name, "/"), config: in.Config, host: in.HostConfig,
			network: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{}},
		}
		for name, e := range in.NetworkSettings.Networks {
			t.network.EndpointsConfig[name] = &network.EndpointSettings{IPAMConfig: e.IPAMConfig}
		}
		out = append(out, t)
	}
	return out
}

func (r *bare) each(list []template, f func(context.Context, template) error) {
	g, ctx := errgroup.WithContext(r.b.Context())
	g.SetLimit(atOnce)
	for _, t := range list {
		g.Go(func() error { return f(ctx, t) })
	}
	require.NoError(r.b, g.Wait())
}

func (r *bare) create(ctx context.Context, t template) error {
	return r.calls.do("create", t.name, func() error {
		_, err := r.cli.ContainerCreate(ctx, t.config, t.host, t.network, nil, t.name)
		return err
	})
}

func (r *bare) start(ctx context.Context, t template) error {
	return r.calls.do("start", t.name, func() error { return r.cli.ContainerStart(ctx, t.name, container.StartOptions{}) })
}

func (r *bare) stop(ctx context.Context, t template) error {
	return r.calls.do("stop", t.name, func() error { return r.cli.ContainerStop(ctx, t.name, container.StopOptions{}) })
}

func (r *bare) remove(ctx context.Context, t template) error {
	return r.calls.do("remove", t.name, func() error {
		return r.cli.ContainerRemove(ctx, t.name, container.RemoveOptions{Force: true, RemoveVolumes: true})
	})
}

func (r *bare) createAndStart(ctx context.Context, t template) error {
	if err := r.create(ctx, t); err != nil {
		return err
	}
	return r.start(ctx, t)
}

func (r *bare) redeploy(ctx context.Context, t template) error {
	for _, f := range []func(context.Context, template) error{r.stop, r.remove, r.create, r.start} {
		if err := f(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// read reads what a pass reads: one filtered list, and an inspect of each.
func (r *bare) read(fleetName string) int {
	list, err := r.cli.ContainerList(r.b.Context(), container.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", fleet.LabelFleet+"="+fleetName)),
	})
	require.NoError(r.b, err)
	g, ctx := errgroup.WithContext(r.b.Context())
	g.SetLimit(atOnce)
	for _, c := range list {
		g.Go(func() error { _, err := r.cli.ContainerInspect(ctx, c.ID); return err })
	}
	require.NoError(r.b, g.Wait())
	return len(list)
}
