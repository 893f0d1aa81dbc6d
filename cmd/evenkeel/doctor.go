package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/render"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/doctor"
)

func newDoctorCommand(p *program) *cobra.Command {
	var opts FleetOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check what a fleet rests on, and say what to mend",
		Long: `Checks the repository and its documents, the hosts and how they are reached, their
engines, clocks, disks and keepers, ports and addresses that others have, registries,
zones at DNS providers and the credentials for them, and what other fleets left on the
hosts. Each finding says what to do about it; -v shows advice too. It changes nothing
and needs no lease.

Exit status is 1 if there is any problem; warnings and advice are none.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd.Context(), p, opts) },
	}
	opts.AddFlags(cmd.Flags())
	return cmd
}

func runDoctor(ctx context.Context, p *program, opts FleetOptions) error {
	ctx, cancel := p.interruptible(ctx)
	defer cancel()
	show := render.NewActive(p.remarks())
	defer show.Close()
	r, err := p.examine(ctx, controllerSetup{fleet: opts, show: show, committed: true, unnoticed: true})
	if err != nil {
		return interrupted(ctx, err)
	}
	if err := p.writeDoctor(r); err != nil {
		return err
	}
	if !r.Well {
		return &statusError{exitFailed}
	}
	return nil
}

func (p *program) examine(ctx context.Context, s controllerSetup) (doctor.Report, error) {
	c, closer, err := p.open(s)
	if err != nil {
		return reconciler.ExamineNone(err), nil
	}
	defer closeQuietly(closer)
	return c.Examine(ctx)
}

func (p *program) writeDoctor(r doctor.Report) error {
	switch p.global.Output {
	case formatJSON:
		return render.JSON(p.out, r)
	case formatMarkdown:
		return render.DoctorMarkdown(p.out, r)
	}
	return render.DoctorText(p.out, r, p.global.Verbose, p.style(p.out))
}
