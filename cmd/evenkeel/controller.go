package main

import (
	"context"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/doctor"
	"github.com/evenkeel/evenkeel/reconciler/drift"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// controller is what the commands ask of a [reconciler.Controller].
type controller interface {
	Plan(ctx context.Context) (plan.Plan, error)
	Apply(ctx context.Context, stop <-chan struct{}) (reconciler.Result, error)
	Run(ctx context.Context, stop <-chan struct{}) error
	Status(ctx context.Context) (reconciler.Status, error)
	Drift(ctx context.Context) (drift.Report, error)
	Examine(ctx context.Context) (doctor.Report, error)
	Current() reconciler.Status
	CurrentDrift() drift.Report
	CurrentPlan() plan.Plan
	// Ready says why a run has not taken up its work yet; empty: it has.
	Ready() string
	// Leading says whether it acts on the fleet, and the leases of which hosts it holds.
	Leading() (acts bool, hosts map[string]bool)
	Uninstall(ctx context.Context, volumes bool) (reconciler.Uninstalled, error)
}
