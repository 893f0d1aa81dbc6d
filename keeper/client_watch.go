package keeper

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// watchSilence is after how long without a sign of life a watch is over.
const watchSilence = 3 * HeartbeatInterval

// Watch returns the keeper's events: first all health that is known, then what changes, and a heartbeat
// every HeartbeatInterval. The channel is closed when the watch is over: with ctx, with the session, or
// when nothing was heard for some heartbeats. Whoever reads it has to go on reading or end ctx.
func (c *Client) Watch(ctx context.Context) (<-chan Event, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	silence := time.AfterFunc(CallTimeout, func() { cancel(fmt.Errorf("nothing heard: %w", context.DeadlineExceeded)) })
	response, err := c.send(ctx, request{what: "watching the keeper", method: "GET", path: "/v1/watch"})
	if err == nil && response.StatusCode != http.StatusOK {
		response.Body.Close()
		err = fmt.Errorf("watching the keeper: it answered %s", response.Status)
	}
	if err != nil {
		silence.Stop()
		cancel(err)
		return nil, err
	}
	events := make(chan Event)
	c.tasks.Go(func() {
		defer close(events)
		defer cancel(nil)
		defer silence.Stop()
		defer response.Body.Close()
		lines := json.NewDecoder(bufio.NewReader(response.Body))
		for {
			var e Event
			if lines.Decode(&e) != nil {
				return
			}
			silence.Stop() // a reader that takes its time isn't the keeper's silence
			select {
			case events <- e:
			case <-ctx.Done():
				return
			case <-c.ctx.Done():
				return
			}
			silence.Reset(watchSilence)
		}
	})
	return events, nil
}
