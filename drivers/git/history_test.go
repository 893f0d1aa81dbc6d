package git_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/git"
)

func TestRewound(t *testing.T) {
	r := newRepo(t)
	first := r.commit("a.yaml", "1")
	s := open(t, r.options())
	require.False(t, fetch(t, s).Rewound, "there was none before")
	for range 5 {
		r.git("commit", "-q", "--allow-empty", "-m", "More")
	}
	require.False(t, fetch(t, s).Rewound, "some commits at once")
	r.git("checkout", "-q", "-b", "side", first)
	r.commit("b.yaml", "b")
	r.git("checkout", "-q", "main")
	r.git("merge", "-q", "--no-edit", "side")
	require.False(t, fetch(t, s).Rewound, "a merge")
	r.git("reset", "-q", "--hard", "HEAD~1")
	require.True(t, fetch(t, s).Rewound, "a reset")
	require.False(t, fetch(t, s).Rewound, "said once")
	r.git("commit", "-q", "--amend", "--allow-empty", "-m", "Other")
	require.True(t, fetch(t, s).Rewound, "an amended commit")
}

// What a bare repository goes through on a git server, under one Source.
func TestAServersRepository(t *testing.T) {
	bare, clone := newBare(t)
	clone.commit("a.yaml", "1")
	clone.git("push", "-q", "origin", "main")
	s := open(t, bare.options())
	fetch(t, s)

	clone.commit("a.yaml", "2")
	clone.git("push", "-q", "origin", "main")
	require.Equal(t, "2", read(t, fetch(t, s), "a.yaml"))

	bare.git("gc", "-q", "--prune=now")
	require.False(t, fetch(t, s).Rewound)

	clone.git("checkout", "-q", "--orphan", "fresh")
	forced := clone.commit("a.yaml", "forced")
	clone.git("push", "-q", "--force", "origin", "fresh:main")
	rev := fetch(t, s)
	require.Equal(t, forced, rev.ID)
	require.True(t, rev.Rewound)

	bare.git("reflog", "expire", "--expire=now", "--all")
	bare.git("gc", "-q", "--prune=now")
	require.Equal(t, "forced", read(t, fetch(t, s), "a.yaml"), "the commits before are gone now")
	next := clone.commit("b.yaml", "b")
	clone.git("push", "-q", "origin", "fresh:main")
	require.Equal(t, next, fetch(t, s).ID)
}

func TestSharedAndShallowClones(t *testing.T) {
	r := newRepo(t)
	r.commit("a.yaml", "1")
	id := r.commit("a.yaml", "2")
	r.git("gc", "-q")
	base := filepath.Dir(r.dir)
	for name, args := range map[string][]string{
		"shared":  {"clone", "-q", "--shared", r.dir, base + "/shared"},
		"shallow": {"clone", "-q", "--depth=1", "file://" + r.dir, base + "/shallow"},
		"mirror":  {"clone", "-q", "--mirror", r.dir, base + "/mirror"},
	} {
		r.git(args...)
		require.Equal(t, id, fetch(t, open(t, git.Options{Repo: filepath.Join(base, name)})).ID, name)
	}
	alternates := filepath.Join(base, "shared/.git/objects/info/alternates")
	require.NoError(t, os.WriteFile(alternates, []byte("../../../fleet/.git/objects\n"), 0o644))
	require.Equal(t, id, fetch(t, open(t, git.Options{Repo: base + "/shared"})).ID, "a relative alternate")
}

func TestSubmodulesArePassedOver(t *testing.T) {
	lib := newRepo(t)
	lib.commit("lib.yaml", "x")
	r := newRepo(t)
	r.commit("a.yaml", "x")
	r.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", lib.dir, "vendor/lib")
	r.git("commit", "-q", "-m", "Add lib")
	rev := fetch(t, open(t, r.options()))
	require.Equal(t, []string{".gitmodules", "a.yaml"}, files(t, rev))
	require.Len(t, rev.Warnings, 1)
	require.Contains(t, rev.Warnings[0], "vendor/lib is a submodule")
}

