package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// UninstallOptions are the flags of uninstall.
type UninstallOptions struct {
	FleetOptions
	Volumes bool
}

// AddFlags adds the flags.
func (o *UninstallOptions) AddFlags(f *pflag.FlagSet) {
	o.FleetOptions.AddFlags(f)
	f.BoolVar(&o.Volumes, "volumes", false, "remove the nodes' volumes too, with what is in them")
}

func newUninstallCommand(p *program) *cobra.Command {
	var opts UninstallOptions
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove all of the fleet from its hosts",
		Long: `Removes the fleet's nodes, networks and keepers from its hosts: at once, and without asking.
Volumes stay unless --volumes is given. What belongs to other fleets, or to nobody, stays.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runUninstall(cmd.Context(), p, opts) },
	}
	opts.AddFlags(cmd.Flags())
	return cmd
}

func runUninstall(ctx context.Context, p *program, opts UninstallOptions) error {
	ctx, cancel := p.interruptible(ctx)
	defer cancel()
	show := p.progress()
	defer show.Close()
	c, closer, err := p.open(controllerSetup{fleet: opts.FleetOptions, show: show})
	if err != nil {
		return err
	}
	defer closeQuietly(closer)
	return interrupted(ctx, c.Uninstall(ctx, opts.Volumes))
}
