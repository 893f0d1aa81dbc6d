package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/render"
	"github.com/evenkeel/evenkeel/reconciler"
)

// UninstallOptions are the flags of uninstall.
type UninstallOptions struct {
	FleetOptions
	JournalOptions
	Volumes bool
}

// AddFlags adds the flags.
func (o *UninstallOptions) AddFlags(f *pflag.FlagSet) {
	o.FleetOptions.AddFlags(f)
	o.JournalOptions.AddFlags(f)
	f.BoolVar(&o.Volumes, "volumes", false, "remove the nodes' volumes too, with what is in them")
}

func newUninstallCommand(p *program) *cobra.Command {
	var opts UninstallOptions
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove all of the fleet from its hosts",
		Long: `Removes the fleet's nodes, networks and keepers from its hosts, and its records from DNS
providers: at once, and without asking. Volumes stay unless --volumes is given, and are
named. What belongs to other fleets, or to nobody, stays.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runUninstall(cmd.Context(), p, opts) },
	}
	opts.AddFlags(cmd.Flags())
	return cmd
}

func runUninstall(ctx context.Context, p *program, opts UninstallOptions) error {
	state, err := opts.dir(p.getenv)
	if err != nil {
		return err
	}
	ctx, cancel := p.interruptible(ctx)
	defer cancel()
	show := p.progress()
	defer show.Close()
	c, closer, err := p.open(controllerSetup{fleet: opts.FleetOptions, state: state, show: show})
	if err != nil {
		return err
	}
	defer closeQuietly(closer)
	removed, err := c.Uninstall(ctx, opts.Volumes)
	show.Close()
	if removed.Fleet == "" { // nothing was begun
		return interrupted(ctx, err)
	}
	return errors.Join(p.writeUninstalled(removed), interrupted(ctx, err))
}

func (p *program) writeUninstalled(u reconciler.Uninstalled) error {
	switch p.global.Output {
	case formatJSON:
		return render.UninstalledJSON(p.out, u)
	case formatMarkdown:
		return render.UninstalledMarkdown(p.out, u)
	}
	return render.UninstalledText(p.out, u)
}
