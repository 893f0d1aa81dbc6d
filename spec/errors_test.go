package spec_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/spec"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestErrors loads each repository of testdata/errors and compares all that is said about it, word for
// word, with the file `want` in it. A repository without a Fleet of its own gets a small one.
func TestErrors(t *testing.T) {
	names, err := filepath.Glob("testdata/errors/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			require.NoError(t, err)
			files, want := repositoryOf(archive)
			got := said(files)
			if *update {
				write(t, name, archive, got)
				return
			}
			require.Equal(t, want, got)
		})
	}
}

func repositoryOf(archive *txtar.Archive) (files fstest.MapFS, want string) {
	files = fstest.MapFS{}
	fleet := false
	for _, f := range archive.Files {
		if f.Name == "want" {
			want = string(f.Data)
			continue
		}
		files[f.Name] = &fstest.MapFile{Data: f.Data}
		fleet = fleet || strings.Contains(string(f.Data), "kind: Fleet")
	}
	if !fleet && !strings.Contains(string(archive.Comment), "no fleet") {
		files["fleet.yaml"] = &fstest.MapFile{Data: []byte(fleetYAML)}
	}
	return files, want
}

// said is what a user is told: the problems, or that there are none and the warnings.
func said(files fstest.MapFS) string {
	s, err := spec.Load(files)
	if err != nil {
		return err.Error() + "\n"
	}
	lines := []string{"valid"}
	for _, w := range s.Warnings {
		lines = append(lines, "warning: "+w.String())
	}
	return strings.Join(lines, "\n") + "\n"
}

func write(t *testing.T, name string, archive *txtar.Archive, got string) {
	t.Helper()
	files := archive.Files[:0:0]
	for _, f := range archive.Files {
		if f.Name != "want" {
			files = append(files, f)
		}
	}
	archive.Files = append(files, txtar.File{Name: "want", Data: []byte(got)})
	require.NoError(t, os.WriteFile(name, txtar.Format(archive), 0o644))
}

func TestProblemsAreAnErrorWithParts(t *testing.T) {
	_, err := spec.Load(fstest.MapFS{"a.yaml": {Data: []byte("a: b\n")}})
	var problems spec.Problems
	require.ErrorAs(t, err, &problems)
	require.Equal(t, spec.Problem{File: "a.yaml", Line: 1, Column: 1,
		Message: "this document isn't evenkeel's (it has no apiVersion, not evenkeel.dev/v1): list the file in .evenkeelignore if it is for something else"}, problems[0])
}
