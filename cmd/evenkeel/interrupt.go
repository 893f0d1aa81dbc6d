package main

import (
	"context"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/render"
)

// quitAfter is how long a command has to end once it was told to stop at once.
const quitAfter = 5 * time.Second

// stopping is how a command that changes hosts is told to stop: a first signal lets it finish what is at
// hand, a second one ends it at once.
type stopping struct {
	// stop is closed by the first signal.
	stop chan struct{}
	// first is the first signal; it is set before stop is closed.
	first os.Signal
}

// asked says whether a signal came.
func (s *stopping) asked() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// stoppable returns a context that the second signal cancels. The goroutine ends
// when the returned function is called.
func (p *program) stoppable(ctx context.Context, show *render.Active) (context.Context, *stopping, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	s, done := &stopping{stop: make(chan struct{})}, make(chan struct{})
	go func() {
		select {
		case s.first = <-p.signals:
		case <-done:
			return
		}
		show.Say(farewell(show.AtHand(), s.first))
		close(s.stop)
		select {
		case <-p.signals:
			show.Say("stopping at once; the next pass mends what is left half done")
			cancel(errInterrupted)
		case <-done:
			return
		}
		p.quit(show, done)
	}()
	return ctx, s, sync.OnceFunc(func() { close(done); cancel(nil) })
}

// cancellable returns a context that the first signal cancels, with a line that says so; a second one ends
// the program.
func (p *program) cancellable(ctx context.Context, show render.Progress, says string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		select {
		case <-p.signals:
		case <-done:
			return
		}
		show.Say(says)
		cancel(errInterrupted)
		select {
		case <-p.signals:
			show.Close()
			os.Exit(exitInterrupted)
		case <-done:
		}
	}()
	return ctx, sync.OnceFunc(func() { close(done); cancel(nil) })
}

// quit ends the program when it hasn't ended by itself, or on a third signal.
func (p *program) quit(show render.Progress, done <-chan struct{}) {
	select {
	case <-p.signals:
	case <-time.After(quitAfter):
	case <-done:
		return
	}
	show.Close()
	os.Exit(exitInterrupted)
}

// farewell says what is being finished.
func farewell(atHand []string, signal os.Signal) string {
	again := "Ctrl-C again stops at once"
	if signal == syscall.SIGTERM {
		again = "a second signal stops at once"
	}
	if len(atHand) == 0 {
		return "stopping: no node is at hand; " + again
	}
	return "stopping: finishing " + strings.Join(atHand, ", ") + ", then giving back its names; " + again
}
