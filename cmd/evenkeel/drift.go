package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/render"
	"github.com/evenkeel/evenkeel/reconciler/drift"
)

// DriftOptions are the flags of drift.
type DriftOptions struct {
	FleetOptions
	ScopeOptions
	ExitCode bool
}

// AddFlags adds the flags.
func (o *DriftOptions) AddFlags(f *pflag.FlagSet) {
	o.FleetOptions.AddFlags(f)
	o.ScopeOptions.AddFlags(f)
	f.BoolVar(&o.ExitCode, "exit-code", false, "end with status 2 when there is drift, and with 1 when there is none and not all could be read")
}

func newDriftCommand(p *program) *cobra.Command {
	var opts DriftOptions
	cmd := &cobra.Command{
		Use:   "drift",
		Short: "Print what differs from the repository and no commit explains",
		Long: `Reads the hosts and prints what isn't as the last revision left it: what was stopped,
removed, renamed, resized or attached elsewhere by hand, files of ours inside nodes,
keepers, networks, volumes, records at DNS providers, tags that moved, and what looks
like evenkeel's and isn't. What a commit explains, one that is still to be carried
out, is a matter of plan. It changes nothing and needs no lease.

A running evenkeel follows drift by itself, with the times at which it was first seen
and what is over: /api/v1/drift on its --listen.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDrift(cmd.Context(), p, opts) },
	}
	opts.AddFlags(cmd.Flags())
	return cmd
}

func runDrift(ctx context.Context, p *program, opts DriftOptions) error {
	ctx, cancel := p.interruptible(ctx)
	defer cancel()
	show := render.NewActive(p.remarks())
	defer show.Close()
	c, closer, err := p.open(controllerSetup{fleet: opts.FleetOptions, only: opts.Environment, show: show})
	if err != nil {
		return err
	}
	defer closeQuietly(closer)
	r, err := c.Drift(ctx)
	if err != nil {
		return interrupted(ctx, err)
	}
	if err := p.writeDrift(r); err != nil {
		return err
	}
	switch {
	case !opts.ExitCode:
	case len(r.Drift) > 0:
		return errDiffers
	case len(r.Unknown) > 0:
		return errors.New("whether there is drift isn't known: " + fmt.Sprintf("%s could not be read", counted(len(r.Unknown), "thing")))
	}
	return nil
}

func (p *program) writeDrift(r drift.Report) error {
	switch p.global.Output {
	case formatJSON:
		return render.JSON(p.out, r)
	case formatMarkdown:
		return render.DriftMarkdown(p.out, r)
	}
	return render.DriftText(p.out, r, p.style(p.out))
}
