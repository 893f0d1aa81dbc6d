package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// client is the demo's view of the client inside the environment: its reports, as they come.
type client struct {
	conn net.Conn

	mu      sync.Mutex
	report  Report
	arrived time.Time
	next    chan struct{} // closed by the next report
	err     error         // why no more come
}

// follow opens a session to the client's container.
func (d *demo) follow(ctx context.Context) (*client, error) {
	l := layerOf(d.controller.Current(), clientLayer)
	if l == nil || len(l.Nodes) == 0 {
		return nil, errors.New("there is no client")
	}
	name := fleet.ContainerName(d.fleet, fleet.NodeID{Environment: environment, Layer: clientLayer, Node: 1}, l.Nodes[0].Generation)
	conn, err := d.Engine.Exec(ctx, name, []string{"/evenkeel", "demo-client", "--follow"})
	if err != nil {
		return nil, fmt.Errorf("following the client: %w", err)
	}
	c := &client{conn: conn, next: make(chan struct{})}
	go c.read(d.Footer) // ends when the connection is closed
	return c, nil
}

func (c *client) read(footer func(string)) {
	err := readReports(c.conn, func(r Report) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.report, c.arrived = r, time.Now()
		close(c.next)
		c.next = make(chan struct{})
		footer(fmt.Sprintf("client: %d requests, %d failed, %d nodes in the names", r.Requests, r.Failed, len(r.Addresses)))
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		err = errors.New("the client's reports have ended")
	}
	c.err = err
	close(c.next)
	c.next = make(chan struct{})
}

// last is the newest report.
func (c *client) last() Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.report
}

// until waits for a report that holds, and returns when it arrived.
func (c *client) until(ctx context.Context, holds func(Report) bool) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		c.mu.Lock()
		report, arrived, next, err := c.report, c.arrived, c.next, c.err
		c.mu.Unlock()
		switch {
		case holds(report):
			return arrived, nil
		case err != nil:
			return time.Time{}, err
		}
		select {
		case <-next:
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("the client still sees %v: %w", report.Addresses, ctx.Err())
		}
	}
}

func (c *client) close() { _ = c.conn.Close() }
