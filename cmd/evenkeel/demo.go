package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/demo"
	"github.com/evenkeel/evenkeel/cmd/evenkeel/render"
	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/keeper/image"
	"github.com/evenkeel/evenkeel/spec"
)

// localEngine is where the engine of this machine is unless DOCKER_HOST says otherwise.
const localEngine = "unix:///var/run/docker.sock"

// DemoOptions are the flags of demo.
type DemoOptions struct{ Keep bool }

// AddFlags adds the flags.
func (o *DemoOptions) AddFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.Keep, "keep", false, "keep what the demo made, and say how to look at it and remove it")
}

func newDemoCommand(p *program) *cobra.Command {
	var opts DemoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole story on the local engine",
		Long: `Rolls three nodes out on the local Docker Engine (DOCKER_HOST, else ` + localEngine + `),
changes them one by one by a commit while a client inside the environment keeps asking
them, kills one by hand, and shows how long it took to be out of the names and healed.
Everything is made from this program: nothing is pulled, and nothing is left behind.

It takes about a minute and ends with status 1 if a request failed during the rollout.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), p, opts) },
	}
	opts.AddFlags(cmd.Flags())
	return cmd
}

func runDemo(ctx context.Context, p *program, opts DemoOptions) error {
	endpoint, err := demoEndpoint(p.getenv("DOCKER_HOST"))
	if err != nil {
		return err
	}
	host, err := docker.Open(spec.Host{Name: "local", Endpoint: endpoint, Insecure: true}, docker.Options{})
	if err != nil {
		return err
	}
	defer closeQuietly(host)
	show := p.progress()
	defer show.Close()
	ctx, cancel := p.cancellable(ctx, show, "stopping and cleaning up; Ctrl-C again leaves everything as it is")
	defer cancel()
	result, err := demo.Run(ctx, demo.Options{
		Program: os.Args[0], Endpoint: endpoint, Engine: host, Binary: image.Binary,
		Say: show.Say, Footer: show.Footer, Keep: opts.Keep,
		Open: func(repo string) (demo.Controller, io.Closer, error) {
			return p.open(controllerSetup{fleet: FleetOptions{RepositoryOptions: RepositoryOptions{Repo: repo}}, show: show})
		},
	})
	show.Close()
	var leftover *demo.LeftoverError
	switch {
	case errors.As(err, &leftover): // said also after Ctrl-C
		return err
	case err != nil:
		return interrupted(ctx, err)
	}
	return p.writeDemo(result)
}

// writeDemo prints what the demo measured; requests that failed fail it.
func (p *program) writeDemo(r demo.Result) error {
	if p.global.Output == formatJSON {
		if err := render.JSON(p.out, r); err != nil {
			return err
		}
	} else if _, err := io.WriteString(p.out, r.Summary()); err != nil {
		return err
	}
	return r.Check()
}

// demoEndpoint is the local engine's, as a spec writes it.
func demoEndpoint(dockerHost string) (string, error) {
	scheme, _, _ := strings.Cut(dockerHost, "://")
	switch {
	case dockerHost == "":
		return localEngine, nil
	case scheme == "unix", scheme == "tcp":
		return dockerHost, nil
	}
	return "", fmt.Errorf("DOCKER_HOST=%s: the demo can use unix:// and tcp:// only; unset it to use %s: %w", dockerHost, localEngine, errors.ErrUnsupported)
}
