package demo

import (
	"errors"
	"fmt"
)

// Summary is what the demo measured, for people.
func (r Result) Summary() string {
	text := fmt.Sprintf("%d requests, %d failed\n", r.Requests, r.Failed)
	text += fmt.Sprintf("rollout of %d nodes: %s, %.0f requests a second meanwhile\n", replicas, seconds(r.Rollout), r.Rate)
	text += fmt.Sprintf("killed node: out of the names after %s, healed after %s", seconds(r.OutAfter), seconds(r.Healed))
	if r.MetDead > 0 {
		text += fmt.Sprintf(" (%d requests met it before)", r.MetDead)
	}
	return text + "\n"
}

// Check says whether the demo showed what it promises.
func (r Result) Check() error {
	switch {
	case r.Failed > 0:
		return fmt.Errorf("%d of %d requests failed during the rollout; the last: %s", r.Failed, r.Requests, r.Error)
	case r.Rate < minimumRate:
		return fmt.Errorf("the client made only %.0f requests a second, too few to show anything (at least %d): this machine is too busy", r.Rate, minimumRate)
	case r.Requests == 0:
		return errors.New("the client made no request")
	}
	return nil
}
