package keeper

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/evenkeel/evenkeel/keeper/drain"
)

// drainPoll is the time between two looks at a node's connections.
const drainPoll = 100 * time.Millisecond

// DrainLook is one line of what Drain prints: whenever the count changed, and at the end.
type DrainLook struct {
	Connections int `json:"connections"`
	// Drained is there on the last line: whether none were left before the time was over.
	Drained *bool `json:"drained,omitempty"`
}

// Drain waits until nobody is connected to the ports (none given: to any that is listened on) of the
// network namespace that it runs in, or until the timeout is over, and prints the counts as JSON lines.
// Connections over loopback and of excluded peers don't count. None at two looks in a row count as
// drained. Its errors are those of looking and printing, not that connections are left.
func Drain(ctx context.Context, ports []uint16, exclude []netip.Addr, timeout time.Duration, out io.Writer) error {
	counter := drain.Counter{Ports: ports, Exclude: exclude}
	return drainWith(ctx, counter.Count, timeout, out)
}

func drainWith(ctx context.Context, count func() (int, error), timeout time.Duration, out io.Writer) error {
	over := time.NewTimer(timeout)
	defer over.Stop()
	again := time.NewTicker(drainPoll)
	defer again.Stop()
	lines := json.NewEncoder(out)
	before, idle := -1, 0
	for {
		n, err := count()
		if err != nil {
			return fmt.Errorf("counting connections: %w", err)
		}
		if n != before {
			before = n
			if err := lines.Encode(DrainLook{Connections: n}); err != nil {
				return fmt.Errorf("printing the count: %w", err)
			}
		}
		if n > 0 {
			idle = 0
		} else if idle++; idle == 2 {
			return lines.Encode(DrainLook{Drained: new(true)})
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over.C:
			return lines.Encode(DrainLook{Connections: n, Drained: new(false)})
		case <-again.C:
		}
	}
}
