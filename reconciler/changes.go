package reconciler

import (
	"context"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// changing does an operation on a host, tells of its end and keeps it in the journal.
func (c *Controller) changing(ctx context.Context, op plan.HostOperation, do func(context.Context) error) error {
	begun := time.Now()
	err := do(ctx)
	s := HostStep{
		Time: time.Now(), Revision: c.currentRevision(), Host: op.Host, Operation: op.Operation, What: op.What, Name: op.Name,
		Node: fleet.NodeID{Environment: op.Environment}, Causes: op.Causes, Took: time.Since(begun),
	}
	if op.Instance != nil {
		s.Node = op.Instance.NodeID
	}
	if err != nil {
		s.Error = err.Error() // which whoever asked for it says
	} else {
		c.notice("info", op.Host, s.String())
	}
	c.stepped(s)
	return err
}

// stepped tells of what was done on a host and keeps it in the journal.
func (c *Controller) stepped(s HostStep) {
	if c.opts.Changed != nil {
		c.opts.Changed(s)
	}
	c.keep(func(j Journal) error { return j.AppendStep(s) })
}
