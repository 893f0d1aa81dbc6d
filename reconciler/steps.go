package reconciler

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// HostStep is what was done to something on a host that is no node: a keeper, a network, a volume, a
// leftover of a node.
type HostStep struct {
	Time      time.Time
	Revision  string
	Host      string
	Operation string // create, start, remove, connect, disconnect, replace, rename, update
	What      string // keeper, network, volume, container, image
	Name      string // of a keeper that is connected or disconnected, the network's
	// Node is whose container it is; of an environment's network or volume it has the environment alone.
	Node  fleet.NodeID
	Cause string
	// Causes are what was changed by hand, where that was put back.
	Causes []plan.Cause
	Took   time.Duration // zero: not measured
	Error  string        // why it could not be done; empty: it was
}

// past is how an operation is told when it has been done.
var past = map[string]string{
	"create": "created", "start": "started", "remove": "removed", "connect": "connected", "disconnect": "disconnected",
	"replace": "replaced", "rename": "renamed", "update": "updated", "delete": "deleted",
}

// String is the step as a sentence.
func (s HostStep) String() string {
	thing := s.What + " " + s.Name
	switch s.Operation + " " + s.What {
	case "connect keeper":
		thing = "keeper to network " + s.Name
	case "disconnect keeper":
		thing = "keeper from network " + s.Name
	}
	if s.Error != "" {
		return s.Operation + " " + thing + ": " + s.Error
	}
	var causes []string
	if s.Cause != "" {
		causes = append(causes, s.Cause)
	}
	for _, cause := range s.Causes {
		causes = append(causes, fmt.Sprintf("%s: %s → %s", cause.Field, cmp.Or(cause.From, "none"), cmp.Or(cause.To, "none")))
	}
	text := past[s.Operation] + " " + thing
	if len(causes) > 0 {
		text += ": " + strings.Join(causes, "; ")
	}
	return text
}

// did says what was done on a host and keeps it in the journal.
func (c *Controller) did(host string, s HostStep) {
	s.Time, s.Revision, s.Host = time.Now(), c.currentRevision(), host
	level := "info"
	if s.Error != "" {
		level = "error"
	}
	c.notice(level, host, s.String())
	c.stepped(s)
}

// keep writes to the journal. One that can't be written holds nothing up.
func (c *Controller) keep(write func(Journal) error) {
	if c.opts.Journal == nil {
		return
	}
	if err := write(c.opts.Journal); err != nil {
		c.notice("warning", "", "the journal can't be written, the work goes on: "+err.Error())
	}
}
