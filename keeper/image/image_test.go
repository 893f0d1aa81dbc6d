package image

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"
)

// program builds a small program for Linux and the architecture.
func program(t *testing.T, arch string) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600))
	path := filepath.Join(dir, "evenkeel-linux-"+arch)
	c := exec.CommandContext(t.Context(), "go", "build", "-o", path, source)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=")
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

func TestFind(t *testing.T) {
	static, other := program(t, "amd64"), program(t, "arm64")
	dynamic := "/bin/ls"
	text := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(text, []byte("#!/bin/sh\n"), 0o700))
	for name, c := range map[string]struct{ running, dir, arch, want, problem string }{
		"itself":            {static, "/nowhere", "amd64", static, ""},
		"sibling":           {dynamic, filepath.Dir(static), "amd64", static, ""},
		"sibling of others": {static, filepath.Dir(other), "arm64", other, ""},
		"none":              {static, "/nowhere", "arm64", "", "--keeper-image"},
		"says why":          {text, "/nowhere", "amd64", "", "it isn't a Linux program; /nowhere/evenkeel-linux-amd64: it isn't there"},
		"unknown":           {static, "/nowhere", "vax", "", `architecture "vax" isn't known`},
	} {
		t.Run(name, func(t *testing.T) {
			path, err := find(c.running, c.dir, c.arch)
			if c.problem != "" {
				require.ErrorContains(t, err, c.problem)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, path)
		})
	}
	require.ErrorContains(t, Check(dynamic, "amd64"), "linked dynamically")
}

func TestBuild(t *testing.T) {
	path := program(t, "amd64")
	i, err := Build(path, "amd64", 3)
	require.NoError(t, err)
	defer i.Close()
	require.Equal(t, "evenkeel-keeper:3-"+strings.TrimPrefix(i.ID, "sha256:")[:12], i.Tag())
	first, err := io.ReadAll(i.Tar())
	require.NoError(t, err)
	again, err := Build(path, "amd64", 3)
	require.NoError(t, err)
	defer again.Close()
	second, err := io.ReadAll(again.Tar())
	require.NoError(t, err)
	require.True(t, bytes.Equal(first, second), "the same program, the same image")
	require.Equal(t, i.ID, again.ID)

	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(first)), nil }
	manifest, err := tarball.LoadManifest(open)
	require.NoError(t, err)
	require.Len(t, manifest, 1)
	require.Equal(t, []string{i.Tag()}, manifest[0].RepoTags, "the engine knows it by this very name")
	loaded, err := tarball.Image(open, nil)
	require.NoError(t, err)
	require.NoError(t, validate.Image(loaded))
	config, err := loaded.ConfigFile()
	require.NoError(t, err)
	require.Equal(t, []string{"/evenkeel"}, config.Config.Entrypoint)
	require.Equal(t, map[string]string{"dev.evenkeel.role": "keeper", "dev.evenkeel.version": "3"}, config.Config.Labels)
	require.Equal(t, "amd64", config.Architecture)
	id, err := loaded.ConfigName()
	require.NoError(t, err)
	require.Equal(t, i.ID, id.String())

	layers, err := loaded.Layers()
	require.NoError(t, err)
	require.Len(t, layers, 1)
	content, err := layers[0].Uncompressed()
	require.NoError(t, err)
	defer content.Close()
	files := tar.NewReader(content)
	h, err := files.Next()
	require.NoError(t, err)
	require.Equal(t, "tmp/", h.Name)
	require.EqualValues(t, 0o1777, h.Mode)
	h, err = files.Next()
	require.NoError(t, err)
	require.Equal(t, "evenkeel", h.Name)
	require.EqualValues(t, 0o755, h.Mode)
	got, err := io.ReadAll(files)
	require.NoError(t, err)
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	_, err = files.Next()
	require.ErrorIs(t, err, io.EOF)

	other, err := Build(program(t, "arm64"), "arm64", 3)
	require.NoError(t, err)
	defer other.Close()
	require.NotEqual(t, i.Tag(), other.Tag(), "another program of the same version isn't taken for it")

	_, err = Build("/bin/ls", "amd64", 3)
	require.ErrorContains(t, err, "linked dynamically")
}

func TestATarThatNobodyReadsToItsEnd(t *testing.T) {
	i, err := Build(program(t, "amd64"), "amd64", 3)
	require.NoError(t, err)
	defer i.Close()
	r := i.Tar()
	_, err = r.Read(make([]byte, 100))
	require.NoError(t, err)
	require.NoError(t, r.Close()) // the writer ends: TestMain looks for what is left
}
