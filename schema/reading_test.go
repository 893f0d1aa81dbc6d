package schema

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// TestDocumentsReadAsTheyDoElsewhere holds our reading of YAML, which keeps positions, to the one that
// Kubernetes' tools have: the same document is the same JSON.
func TestDocumentsReadAsTheyDoElsewhere(t *testing.T) {
	read := 0
	for _, root := range []string{"../examples", "../spec/testdata/full"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".yaml") {
				return err
			}
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			for i, text := range bytes.Split(data, []byte("\n---\n")) {
				docs, problems := Parse(path, text)
				require.Empty(t, problems, "%s, document %d", path, i)
				require.Len(t, docs, 1)
				ours, err := json.Marshal(docs[0].Root.plain())
				require.NoError(t, err)
				theirs, err := yaml.YAMLToJSON(text)
				require.NoError(t, err)
				require.JSONEq(t, string(theirs), string(ours), "%s, document %d", path, i)
				read++
			}
			return nil
		})
		require.NoError(t, err)
	}
	require.Greater(t, read, 4)
}
