package demo

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// LeftoverError says that something of the demo couldn't be removed.
type LeftoverError struct {
	Err error
	By  string // the command that removes it
}

func (e *LeftoverError) Error() string {
	return fmt.Sprintf("cleaning up: %s; to remove the rest by hand: %s", e.Err, e.By)
}

// Unwrap returns what stood in the way.
func (e *LeftoverError) Unwrap() error { return e.Err }

// finish ends the run and removes all that the demo made, or says how to.
func (d *demo) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanupTime)
	defer cancel()
	if d.client != nil {
		d.client.close()
	}
	d.Footer("")
	running := d.endRun(ctx)
	if d.Keep && d.controller != nil {
		d.sayKept()
		return errors.Join(running, d.closer.Close())
	}
	if d.made {
		d.Say("cleaning up")
	}
	return errors.Join(running, d.remove(ctx))
}

// endRun lets the controller finish what is at hand.
func (d *demo) endRun(ctx context.Context) error {
	if d.controller == nil {
		return nil
	}
	close(d.stop)
	select {
	case err := <-d.ended:
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	case <-ctx.Done():
		return fmt.Errorf("ending the controller: %w", ctx.Err())
	}
}

// remove takes everything off the engine and the disk; what can't be removed is said with the way to.
func (d *demo) remove(ctx context.Context) error {
	var problems []error
	if d.controller != nil {
		_, err := d.controller.Uninstall(ctx, true)
		problems = append(problems, err, d.closer.Close())
	}
	if d.made {
		problems = append(problems, d.removeImage(ctx, d.image))
	}
	err := errors.Join(problems...)
	if err != nil {
		return &LeftoverError{Err: err, By: d.Program + " uninstall --volumes --repo " + d.dir + "/repo"}
	}
	if d.dir != "" {
		return os.RemoveAll(d.dir)
	}
	return nil
}

// removeImage removes an image that is there and that nobody uses.
func (d *demo) removeImage(ctx context.Context, tag string) error {
	err := d.Engine.RemoveImage(ctx, tag)
	if errors.Is(err, fleet.ErrNotFound) || errors.Is(err, fleet.ErrConflict) {
		return nil // never made, or another fleet has come to use it
	}
	return err
}

func (d *demo) sayKept() {
	repo := d.repo.dir
	d.Say("kept, since --keep was given. To look at it:")
	d.Say("  " + d.Program + " status --repo " + repo)
	d.Say("  " + d.Program + " run --repo " + repo + " (then edit and commit shop.yaml there)")
	d.Say("To remove it:")
	d.Say(fmt.Sprintf("  %s uninstall --volumes --repo %s && docker image rm %s && rm -r %s", d.Program, repo, d.image, d.dir))
}
