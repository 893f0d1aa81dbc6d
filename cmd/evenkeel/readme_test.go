package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	yamlBlock = regexp.MustCompile("(?s)`([a-z]+\\.yaml)`[^`]*```yaml\n(.*?)```")
	validLine = regexp.MustCompile(`evenkeel validate +# (.*)`)
)

// TestReadmeExampleIsValid validates the files that README.md shows, and holds it to what it says of that.
func TestReadmeExampleIsValid(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	dir := t.TempDir()
	blocks := yamlBlock.FindAllStringSubmatch(string(readme), -1)
	require.Len(t, blocks, 2)
	for _, b := range blocks {
		require.NoError(t, os.WriteFile(filepath.Join(dir, b[1]), []byte(b[2]), 0o600))
	}
	says := validLine.FindStringSubmatch(string(readme))
	require.NotNil(t, says)
	p, _, _ := testProgram(&canned{})
	require.Equal(t, exitDone, run([]string{"validate", dir}, p), "%s", p.err)
	require.Equal(t, says[1]+"\n", p.out.(*safeBuffer).String())
}
