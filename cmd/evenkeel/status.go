package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/render"
	"github.com/evenkeel/evenkeel/reconciler"
)

// StatusOptions are the flags of status and hosts.
type StatusOptions struct {
	FleetOptions
	ScopeOptions
}

// AddFlags adds the flags.
func (o *StatusOptions) AddFlags(f *pflag.FlagSet) {
	o.FleetOptions.AddFlags(f)
	o.ScopeOptions.AddFlags(f)
}

func newStatusCommand(p *program) *cobra.Command {
	var opts StatusOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Print what runs where, and whether it serves",
		Long:  "Reads the hosts and prints every node: where it is, whether it serves, and why not. It changes nothing.",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runStatus(cmd.Context(), p, opts) },
	}
	opts.AddFlags(cmd.Flags())
	return cmd
}

func runStatus(ctx context.Context, p *program, opts StatusOptions) error {
	st, err := readStatus(ctx, p, opts)
	if err != nil {
		return err
	}
	switch p.global.Output {
	case formatJSON:
		return render.JSON(p.out, render.StatusValue(st))
	case formatMarkdown:
		return render.StatusMarkdown(p.out, st)
	}
	return render.StatusText(p.out, st, p.style(p.out))
}

func readStatus(ctx context.Context, p *program, opts StatusOptions) (reconciler.Status, error) {
	ctx, cancel := p.interruptible(ctx)
	defer cancel()
	show := render.NewActive(p.remarks())
	defer show.Close()
	c, closer, err := p.open(controllerSetup{fleet: opts.FleetOptions, only: opts.Environment, show: show})
	if err != nil {
		return reconciler.Status{}, err
	}
	defer closeQuietly(closer)
	st, err := c.Status(ctx)
	return st, interrupted(ctx, err)
}
