package demo

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	source "github.com/evenkeel/evenkeel/drivers/git"
	"github.com/evenkeel/evenkeel/spec"
)

func TestRepositoryHoldsAValidFleet(t *testing.T) {
	for _, endpoint := range []string{"unix:///var/run/docker.sock", "tcp://127.0.0.1:2375"} {
		t.Run(endpoint, func(t *testing.T) {
			dir := t.TempDir()
			repo, err := newRepository(dir)
			require.NoError(t, err)
			first, err := repo.commit("one", map[string]string{
				"fleet.yaml": fleetSpec("demo-0a1b2c", endpoint), "shop.yaml": environmentSpec("evenkeel-demo:0a1b2c", greetingOne),
			})
			require.NoError(t, err)
			before := load(t, dir, first)
			require.Equal(t, "demo-0a1b2c", before.Fleet.Name)
			require.Equal(t, replicas, before.Environment(environment).Layer(webLayer).Replicas)

			second, err := repo.commit("two", map[string]string{"shop.yaml": environmentSpec("evenkeel-demo:0a1b2c", greetingTwo)})
			require.NoError(t, err)
			after := load(t, dir, second)
			web, client := after.Environment(environment).Layer(webLayer), after.Environment(environment).Layer(clientLayer)
			require.NotEqual(t, before.Environment(environment).Layer(webLayer).Hash, web.Hash, "the second commit changes the web nodes")
			require.Equal(t, before.Environment(environment).Layer(clientLayer).Hash, client.Hash, "and leaves the client alone")
			require.Equal(t, spec.Sequential, web.Update.Strategy)
		})
	}
}

func load(t *testing.T, dir, revision string) *spec.Spec {
	t.Helper()
	s, err := source.Open(source.Options{Repo: dir})
	require.NoError(t, err)
	r, err := s.Fetch(t.Context())
	require.NoError(t, err)
	require.Equal(t, revision, r.ID)
	loaded, err := spec.Load(r.Files)
	require.NoError(t, err)
	return loaded
}

func TestImageHoldsTheProgram(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	require.NoError(t, os.WriteFile(program, []byte("not a real one"), 0o600))
	var b bytes.Buffer
	require.NoError(t, writeImage(&b, program, "amd64", "evenkeel-demo:0a1b2c"))
	files := map[string]int64{}
	for in := tar.NewReader(&b); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		files[filepath.Ext(h.Name)] = h.Mode
	}
	require.Contains(t, files, ".json")
	require.Error(t, writeImage(io.Discard, filepath.Join(t.TempDir(), "none"), "amd64", "evenkeel-demo:0a1b2c"))
}

func TestResultIsHeldToItsPromise(t *testing.T) {
	good := Result{Requests: 1000, Rate: 99}
	require.NoError(t, good.Check())
	require.Contains(t, good.Summary(), "1000 requests, 0 failed\n")
	failed := good
	failed.Failed, failed.Error = 1, "connection refused"
	require.ErrorContains(t, failed.Check(), "connection refused")
	slow := good
	slow.Rate = 49
	require.ErrorContains(t, slow.Check(), "49 requests a second")
	require.Error(t, Result{Rate: 99}.Check())
}
