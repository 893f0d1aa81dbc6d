package spec_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/spec"
)

// TestWhatIsNotAFile: a directory on disk may hold what a commit can't.
func TestWhatIsNotAFile(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	file("fleet.yaml", fleetYAML)
	file("real/shop.yml", minimal)
	require.NoError(t, os.Symlink("real", filepath.Join(dir, "linked")))
	require.NoError(t, os.Symlink(".", filepath.Join(dir, "circle")))
	s, err := spec.Load(os.DirFS(dir))
	require.NoError(t, err)
	require.Len(t, s.Environments, 1)
	require.Len(t, s.Warnings, 2)
	require.Equal(t, "circle: a symbolic link to a directory isn't followed: put the directory here, or list the link in .evenkeelignore", s.Warnings[0].String())

	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe.yaml"), 0o644))
	require.NoError(t, os.Symlink("none.yaml", filepath.Join(dir, "broken.yaml")))
	require.NoError(t, os.Symlink("loop.yaml", filepath.Join(dir, "loop.yaml")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "dir.yaml"), 0o755))
	file("dir.yaml/x.yaml", "kind: Fleet\n")
	_, err = spec.Load(os.DirFS(dir))
	require.EqualError(t, err, `broken.yaml: can't be read: no such file or directory
dir.yaml/x.yaml:1:1: apiVersion: is missing: write apiVersion: evenkeel.dev/v1
loop.yaml: can't be read: too many levels of symbolic links
pipe.yaml: is not a regular file: remove it, or list it in .evenkeelignore`)
}

// failing is a file system in which one name can't be read.
type failing struct {
	fs.FS
	name string
}

func (f failing) Open(name string) (fs.File, error) {
	if name == f.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("input/output error")}
	}
	return f.FS.Open(name)
}

// TestWhatCanNotBeRead is never taken for absent: an environment that vanishes is one that is removed.
func TestWhatCanNotBeRead(t *testing.T) {
	files := fstest.MapFS{
		"fleet.yaml":          {Data: []byte(fleetYAML)},
		"sub/shop.yaml":       {Data: []byte(minimal)},
		"sub/.evenkeelignore": {Data: []byte("x\n")},
	}
	for name, want := range map[string]string{
		".":                   "can't be read: input/output error",
		"sub":                 "sub: can't be read: input/output error",
		"sub/shop.yaml":       "sub/shop.yaml: can't be read: input/output error",
		"sub/.evenkeelignore": "sub/.evenkeelignore: can't be read: input/output error",
	} {
		_, err := spec.Load(failing{files, name})
		require.ErrorContains(t, err, want, name)
	}
}
