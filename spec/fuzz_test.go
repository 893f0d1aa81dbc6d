package spec_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/spec"
)

func repositoryWith(document string) fstest.MapFS {
	return fstest.MapFS{"fleet.yaml": {Data: []byte(fleetYAML)}, "shop.yaml": {Data: []byte(document)}}
}

// FuzzLoad gives any bytes as a document beside a good fleet: loading ends soon, without a panic, with a
// specification or with problems that each say where and what.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/full/*.yaml", "../examples/*/*.yaml"} {
		names, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, name := range names {
			data, err := os.ReadFile(name)
			require.NoError(f, err)
			f.Add(data)
		}
	}
	names, err := filepath.Glob("testdata/errors/*.txtar")
	require.NoError(f, err)
	for _, name := range names {
		archive, err := txtar.ParseFile(name)
		require.NoError(f, err)
		for _, file := range archive.Files {
			if file.Name != "want" {
				f.Add(file.Data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		start := time.Now()
		checkLoad(t, repositoryWith(string(data)))
		require.Less(t, time.Since(start), 10*time.Second)
	})
}

func checkLoad(t *testing.T, files fstest.MapFS) {
	t.Helper()
	s, err := spec.Load(files)
	if err == nil {
		require.NotEmpty(t, s.Fleet.Name)
		return
	}
	var problems spec.Problems
	require.ErrorAs(t, err, &problems)
	require.NotEmpty(t, problems)
	for _, p := range problems {
		require.NotEmpty(t, p.Message)
		require.NotContains(t, p.String(), "\n", "a problem is one line")
	}
}

// TestHostileDocuments are those that have brought other loaders down.
func TestHostileDocuments(t *testing.T) {
	for name, document := range map[string]string{
		"many brackets":     strings.Repeat("[", 100_000),
		"many braces":       strings.Repeat("{a: ", 100_000),
		"many dashes":       strings.Repeat("- ", 100_000),
		"many questions":    strings.Repeat("? ", 100_000),
		"many indents":      indents(1000),
		"many keys":         envOf(40_000, "k%d: 1\n"),
		"many odd numbers":  envOf(40_000, "k%d: 010\n"),
		"many unknown keys": strings.ReplaceAll(envOf(40_000, "imag%d: 1\n"), "      env:\n", "      updatePolicy:\n"),
		"broken at the end": envOf(4_900, "k%d: x\n") + "  - : [\n",
		"many broken files": "a: [\n" + strings.Repeat("---\na: [\n", 30_000),
		"many good keys":    envOf(40_000, "k%d: x\n"),
		"many items":        minimal + "      tmpfs: [" + strings.Repeat("1,", 40_000) + "]\n",
		"long key":          minimal + "      " + strings.Repeat("a", 500_000) + ": 1\n",
		"long text":         strings.Replace(minimal, "nginx", strings.Repeat("a", 500_000), 1),
		"large number":      strings.Replace(minimal, "image:", "replicas: 1e999999999, image:", 1),
		"larger number":     strings.Replace(minimal, "image:", "replicas: "+strings.Repeat("9", 400_000)+", image:", 1),
		"not a number":      strings.Replace(minimal, "image:", "replicas: .nan, image:", 1),
		"infinity":          strings.Replace(minimal, "image:", "replicas: -.inf, image:", 1),
		"large memory":      strings.Replace(minimal, "image:", "resources: {memory: "+strings.Repeat("9", 100_000)+"Ti}, image:", 1),
		"large cpu":         strings.Replace(minimal, "image:", "resources: {cpu: 1e300}, image:", 1),
		"large cloudlets":   strings.Replace(minimal, "image:", "cloudlets: {limit: 100000, reserved: 100000}, image:", 1),
		"long duration":     strings.Replace(minimal, "image:", "stop: {grace: 99999999999999999999h}, image:", 1),
		"many documents":    strings.Repeat("---\na: b\n", 50_000),
		"many aliases":      "a: &a x\nb: [" + strings.Repeat("*a,", 200_000) + "]\n",
		"line separators":   minimal + "      \"\u2028\u0085x\\ny\": 1\n",
		"escaped NUL":       strings.Replace(minimal, "nginx", `"a\0b"`, 1),
		"10 MB":             strings.Repeat("a: b\n", 2_000_000),
		"10 MB of one line": strings.Repeat("x", 10_000_000),
		"UTF-16":            "\xff\xfea\x00:\x00 \x00b\x00",
		"NUL bytes":         strings.Repeat("\x00", 1000),
		"Latin-1":           "a: caf\xe9\n",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			checkLoad(t, repositoryWith(document))
			// A way that is quadratic takes hours; a busy machine and the race detector take their time too.
			require.Less(t, time.Since(start), time.Minute)
		})
	}
}

func indents(depth int) string {
	var b bytes.Buffer
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func envOf(n int, format string) string {
	var b strings.Builder
	b.WriteString("apiVersion: evenkeel.dev/v1\nkind: Environment\nmetadata: {name: shop}\nspec:\n  layers:\n    - name: web\n      image: nginx\n      env:\n")
	for i := range n {
		b.WriteString("        " + fmt.Sprintf(format, i))
	}
	return b.String()
}
