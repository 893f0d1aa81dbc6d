package spec_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/spec"
)

func TestExamplesAreValid(t *testing.T) {
	entries, err := os.ReadDir("../examples")
	require.NoError(t, err)
	require.NotEmpty(t, entries)
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		t.Run(entry.Name(), func(t *testing.T) {
			s, err := spec.Load(os.DirFS("../examples/" + entry.Name()))
			require.NoError(t, err)
			require.Empty(t, s.Warnings)
			require.NotEmpty(t, s.Environments)
		})
	}
}
