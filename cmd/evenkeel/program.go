package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/render"
)

// program is what every command shares: where it reads and writes, what it is told from outside, and the
// flags that all commands have. Tests put their own in its place.
type program struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	signals  <-chan os.Signal
	global   GlobalOptions

	// open makes the controller; tests put a canned one here.
	open func(controllerSetup) (controller, io.Closer, error)
}

func standardProgram() *program {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	return &program{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		getenv: os.Getenv, signals: signals, open: openController,
	}
}

// run runs the program with args and returns its exit status.
func run(args []string, p *program) int {
	root := newRootCommand(p)
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exitDone
	}
	if text := message(err); text != "" {
		_, _ = io.WriteString(p.err, text)
	}
	return exitStatus(err)
}

// style is how text on w is styled: in colour only on a terminal that wasn't told otherwise.
func (p *program) style(w io.Writer) render.Style {
	colour := isTerminal(w) && !p.global.NoColor && p.getenv("NO_COLOR") == "" && p.getenv("TERM") != "dumb"
	return render.Style{Colour: colour}
}

// interruptible returns a context that the first signal cancels, for commands that change nothing.
func (p *program) interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-p.signals:
			cancel(errInterrupted)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// interrupted replaces what a command made of its cancelled context by what cancelled it.
func interrupted(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errInterrupted) {
		return errInterrupted
	}
	return err
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
