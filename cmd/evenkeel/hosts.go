package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/render"
)

func newHostsCommand(p *program) *cobra.Command {
	var opts StatusOptions
	cmd := &cobra.Command{
		Use:   "hosts",
		Short: "Print the hosts, their engines, room and keepers",
		Long:  "Reads the hosts and prints each: whether it can be reached, its engine, what is reserved on it, its keeper, and who holds its lease.",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runHosts(cmd.Context(), p, opts) },
	}
	opts.FleetOptions.AddFlags(cmd.Flags())
	return cmd
}

func runHosts(ctx context.Context, p *program, opts StatusOptions) error {
	st, err := readStatus(ctx, p, opts)
	if err != nil {
		return err
	}
	hosts := render.StatusValue(st).Hosts
	switch p.global.Output {
	case formatJSON:
		return render.JSON(p.out, hosts)
	case formatMarkdown:
		return render.HostsMarkdown(p.out, hosts)
	}
	return render.HostsText(p.out, hosts, p.style(p.out))
}
