package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/render"
	"github.com/evenkeel/evenkeel/server"
	"github.com/evenkeel/evenkeel/server/metrics"
)

// RunOptions are the flags of run.
type RunOptions struct {
	ApplyOptions
	IntervalOptions
	Listen string
}

// AddFlags adds the flags.
func (o *RunOptions) AddFlags(f *pflag.FlagSet) {
	o.ApplyOptions.AddFlags(f)
	o.IntervalOptions.AddFlags(f)
	f.StringVar(&o.Listen, "listen", "127.0.0.1:8642", "address of the HTTP server; empty for none")
}

func newRunCommand(p *program) *cobra.Command {
	var opts RunOptions
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Keep the fleet as the repository says, until told to stop",
		Long: `Watches the repository and the hosts, and makes the hosts match the newest valid
revision, again and again. An invalid revision changes nothing and is reported until
it is mended. While another controller holds the fleet's lease it waits, and says for whom.

It serves /healthz, /readyz, /metrics, /api/v1/status, /api/v1/plan and /api/v1/drift on --listen.

SIGTERM and Ctrl-C let the node at hand be finished; a second one stops at once.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runRun(cmd.Context(), p, opts) },
	}
	opts.AddFlags(cmd.Flags())
	return cmd
}

func runRun(ctx context.Context, p *program, opts RunOptions) error {
	if err := opts.check(); err != nil {
		return err
	}
	state, err := opts.dir(p.getenv)
	if err != nil {
		return err
	}
	show := p.progress()
	defer show.Close()
	ctx, asked, cancel := p.stoppable(ctx, show)
	defer cancel()
	var c controller
	m := metrics.New(version, func() metrics.Seen { return seen(c) })
	c, closer, err := p.open(controllerSetup{
		fleet: opts.FleetOptions, only: opts.Environment, state: state, show: show, interval: opts.Interval, metrics: m,
	})
	if err != nil {
		return err
	}
	defer closeQuietly(closer)
	err = serveAndRun(ctx, c, serving{opts.Listen, m.Handler()}, asked, show)
	if err != nil {
		return interrupted(ctx, err)
	}
	if asked.asked() && asked.first != syscall.SIGTERM {
		return errInterrupted
	}
	return nil
}

// serving is what is served beside the controller's own word, and where.
type serving struct {
	listen  string // empty: nowhere
	metrics http.Handler
}

// serveAndRun runs the loop with the HTTP server beside it; either's end is the other's.
func serveAndRun(ctx context.Context, c controller, serve serving, asked *stopping, show render.Progress) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	if serve.listen != "" {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", serve.listen)
		if err != nil {
			return listenError(serve.listen, err)
		}
		show.Say("serving http://" + l.Addr().String() + "/api/v1/status")
		s := server.New(server.Options{
			Ready:   func() (bool, string) { why := c.Ready(); return why == "", why },
			Status:  func() any { return render.StatusValue(c.Current()) },
			Plan:    func() any { return render.PlanValue(c.CurrentPlan()) },
			Drift:   func() any { return c.CurrentDrift() },
			Metrics: serve.metrics,
			Log:     slog.New(slog.NewTextHandler(sayer{show}, nil)),
		})
		group.Go(func() error { return s.Serve(ctx, l) })
	}
	group.Go(func() error {
		defer cancel()
		return c.Run(ctx, asked.stop)
	})
	return group.Wait()
}

// sayer writes a log's lines among the progress, where they break no frame.
type sayer struct{ show render.Progress }

func (s sayer) Write(b []byte) (int, error) {
	s.show.Say(string(b))
	return len(b), nil
}

func listenError(address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return errors.New("listening on " + address + ": the address is in use; choose another with --listen, or none with --listen ''")
	}
	return fmt.Errorf("listening on %q: %w; write --listen as address:port, such as 127.0.0.1:8642, or '' for none", address, err)
}
