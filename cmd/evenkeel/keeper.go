package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/evenkeel/evenkeel/keeper"
)

// newKeeperCommand is what runs on hosts, in containers that evenkeel makes. People have no use for it.
func newKeeperCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use:    "keeper",
		Short:  "What evenkeel runs on a host, in containers of its own",
		Long:   "What evenkeel runs on a host, in containers of its own. There is no need to run it by hand.",
		Hidden: true,
		Args:   knownCommand,
		RunE:   func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newKeeperServeCommand(p), newKeeperConnectCommand(p), newKeeperDrainCommand(p), newKeeperLinksCommand(p))
	return cmd
}

// KeeperServeOptions are the flags of keeper serve.
type KeeperServeOptions struct {
	Fleet     string
	Host      string
	Dir       string
	Socket    string
	Upstreams []string
	Port      uint16
}

// AddFlags adds the flags.
func (o *KeeperServeOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Fleet, "fleet", "", "fleet that the keeper is of")
	f.StringVar(&o.Host, "host", "", "host that it runs on")
	f.StringVar(&o.Dir, "dir", keeper.DefaultDir, "where it keeps what it must not forget")
	f.StringVar(&o.Socket, "socket", keeper.DefaultSocket, "socket on which sessions are accepted")
	f.StringSliceVar(&o.Upstreams, "upstream", nil, "resolver (host:port) to forward lookups to (default: the container's)")
	f.Uint16Var(&o.Port, "port", 53, "port on which lookups are answered")
}

func newKeeperServeCommand(p *program) *cobra.Command {
	var opts KeeperServeOptions
	cmd := &cobra.Command{
		Use: "serve", Short: "Serve names, probe nodes, grant the lease", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runKeeperServe(cmd.Context(), p, opts) },
	}
	opts.AddFlags(cmd.Flags())
	return cmd
}

func runKeeperServe(ctx context.Context, p *program, opts KeeperServeOptions) error {
	ctx, cancel := p.interruptible(ctx)
	defer cancel()
	return keeper.Serve(ctx, keeper.Options{
		Fleet: opts.Fleet, Host: opts.Host, Dir: opts.Dir, Socket: opts.Socket, Upstreams: opts.Upstreams, Port: opts.Port,
		Log: slog.New(slog.NewTextHandler(p.err, nil)),
	})
}

func newKeeperConnectCommand(p *program) *cobra.Command {
	socket := keeper.DefaultSocket
	cmd := &cobra.Command{
		Use: "connect", Short: "Join standard input and output to the keeper's socket", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runKeeperConnect(cmd.Context(), p, socket) },
	}
	cmd.Flags().StringVar(&socket, "socket", socket, "the keeper's socket")
	return cmd
}

func runKeeperConnect(ctx context.Context, p *program, socket string) error {
	ctx, cancel := p.interruptible(ctx)
	defer cancel()
	return interrupted(ctx, keeper.Connect(ctx, socket, p.in, p.out))
}

// KeeperDrainOptions are the flags of keeper drain.
type KeeperDrainOptions struct {
	Timeout time.Duration
	Ports   []uint
	Exclude []string
}

// AddFlags adds the flags.
func (o *KeeperDrainOptions) AddFlags(f *pflag.FlagSet) {
	f.DurationVar(&o.Timeout, "timeout", 30*time.Second, "how long to wait at most")
	f.UintSliceVar(&o.Ports, "port", nil, "port whose connections count (default: all that are listened on)")
	f.StringSliceVar(&o.Exclude, "exclude", nil, "address whose connections don't count")
}

func newKeeperDrainCommand(p *program) *cobra.Command {
	var opts KeeperDrainOptions
	cmd := &cobra.Command{
		Use: "drain", Short: "Wait until nobody is connected in this network namespace", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runKeeperDrain(cmd.Context(), p, opts) },
	}
	opts.AddFlags(cmd.Flags())
	return cmd
}

func runKeeperDrain(ctx context.Context, p *program, opts KeeperDrainOptions) error {
	ports := make([]uint16, 0, len(opts.Ports))
	for _, n := range opts.Ports {
		if n == 0 || n > 65535 {
			return fmt.Errorf("--port %d is no port: 1 to 65535", n)
		}
		ports = append(ports, uint16(n))
	}
	var exclude []netip.Addr
	for _, text := range opts.Exclude {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("--exclude %q is no address: %w", text, err)
		}
		exclude = append(exclude, a)
	}
	ctx, cancel := p.interruptible(ctx)
	defer cancel()
	err := keeper.Drain(ctx, ports, exclude, opts.Timeout, p.out)
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w; it has to run as the container's root", err)
	}
	return interrupted(ctx, err)
}
