package git_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/drivers/git"
	"github.com/evenkeel/evenkeel/spec"
)

// loads reads what a loading of specs does.
func loads(files fs.FS) { _, _ = spec.Load(files) }

const fleetYAML = `apiVersion: evenkeel.dev/v1
kind: Fleet
metadata: {name: production}
spec:
  hosts: [{name: hn1, endpoint: "unix:///var/run/docker.sock"}]
`

// environmentOf has a layer with one file for each place that content comes from.
func environmentOf(name string, from ...string) string {
	var files []string
	for i, f := range from {
		files = append(files, fmt.Sprintf("{path: /f%d, from: %s}", i, f))
	}
	return fmt.Sprintf(`apiVersion: evenkeel.dev/v1
kind: Environment
metadata: {name: %s}
spec:
  layers: [{name: web, image: nginx, files: [%s]}]
`, name, strings.Join(files, ", "))
}

func newFleet(t testing.TB) *repo {
	t.Helper()
	r := newDirectory(t)
	r.write("fleet.yaml", fleetYAML)
	r.write("shop/shop.yaml", environmentOf("shop", "app.conf"))
	r.write("shop/app.conf", "one")
	r.write(".evenkeelignore", "charts/\n")
	r.write("charts/values.yaml", "x: 1\n")
	r.write("notes.txt", "one")
	r.link("notes.txt", "latest")
	return r
}

func TestOnlyWhatIsReadMakesARevision(t *testing.T) {
	cases := []struct {
		name   string
		change func(r *repo)
		new    bool
	}{
		{"nothing", func(*repo) {}, false},
		{"a document", func(r *repo) { r.write("shop/shop.yaml", environmentOf("shop", "app.conf")+"# more\n") }, true},
		{"a new document", func(r *repo) { r.write("api.yaml", environmentOf("api")) }, true},
		{"a document that is gone", func(r *repo) { r.remove("shop/shop.yaml") }, true},
		{"a file that a document names", func(r *repo) { r.write("shop/app.conf", "two") }, true},
		{"such a file that is gone", func(r *repo) { r.remove("shop/app.conf") }, true},
		{"such a file that is a directory", func(r *repo) { r.remove("shop/app.conf"); r.write("shop/app.conf/x", "") }, true},
		{"what is ignored", func(r *repo) { r.write(".evenkeelignore", "charts/\nother/\n") }, true},
		{"a further list of what is ignored", func(r *repo) { r.write("shop/.evenkeelignore", "x\n") }, true},
		{"a file nobody names", func(r *repo) { r.write("notes.txt", "two") }, false},
		{"a new file nobody names", func(r *repo) { r.write("shop/web.log", "x") }, false},
		{"a new directory", func(r *repo) { r.write("build/out.bin", "x") }, false},
		{"a document that is ignored", func(r *repo) { r.write("charts/values.yaml", "x: 2\n") }, false},
		{"a document that is a link to nowhere", func(r *repo) { r.link(".nowhere", "a.yaml") }, true},
		{"a link nobody follows", func(r *repo) { r.write("more.txt", ""); r.remove("latest"); r.link("more.txt", "latest") }, false},
		{"permissions", func(r *repo) { require.NoError(r.t, os.Chmod(filepath.Join(r.dir, "fleet.yaml"), 0o600)) }, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newFleet(t)
			s := open(t, git.Options{Repo: r.dir, Reads: loads})
			before := fetch(t, s)
			c.change(r)
			after := fetch(t, s)
			require.Equal(t, c.new, before.ID != after.ID)
			anew := fetch(t, open(t, git.Options{Repo: r.dir, Reads: loads}))
			require.Equal(t, anew.ID, after.ID, "what was read before plays no part")
		})
	}
}

func TestARevisionHoldsWhatWasRead(t *testing.T) {
	r := newFleet(t)
	rev := fetch(t, open(t, git.Options{Repo: r.dir, Reads: loads}))
	require.Equal(t, []string{".evenkeelignore", "fleet.yaml", "shop/app.conf", "shop/shop.yaml"}, files(t, rev))
	require.Empty(t, rev.Warnings, "a link to what isn't read is nobody's concern")
	_, err := fs.ReadFile(rev.Files, "notes.txt")
	require.ErrorIs(t, err, fs.ErrNotExist)
	s, err := spec.Load(rev.Files)
	require.NoError(t, err)
	require.Equal(t, "one", string(s.Environments[0].Layers[0].Files[0].Content))
}

