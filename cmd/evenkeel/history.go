package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/render"
	"github.com/evenkeel/evenkeel/drivers/git"
	"github.com/evenkeel/evenkeel/drivers/journal"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
	"github.com/evenkeel/evenkeel/spec"
)

// HistoryOptions are the flags of history.
type HistoryOptions struct {
	RepositoryOptions
	ScopeOptions
	JournalOptions
	Fleet string
	All   bool
	Limit int
}

// AddFlags adds the flags.
func (o *HistoryOptions) AddFlags(f *pflag.FlagSet) {
	o.RepositoryOptions.AddFlags(f)
	o.ScopeOptions.AddFlags(f)
	o.JournalOptions.AddFlags(f)
	f.StringVar(&o.Fleet, "fleet", "", "fleet whose history to print (default the repository's)")
	f.BoolVar(&o.All, "all", false, "every step of each operation, not only how it ended")
	f.IntVarP(&o.Limit, "limit", "n", 50, "the newest so many; 0 for all")
}

func newHistoryCommand(p *program) *cobra.Command {
	var opts HistoryOptions
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Print what happened",
		Long: `Prints the journal that apply and run keep on this machine, the newest entry last: each
operation on a node or a host, how it ended, how long it took, who ran the evenkeel that
did it, and why it was done. It can be read while apply or run are at work.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runHistory(cmd.Context(), p, opts) },
	}
	opts.AddFlags(cmd.Flags())
	return cmd
}

func runHistory(ctx context.Context, p *program, opts HistoryOptions) error {
	dir, err := opts.dir(p.getenv)
	if err != nil {
		return err
	}
	name := opts.Fleet
	if name == "" {
		if name, err = fleetName(ctx, opts.RepositoryOptions); err != nil {
			return err
		}
	}
	events, err := journal.Read(dir, name, journal.Filter{Environment: opts.Environment})
	if err != nil {
		return err
	}
	events = selected(events, opts)
	switch p.global.Output {
	case formatJSON:
		return render.HistoryJSON(p.out, events)
	case formatMarkdown:
		return render.HistoryMarkdown(p.out, events)
	}
	return render.HistoryText(p.out, events, p.style(p.out))
}

// selected leaves out steps that nobody asked for, and all but the newest.
func selected(events []journal.Event, opts HistoryOptions) []journal.Event {
	out := make([]journal.Event, 0, len(events))
	for _, e := range events {
		if opts.All || e.Phase == "" || rollout.Phase(e.Phase).Ended() {
			out = append(out, e)
		}
	}
	if opts.Limit > 0 && len(out) > opts.Limit {
		out = out[len(out)-opts.Limit:]
	}
	return out
}

// fleetName reads the name of the fleet in a repository.
func fleetName(ctx context.Context, opts RepositoryOptions) (string, error) {
	load := new(spec.Loader).Load
	from := opts.source(os.Getenv)
	from.Reads = reads(load)
	source, err := git.Open(from)
	if err != nil {
		return "", fmt.Errorf("%w; or name the fleet with --fleet", err)
	}
	revision, err := source.Fetch(ctx)
	if err != nil {
		return "", err
	}
	loaded, err := load(revision.Files)
	if err != nil {
		return "", err
	}
	return loaded.Fleet.Name, nil
}
