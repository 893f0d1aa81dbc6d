package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/render"
	"github.com/evenkeel/evenkeel/reconciler"
)

// ApplyOptions are the flags of apply.
type ApplyOptions struct {
	FleetOptions
	ScopeOptions
	JournalOptions
}

// AddFlags adds the flags.
func (o *ApplyOptions) AddFlags(f *pflag.FlagSet) {
	o.FleetOptions.AddFlags(f)
	o.ScopeOptions.AddFlags(f)
	o.JournalOptions.AddFlags(f)
}

func newApplyCommand(p *program) *cobra.Command {
	var opts ApplyOptions
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Make the fleet match the repository, once",
		Long: `Makes the hosts match the newest revision and ends. A node is changed at the pace of its
layer's update policy; progress is shown as it happens.

Ctrl-C lets the node at hand be finished and get its names back; a second one stops at
once, and the next pass mends what is left half done.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runApply(cmd.Context(), p, opts) },
	}
	opts.AddFlags(cmd.Flags())
	return cmd
}

func runApply(ctx context.Context, p *program, opts ApplyOptions) error {
	state, err := opts.dir(p.getenv)
	if err != nil {
		return err
	}
	show := p.progress()
	defer show.Close()
	ctx, asked, cancel := p.stoppable(ctx, show)
	defer cancel()
	c, closer, err := p.open(controllerSetup{
		fleet: opts.FleetOptions, only: opts.Environment, state: state, show: show, committed: true,
	})
	if err != nil {
		return err
	}
	defer closeQuietly(closer)
	result, err := c.Apply(ctx, asked.stop)
	show.Close()
	if err != nil {
		return interrupted(ctx, err)
	}
	if err := p.writeResult(result); err != nil {
		return err
	}
	switch {
	case result.Converged:
		return nil
	case asked.asked():
		return errInterrupted
	}
	return &statusError{exitFailed}
}

func (p *program) writeResult(r reconciler.Result) error {
	switch p.global.Output {
	case formatJSON:
		return render.ResultJSON(p.out, r)
	case formatMarkdown:
		return render.ResultMarkdown(p.out, r)
	}
	return render.ResultText(p.out, r, p.style(p.out))
}
