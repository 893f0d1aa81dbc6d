package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/evenkeel/evenkeel/schema"
)

// The formats of results.
const (
	formatText     = "text"
	formatJSON     = "json"
	formatMarkdown = "markdown"
)

// GlobalOptions are the flags of every command.
type GlobalOptions struct {
	Output  string
	NoColor bool
	Verbose bool
}

// AddFlags adds the flags.
func (o *GlobalOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVarP(&o.Output, "output", "o", formatText, "format of results: text, json or markdown (progress: lines of text or of JSON)")
	f.BoolVar(&o.NoColor, "no-color", false, "no colours, also on a terminal (as NO_COLOR)")
	f.BoolVarP(&o.Verbose, "verbose", "v", false, "say more")
}

func (o *GlobalOptions) check() error {
	switch o.Output {
	case formatText, formatJSON, formatMarkdown:
		return nil
	}
	return fmt.Errorf("--output %q is no format: text, json or markdown%s", o.Output,
		didYouMean(o.Output, []string{formatText, formatJSON, formatMarkdown}))
}

func newRootCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "evenkeel",
		Short: "GitOps for plain Docker hosts",
		Long: `evenkeel makes a fleet of Docker hosts match what is committed to git. It changes
nodes one by one where the spec says so, takes each out of the names before it is
touched, and puts it back once it is healthy.

Every flag can also be given as an environment variable: --repo as EVENKEEL_REPO.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              knownCommand,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return prepare(p, cmd) },
	}
	cmd.SetIn(p.in)
	cmd.SetOut(p.out)
	cmd.SetErr(p.err)
	cmd.SetFlagErrorFunc(flagError)
	p.global.AddFlags(cmd.PersistentFlags())
	cmd.AddCommand(
		newValidateCommand(p), newPlanCommand(p), newApplyCommand(p), newRunCommand(p), newDriftCommand(p), newStatusCommand(p), newHostsCommand(p),
		newHistoryCommand(p), newDoctorCommand(p), newSchemaCommand(p), newUninstallCommand(p), newVersionCommand(p),
		newDemoCommand(p), newDemoNodeCommand(p), newDemoClientCommand(p), newKeeperCommand(p),
	)
	cmd.InitDefaultCompletionCmd()
	cmd.InitDefaultHelpCmd()
	listExitStatuses(cmd)
	return cmd
}

// listExitStatuses puts the exit statuses into the help of a command and of all below it.
func listExitStatuses(cmd *cobra.Command) {
	if cmd.Long == "" {
		cmd.Long = cmd.Short + "."
	}
	cmd.Long = strings.TrimRight(cmd.Long, "\n") + exitHelp
	for _, c := range cmd.Commands() {
		listExitStatuses(c)
	}
}

// prepare takes flags that weren't given from the environment, then checks those that all commands share.
func prepare(p *program, cmd *cobra.Command) error {
	if err := flagsFromEnvironment(cmd.Flags(), p.getenv); err != nil {
		return err
	}
	return p.global.check()
}

// flagsFromEnvironment sets every flag that wasn't given from EVENKEEL_<NAME>.
func flagsFromEnvironment(flags *pflag.FlagSet, getenv func(string) string) error {
	var problems []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := environmentName(f.Name)
		value := getenv(name)
		if f.Changed || value == "" || f.Name == "help" {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			problem := errors.Unwrap(err)
			if f.Value.Type() == "bool" {
				problem = errors.New("write true or false")
			}
			problems = append(problems, fmt.Errorf("%s=%q in the environment: %w", name, value, problem))
		}
	})
	return errors.Join(problems...)
}

func environmentName(flag string) string {
	return "EVENKEEL_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// noArguments refuses what a command doesn't take.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if cmd.Flags().Lookup("repo") != nil {
		hint = " (a repository is named with --repo, an environment with --environment where there is that flag)"
	}
	return fmt.Errorf("%s takes no arguments, and was given %q%s; `%[1]s --help` shows the flags", cmd.CommandPath(), args[0], hint)
}

// knownCommand refuses a command that there isn't, with the one that was probably meant.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	hint := ";"
	if near := schema.Nearest(args[0], names); near != "" {
		hint = fmt.Sprintf(", did you mean %q?", near)
	}
	return fmt.Errorf("unknown command %q%s `%s --help` lists them", args[0], hint, cmd.CommandPath())
}

// flagError says which flag was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return fmt.Errorf("%w; `%s --help` shows the flags", err, cmd.CommandPath())
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	slices.Sort(names)
	hint := ";"
	if near := schema.Nearest(unknown.GetSpecifiedName(), names); near != "" && unknown.GetSpecifiedShortnames() == "" {
		hint = fmt.Sprintf(", did you mean --%s?", near)
	}
	return fmt.Errorf("%w%s `%s --help` shows the flags", err, hint, cmd.CommandPath())
}

func didYouMean(got string, names []string) string {
	if near := schema.Nearest(got, names); near != "" {
		return fmt.Sprintf(", did you mean %q?", near)
	}
	return ""
}

// counted is a number with its noun: 1 problem, 2 problems.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
