package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// documents are README.md and all that is in docs/, decisions too.
func documents(t *testing.T) map[string]string {
	t.Helper()
	found, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	more, err := filepath.Glob("../../docs/adr/*.md")
	require.NoError(t, err)
	texts := map[string]string{}
	for _, path := range append(append(found, more...), "../../README.md", "../../CONTRIBUTING.md", "../../examples/README.md") {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		texts[strings.TrimPrefix(path, "../../")] = string(b)
	}
	require.Greater(t, len(texts), 8)
	return texts
}

var (
	fenced  = regexp.MustCompile("(?sm)^```[a-z]*\n(.*?)^```")
	inline  = regexp.MustCompile("`(evenkeel [^`\n]+)`")
	inBlock = regexp.MustCompile(`(?m)^(?:.*[ /$=])?(evenkeel [a-z].*)$`)
	comment = regexp.MustCompile(`\s+#.*$`)
)

// commands are the calls of evenkeel that a document shows.
func commands(text string) []string {
	var list []string
	for _, b := range fenced.FindAllStringSubmatch(text, -1) {
		for _, m := range inBlock.FindAllStringSubmatch(b[1], -1) {
			list = append(list, comment.ReplaceAllString(m[1], ""))
		}
	}
	for _, m := range inline.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		list = append(list, m[1])
	}
	return list
}

// TestDocumentedCommandsExist: every call of evenkeel in the documents names a command that there is, with flags and arguments
// that it takes.
func TestDocumentedCommandsExist(t *testing.T) {
	for name, text := range documents(t) {
		for _, call := range commands(text) {
			t.Run(name+": "+call, func(t *testing.T) {
				call, _, _ := strings.Cut(call, " > ")
				require.NoError(t, parsed(strings.Fields(call)[1:]))
			})
		}
	}
}

// parsed says whether a command line would be taken, without running it.
func parsed(args []string) error {
	p, _, _ := testProgram(nil)
	root := newRootCommand(p)
	of, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	switch err := of.ParseFlags(rest); {
	case errors.Is(err, pflag.ErrHelp):
		return nil
	case err != nil:
		return err
	}
	if of == root {
		return knownCommand(root, of.Flags().Args())
	}
	check := of.Args
	if check == nil {
		check = cobra.ArbitraryArgs
	}
	return check(of, of.Flags().Args())
}

// TestDocumentedSpecsAreValid validates the files that a document shows, together.
func TestDocumentedSpecsAreValid(t *testing.T) {
	shown := 0
	for name, text := range documents(t) {
		blocks := yamlBlock.FindAllStringSubmatch(text, -1)
		require.Len(t, blocks, strings.Count(text, "```yaml\n"), "%s: every YAML block is a file, whose name stands before it", name)
		if len(blocks) == 0 {
			continue
		}
		shown++
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, b := range blocks {
				require.NoError(t, os.WriteFile(filepath.Join(dir, b[1]), []byte(b[2]), 0o600))
			}
			p, _, _ := testProgram(&canned{})
			require.Equal(t, exitDone, run([]string{"validate", dir}, p), "%s", p.err)
		})
	}
	require.GreaterOrEqual(t, shown, 2)
}

var metric = regexp.MustCompile("`(evenkeel_[a-z_]+)`")

// TestDocumentedMetricsExist: what the documents speak of is in the reference of metrics.
func TestDocumentedMetricsExist(t *testing.T) {
	all := documents(t)
	for name, text := range all {
		for _, m := range metric.FindAllStringSubmatch(text, -1) {
			require.Contains(t, all["docs/metrics.md"], "| `"+m[1]+"` |", name)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)

// TestDocumentsLinkToWhatIsThere: no link to a file of the repository leads nowhere.
func TestDocumentsLinkToWhatIsThere(t *testing.T) {
	for name, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			_, err := os.Stat(filepath.Join("../..", filepath.Dir(name), m[1]))
			require.NoError(t, err, "%s links to %s", name, m[1])
		}
	}
}
