package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/render"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// PlanOptions are the flags of plan.
type PlanOptions struct {
	FleetOptions
	ScopeOptions
	Worktree bool
	ExitCode bool
}

// AddFlags adds the flags.
func (o *PlanOptions) AddFlags(f *pflag.FlagSet) {
	o.FleetOptions.AddFlags(f)
	o.ScopeOptions.AddFlags(f)
	f.BoolVar(&o.Worktree, "worktree", false, "plan the files as they are, committed or not")
	f.BoolVar(&o.ExitCode, "exit-code", false, "end with status 2 when there are changes")
}

func newPlanCommand(p *program) *cobra.Command {
	var opts PlanOptions
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Print what would change, and why",
		Long: `Prints what apply would do: each operation with its causes, its impact and how long it
takes at least. It changes nothing and needs no lease, so it can run beside a run.

With -o json it prints the plan as CI reads it, with -o markdown as a comment on a
pull request.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runPlan(cmd.Context(), p, opts) },
	}
	opts.AddFlags(cmd.Flags())
	return cmd
}

func runPlan(ctx context.Context, p *program, opts PlanOptions) error {
	ctx, cancel := p.interruptible(ctx)
	defer cancel()
	show := render.NewActive(p.remarks())
	defer show.Close()
	c, closer, err := p.open(controllerSetup{
		fleet: opts.FleetOptions, worktree: opts.Worktree, only: opts.Environment, show: show, committed: true,
	})
	if err != nil {
		return err
	}
	defer closeQuietly(closer)
	result, err := c.Plan(ctx)
	if err != nil {
		return interrupted(ctx, err)
	}
	if err := p.writePlan(result); err != nil {
		return err
	}
	if opts.ExitCode && result.HasChanges {
		return errDiffers
	}
	return nil
}

// remarks shows what is worth saying beside a result, on standard error.
func (p *program) remarks() render.Progress {
	if p.global.Output == formatJSON {
		return render.NewJSONLines(p.err)
	}
	return render.NewLines(p.err, p.style(p.err), p.global.Verbose)
}

func (p *program) writePlan(result plan.Plan) error {
	switch p.global.Output {
	case formatJSON:
		return render.PlanJSON(p.out, result)
	case formatMarkdown:
		return render.PlanMarkdown(p.out, result)
	}
	return render.PlanText(p.out, result, p.style(p.out))
}

// closeQuietly closes connections whose work is done: what they answer changes nothing any more.
func closeQuietly(c io.Closer) { _ = c.Close() }