func TestLinkedWorkTreesHaveTheirOwnHead(t *testing.T) {
	r := newRepo(t)
	r.commit("a.yaml", "main")
	linked := &repo{t: t, dir: filepath.Join(filepath.Dir(r.dir), "linked")}
	r.git("worktree", "add", "-q", "-b", "prod", linked.dir)
	linked.commit("a.yaml", "prod")
	require.Equal(t, "main", read(t, fetch(t, open(t, r.options())), "a.yaml"))
	rev := fetch(t, open(t, linked.options()))
	require.Equal(t, "prod", read(t, rev, "a.yaml"))
	require.Equal(t, "prod", rev.Ref)
}

func TestDirty(t *testing.T) {
	r := newRepo(t)
	r.write("shop/app.conf", "conf\nconf\n")
	r.write("shop/large", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
	r.write("shop/gone.yaml", "x")
	r.write(".gitignore", "local*.yaml\n")
	r.commit("shop/a.yaml", "a")
	o := r.options()
	o.Path = "shop"
	s := open(t, o)
	rev := fetch(t, s)
	dirty := func() []string {
		t.Helper()
		list, err := s.Dirty(t.Context(), rev)
		require.NoError(t, err)
		return list
	}
	require.Empty(t, dirty())
	r.write("other/new.yaml", "outside of the path")
	r.write("shop/local-1.yaml", "ignored")
	r.write("shop/.idea/x.yaml", "hidden")
	r.write("shop/notes.txt", "no YAML")
	r.write("shop/app.conf", "conf\r\nconf\r\n")
	r.write("shop/large", strings.Repeat("the large file itself", 100))
	require.Empty(t, dirty())
	r.write("shop/a.yaml", "b")
	r.write("shop/app.conf", "conf\nelse\n")
	r.write("shop/deep/new.yml", "new")
	require.NoError(t, os.Remove(filepath.Join(r.dir, "shop/gone.yaml")))
	require.Equal(t, []string{"a.yaml", "app.conf", "deep/new.yml", "gone.yaml"}, dirty())
	require.Equal(t, "a", read(t, fetch(t, s), "a.yaml"), "only commits count")
	r.git("checkout", "-q", "-b", "elsewhere")
	r.git("commit", "-q", "-a", "-m", "Elsewhere")
	require.Empty(t, dirty(), "another commit is checked out: nothing to compare")
}

func TestDirtyFilesThatDontMatter(t *testing.T) {
	r := newRepo(t)
	r.write("fleet.yaml", fleetYAML)
	r.write("shop.yaml", environmentOf("shop", "app.conf"))
	r.write("app.conf", "one")
	r.write("notes.txt", "one")
	r.write(".evenkeelignore", "charts/\n")
	r.write("charts/values.yaml", "x: 1\n")
	r.git("add", ".")
	r.git("commit", "-q", "-m", "All")
	o := r.options()
	o.Reads = loads
	s := open(t, o)
	rev := fetch(t, s)
	dirty := func() []string {
		t.Helper()
		list, err := s.Dirty(t.Context(), rev)
		require.NoError(t, err)
		return list
	}
	r.write("notes.txt", "two")
	r.write("charts/values.yaml", "x: 2\n")
	r.write("charts/more.yaml", "x: 2\n")
	require.Empty(t, dirty())
	r.write("app.conf", "two")
	r.write("blog.yaml", environmentOf("blog"))
	require.Equal(t, []string{"app.conf", "blog.yaml"}, dirty())
	require.NoError(t, os.Remove(filepath.Join(r.dir, "app.conf")))
	require.NoError(t, os.Remove(filepath.Join(r.dir, "shop.yaml")))
	require.Equal(t, []string{"app.conf", "blog.yaml", "shop.yaml"}, dirty(), "they are read in the commit")
}