// Links that change places lead to other content, though all of it was read before.
func TestAChangedLinkMakesARevision(t *testing.T) {
	r := newDirectory(t)
	r.write("fleet.yaml", fleetYAML)
	r.write("shop.yaml", environmentOf("shop", "first", "second"))
	r.write("a", "a")
	r.write("b", "b")
	link := func(first, second string) {
		for name, target := range map[string]string{"first": first, "second": second} {
			_ = os.Remove(filepath.Join(r.dir, name))
			r.link(target, name)
		}
	}
	s := open(t, git.Options{Repo: r.dir, Reads: loads})
	link("a", "b")
	before := fetch(t, s)
	link("b", "a")
	require.NotEqual(t, before.ID, fetch(t, s).ID)
}

func TestOnlyWhatIsReadCounts(t *testing.T) {
	r := newFleet(t)
	r.write("assets/large.bin", strings.Repeat("x", 2<<20))
	fetch(t, open(t, git.Options{Repo: r.dir, Reads: loads, MaxBytes: 1 << 20}))
	r.write("shop/app.conf", strings.Repeat("x", 2<<20))
	refused(t, open(t, git.Options{Repo: r.dir, Reads: loads, MaxBytes: 1 << 20}), git.TooLarge)
}

// What writes all the time beside the documents holds nothing up, and costs no loading.
func TestALogBesideTheDocuments(t *testing.T) {
	r := newFleet(t)
	r.write("web.log", "")
	read := 0
	s := open(t, git.Options{Repo: r.dir, Reads: func(files fs.FS) { read++; loads(files) }})
	stop := beside(t, func(i int) error {
		return os.WriteFile(filepath.Join(r.dir, "web.log"), []byte(strconv.Itoa(i)), 0o644)
	})
	defer stop()
	first := fetch(t, s)
	// Once the documents are old enough to be told by their times they aren't read again.
	require.Eventually(t, func() bool {
		before := read
		require.Equal(t, first.ID, fetch(t, s).ID)
		return read == before
	}, patience, time.Millisecond)
}

// TestARevisionStandsForWhatIsLoaded: as long as the revision is the same, so is what is loaded.
func TestARevisionStandsForWhatIsLoaded(t *testing.T) {
	names := []string{"a.yaml", "d/a.yaml", "d/e/b.yml", ".evenkeelignore", "d/.evenkeelignore", "x", "d/x", "notes.txt"}
	contents := []string{
		fleetYAML, environmentOf("shop"), environmentOf("shop", "x"), environmentOf("shop", "../x", "a.yaml"),
		environmentOf("api", "d/x"), "d/\n", "*.yaml\n!a.yaml\n", "x", "sops: {}\n", "- broken", "",
	}
	rapid.Check(t, func(rt *rapid.T) {
		r := newDirectory(t)
		r.write("fleet.yaml", fleetYAML)
		s := open(t, git.Options{Repo: r.dir, Reads: loads})
		type loaded struct {
			spec *spec.Spec
			err  error
		}
		seen := map[string]loaded{}
		for range 3 {
			for range rapid.IntRange(0, 3).Draw(rt, "changes") {
				change(rt, r, rapid.SampledFrom(names).Draw(rt, "name"), rapid.SampledFrom(contents).Draw(rt, "content"), names)
			}
			rev := fetch(t, s)
			var now loaded
			now.spec, now.err = spec.Load(rev.Files)
			onDisk, err := spec.Load(os.DirFS(r.dir))
			require.Equal(rt, onDisk == nil, now.spec == nil, "%v, on disk %v", now.err, err)
			if before, ok := seen[rev.ID]; ok {
				require.Equal(rt, before.spec, now.spec)
				require.Equal(rt, fmt.Sprint(before.err), fmt.Sprint(now.err))
			}
			seen[rev.ID] = now
		}
	})
}

// change writes a file, removes it, or puts a link to another name in its place.
func change(rt *rapid.T, r *repo, name, content string, names []string) {
	full := filepath.Join(r.dir, name)
	if err := os.Remove(full); err != nil && !errors.Is(err, fs.ErrNotExist) {
		rt.Fatal(err)
	}
	switch rapid.IntRange(0, 4).Draw(rt, "how") {
	case 0:
	case 1:
		target := rapid.SampledFrom(names).Draw(rt, "target")
		r.mkdir(path.Dir(name))
		r.link(strings.Repeat("../", strings.Count(name, "/"))+target, name)
	default:
		r.write(name, content)
	}
}
