package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/demo"
)

// newDemoNodeCommand is what the demo's web nodes run.
func newDemoNodeCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "demo-node", Short: "What the nodes of the demo run", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := p.interruptible(cmd.Context())
			defer cancel()
			return demo.ServeNode(ctx, fmt.Sprintf(":%d", demo.NodePort), p.getenv("GREETING"))
		},
	}
}

// newDemoClientCommand is what the demo's client runs.
func newDemoClientCommand(p *program) *cobra.Command {
	follow := false
	cmd := &cobra.Command{
		Use: "demo-client [NAME]", Short: "What the client of the demo runs", Hidden: true, Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := p.interruptible(cmd.Context())
			defer cancel()
			if follow {
				return runFollow(ctx, p)
			}
			if len(args) == 0 {
				return fmt.Errorf("which name to ask is missing")
			}
			return demo.ServeClient(ctx, args[0], demo.NodePort, "/etc/resolv.conf")
		},
	}
	cmd.Flags().BoolVar(&follow, "follow", false, "print the reports of the client in this container")
	return cmd
}

// runFollow ends with its standard input: that is how whoever started it goes away.
func runFollow(ctx context.Context, p *program) error {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, p.in)
		cancel()
	}()
	defer cancel()
	if err := demo.FollowClient(ctx, p.out); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}
