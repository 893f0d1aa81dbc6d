package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/schema"
)

func newSchemaCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "schema [fleet|environment]",
		Short: "Print the JSON Schema of the specs",
		Long: `Prints the JSON Schema of one kind of document, or of both, for editors and checks.

With the YAML language server (VS Code, Neovim, …) write it to a file and name that
in the first line of a spec:

  evenkeel schema > .evenkeel.schema.json
  # yaml-language-server: $schema=.evenkeel.schema.json`,
		Args:      cobra.MaximumNArgs(1),
		ValidArgs: []string{"fleet", "environment"},
		RunE: func(_ *cobra.Command, args []string) error {
			kind := ""
			if len(args) == 1 {
				kind = args[0]
			}
			return runSchema(p, kind)
		},
	}
}

func runSchema(p *program, kind string) error {
	text, err := schema.JSON(kind)
	if err != nil {
		return fmt.Errorf("%w%s", err, didYouMean(kind, []string{"fleet", "environment"}))
	}
	_, err = fmt.Fprintln(p.out, string(text))
	return err
}
