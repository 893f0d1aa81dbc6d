// Command lab starts real Docker hosts on this machine and breaks them on
// purpose, by hand; tests use package integration/lab/hosts.
//
//	go run ./integration/lab up 3
//	go run ./integration/lab list
//	go run ./integration/lab cut h2
//	go run ./integration/lab down
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
)

// commandTimeout is for everything but exec, which takes what it takes.
const commandTimeout = 3 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := newCommand().ExecuteContext(ctx)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit): // of exec: the command has said what is wrong
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	var id int
	root := &cobra.Command{
		Use:           "lab",
		Short:         "Real Docker hosts on this machine, to be broken on purpose",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().IntVar(&id, "lab", -1, "number of the lab (default: the only one that was started by up)")
	root.AddCommand(newUpCommand(), newDownCommand(&id), newListCommand(), newExecCommand(&id))
	for _, f := range faults {
		root.AddCommand(&cobra.Command{
			Use:   f.name + " HOST",
			Short: f.short,
			Args:  cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				ctx, cancel := context.WithTimeout(cmd.Context(), commandTimeout)
				defer cancel()
				h, err := findHost(id, args[0])
				if err != nil {
					return err
				}
				return f.do(h, ctx)
			},
		})
	}
	return root
}

var faults = []struct {
	name, short string
	do          func(*hosts.Host, context.Context) error
}{
	{"cut", "Pull a host's network cable", (*hosts.Host).Cut},
	{"heal", "Put a host's network cable back", (*hosts.Host).Heal},
	{"drop", "Drop all packets between this machine and a host", (*hosts.Host).Drop},
	{"undrop", "End what drop began", (*hosts.Host).Undrop},
	{"off", "Cut a host's power; its disk is kept", (*hosts.Host).PowerOff},
	{"on", "Power a host on", (*hosts.Host).PowerOn},
	{"engine-stop", "Stop a host's engine (SIGTERM)", (*hosts.Host).StopEngine},
	{"engine-kill", "Kill a host's engine (SIGKILL)", (*hosts.Host).KillEngine},
	{"engine-start", "Start a host's engine", func(h *hosts.Host, ctx context.Context) error { return h.StartEngine(ctx) }},
	{"engine-hang", "Hang a host's engine (SIGSTOP)", (*hosts.Host).HangEngine},
	{"engine-resume", "Resume a host's engine (SIGCONT)", (*hosts.Host).ResumeEngine},
}

func newUpCommand() *cobra.Command {
	var engineArgs []string
	cmd := &cobra.Command{
		Use:   "up N",
		Short: "Start a lab of N hosts, which stays until `down`",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[0])
			if err != nil {
				return fmt.Errorf("%q is not a number of hosts", args[0])
			}
			lab, err := hosts.New(cmd.Context(), n, hosts.WithEngineArgs(engineArgs...))
			if err != nil {
				return err
			}
			if err := lab.Detach(); err != nil {
				return errors.Join(err, lab.Close())
			}
			return printLabs(cmd.OutOrStdout(), lab)
		},
	}
	cmd.Flags().StringArrayVar(&engineArgs, "engine-arg", nil, "argument to add to every dockerd, such as --live-restore")
	return cmd
}

func newDownCommand(id *int) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "End a lab and remove all of it",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			lab, err := findLab(*id)
			if err != nil {
				return err
			}
			return lab.Close()
		},
	}
}

func newListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List all labs of this machine, those of tests too",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			labs, err := openAll()
			if err != nil {
				return err
			}
			return printLabs(cmd.OutOrStdout(), labs...)
		},
	}
}

func newExecCommand(id *int) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec HOST COMMAND [ARG]...",
		Short: "Run a command on a host; its exit status is this one's",
		Args:  cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := findHost(*id, args[0])
			if err != nil {
				return err
			}
			c, err := h.Command(cmd.Context(), args[1], args[2:]...)
			if err != nil {
				return err
			}
			c.SysProcAttr = nil // on a terminal it has to stay in the foreground
			c.Cancel = nil
			c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
			return c.Run()
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows HOST is the command's
	return cmd
}

func printLabs(out io.Writer, labs ...*hosts.Lab) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LAB\tHOST\tPOWER\tENDPOINT\tSOCKET")
	for _, lab := range labs {
		for _, h := range lab.Hosts() {
			power := "off"
			if h.Running() {
				power = "on"
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", lab.ID(), h.Name(), power, h.Endpoint(), h.Socket())
		}
	}
	return w.Flush()
}

// findLab returns the lab with the number, or the only one that `up` started:
// those of running tests have to be asked for.
func findLab(id int) (*hosts.Lab, error) {
	if id >= 0 {
		return hosts.Open(id)
	}
	labs, err := openAll()
	if err != nil {
		return nil, err
	}
	labs = slices.DeleteFunc(labs, func(l *hosts.Lab) bool { return !l.Detached() })
	switch len(labs) {
	case 0:
		return nil, errors.New("there is no lab: start one with `up N`")
	case 1:
		return labs[0], nil
	}
	var ids []string
	for _, l := range labs {
		ids = append(ids, strconv.Itoa(l.ID()))
	}
	return nil, fmt.Errorf("there are labs %s: say which with --lab", strings.Join(ids, ", "))
}

func openAll() ([]*hosts.Lab, error) {
	ids, err := hosts.List()
	if err != nil {
		return nil, err
	}
	var labs []*hosts.Lab
	for _, id := range ids {
		if lab, err := hosts.Open(id); err == nil { // else it ended just now
			labs = append(labs, lab)
		}
	}
	return labs, nil
}

func findHost(id int, name string) (*hosts.Host, error) {
	lab, err := findLab(id)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, h := range lab.Hosts() {
		if h.Name() == name {
			return h, nil
		}
		names = append(names, h.Name())
	}
	return nil, fmt.Errorf("lab %d has no host %q, but %s", lab.ID(), name, strings.Join(names, ", "))
}
