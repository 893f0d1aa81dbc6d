package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the reference of the command line anew")

const referencePath = "../../docs/cli.md"

// docs/cli.md is generated from the commands: `make docs` writes it anew.
func TestReferenceIsFresh(t *testing.T) {
	p, _, _ := testProgram(nil)
	text := reference(newRootCommand(p))
	if *update {
		require.NoError(t, os.WriteFile(referencePath, []byte(text), 0o644))
	}
	have, err := os.ReadFile(referencePath)
	require.NoError(t, err)
	require.Equal(t, text, string(have), "docs/cli.md is stale: run `make docs`")
}

func TestEveryCommandListsItsExitStatuses(t *testing.T) {
	p, _, _ := testProgram(nil)
	each(newRootCommand(p), func(c *cobra.Command) {
		require.Contains(t, c.Long, "Exit status is 130 if", c.CommandPath())
		require.NotEmpty(t, c.Short, c.CommandPath())
	})
}

func each(c *cobra.Command, do func(*cobra.Command)) {
	do(c)
	for _, sub := range c.Commands() {
		each(sub, do)
	}
}

// reference is the command line as Markdown.
func reference(root *cobra.Command) string {
	var b bytes.Buffer
	b.WriteString("# The command line\n\n<!-- Written by `make docs` from the commands themselves. -->\n\n")
	b.WriteString(prose(root))
	b.WriteString("\nExit status everywhere: 0 done, 1 failed, 2 differences found (only with `--exit-code`), 3 the spec is invalid, 130 interrupted.\n")
	b.WriteString("\n## Flags of every command\n\n" + flags(root.PersistentFlags()))
	for _, c := range root.Commands() {
		if !c.Hidden && c.Name() != "help" && c.Name() != "completion" {
			fmt.Fprintf(&b, "\n## %s\n\n%s\n", c.UseLine(), prose(c))
			b.WriteString(flags(c.NonInheritedFlags()))
		}
	}
	b.WriteString("\n## evenkeel completion bash|zsh|fish|powershell\n\nPrints what makes a shell complete evenkeel's commands and flags; `evenkeel completion bash --help` says how to use it.\n")
	return b.String()
}

// prose is a command's description without the list of exit statuses, its examples as code.
func prose(c *cobra.Command) string {
	var out []string
	for _, line := range strings.Split(strings.TrimSuffix(c.Long, exitHelp), "\n") {
		if strings.HasPrefix(line, "  ") {
			line = "  " + line
		}
		out = append(out, line)
	}
	return strings.TrimSpace(strings.Join(out, "\n")) + "\n"
}

func flags(set *pflag.FlagSet) string {
	var b strings.Builder
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		text := f.Usage
		if f.DefValue != "" && f.DefValue != "false" && !strings.Contains(f.Usage, "default") {
			text += " (default `" + f.DefValue + "`)"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s |\n", name, environmentName(f.Name), strings.ReplaceAll(text, "|", `\|`))
	})
	if b.Len() == 0 {
		return ""
	}
	return "| Flag | Environment | |\n| --- | --- | --- |\n" + b.String()
}
