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
		c.repeat(op, s.Time)
	}
	c.stepped(s)
	return err
}

// repeat notes what was done on a host, and says where that is too much by now.
func (c *Controller) repeat(op plan.HostOperation, at time.Time) {
	c.mu.Lock()
	problem := ""
	if ch, counts := c.changeOn(op); counts {
		problem = c.repeats.Note(ch, at)
	}
	c.mu.Unlock()
	if problem != "" {
		c.notice("error", op.Host, problem)
	}
}

// changeOn is an operation on a host as it is counted; false: it isn't. c.mu is held.
func (c *Controller) changeOn(op plan.HostOperation) (plan.Change, bool) {
	written := ""
	if op.Instance != nil {
		written = c.writtenFor(op.Instance.LayerID())
	}
	return plan.ChangeOnHost(op, written)
}

// stepped tells of what was done on a host and keeps it in the journal.
func (c *Controller) stepped(s HostStep) {
	if c.opts.Changed != nil {
		c.opts.Changed(s)
	}
	c.keep(func(j Journal) error { return j.AppendStep(s) })
}
