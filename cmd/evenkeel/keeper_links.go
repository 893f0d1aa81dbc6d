package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/keeper/links"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// linksDir is where the links container keeps what is wanted.
const linksDir = "/var/lib/evenkeel"

func newKeeperLinksCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use: "links", Short: "Join the networks of this host to those of others", Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newKeeperLinksServeCommand(p), newKeeperLinksSetCommand(p))
	return cmd
}

func newKeeperLinksServeCommand(p *program) *cobra.Command {
	dir := linksDir
	cmd := &cobra.Command{
		Use: "serve", Short: "Keep the links as they were set last", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runKeeperLinksServe(cmd.Context(), p, dir) },
	}
	cmd.Flags().StringVar(&dir, "dir", dir, "where it keeps what is wanted")
	return cmd
}

func runKeeperLinksServe(ctx context.Context, p *program, dir string) error {
	ctx, cancel := p.interruptible(ctx)
	defer cancel()
	return links.Serve(ctx, dir, slog.New(slog.NewTextHandler(p.err, nil)))
}

func newKeeperLinksSetCommand(p *program) *cobra.Command {
	dir := linksDir
	cmd := &cobra.Command{
		Use: "set", Short: "Set the links that standard input tells of", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return runKeeperLinksSet(p, dir) },
	}
	cmd.Flags().StringVar(&dir, "dir", dir, "where what is wanted is kept")
	return cmd
}

func runKeeperLinksSet(p *program, dir string) error {
	var want fleet.Links
	if err := json.NewDecoder(p.in).Decode(&want); err != nil {
		return fmt.Errorf("reading what is wanted: %w", err)
	}
	r, err := links.Set(dir, &want)
	if err != nil {
		return err
	}
	return json.NewEncoder(p.out).Encode(r)
}
