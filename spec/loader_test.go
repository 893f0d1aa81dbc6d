package spec_test

import (
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/spec"
)

// growing is an environment with a layer that keys can be added to.
const growing = `apiVersion: evenkeel.dev/v1
kind: Environment
metadata: {name: shop}
spec:
  layers:
    - name: web
      image: nginx
`

// TestALoaderForgetsNothingAndInventsNothing: whatever was loaded before, the result is that of a first loading.
func TestALoaderForgetsNothingAndInventsNothing(t *testing.T) {
	contents := []string{
		minimal, fleetYAML, "", "a: [", "kind: Environment\n", "sops: {}\n", "x: 1\n",
		growing + "      files: [{path: /a, from: b.yaml}]\n", growing + "      colour: red\n",
		"apiVersion: evenkeel.dev/v1\nkind: Environment\nmetadata: {name: api}\nspec: {layers: [{name: web, image: nginx}]}\n---\n" + minimal,
	}
	rapid.Check(t, func(t *rapid.T) {
		var loader spec.Loader
		files := fstest.MapFS{"fleet.yaml": {Data: []byte(fleetYAML)}}
		for range rapid.IntRange(1, 6).Draw(t, "revisions") {
			name := rapid.SampledFrom([]string{"a.yaml", "b.yaml", "fleet.yaml", "d/a.yml", ".evenkeelignore"}).Draw(t, "name")
			if i := rapid.IntRange(-1, len(contents)-1).Draw(t, "content"); i < 0 {
				delete(files, name)
			} else {
				files[name] = &fstest.MapFile{Data: []byte(contents[i])}
			}
			want, wantErr := spec.Load(files)
			got, err := loader.Load(files)
			require.Equal(t, wantErr, err)
			require.Equal(t, want, got)
		}
	})
}

func TestALoaderParsesWhatChanged(t *testing.T) {
	files := repository(20, 5)
	first := testing.AllocsPerRun(1, func() { _, _ = spec.Load(files) })
	var loader spec.Loader
	replicas := 0
	again := testing.AllocsPerRun(3, func() { // and once before it counts
		replicas++
		files["shop.yaml"] = &fstest.MapFile{Data: fmt.Appendf(nil, "%s      replicas: %d\n", growing, replicas)}
		s, err := loader.Load(files)
		require.NoError(t, err)
		require.Equal(t, replicas, s.Environment("shop").Layer("web").Replicas)
	})
	require.Less(t, again, first/2)
}
