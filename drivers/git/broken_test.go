package git_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/git"
)

// Every way to break a repository ends in an error that says so, leaves the last revision readable,
// and is over once the repository is whole again.
func TestBrokenRepositories(t *testing.T) {
	gitDir := func(r *repo, name string) string { return filepath.Join(r.dir, ".git", name) }
	for _, c := range []struct {
		name, says string
		reason     git.Reason
		packed     bool
		damage     func(t *testing.T, r *repo)
	}{
		{name: "empty branch", reason: git.Corrupt, says: "refs/heads/main is empty", damage: func(t *testing.T, r *repo) {
			put(t, gitDir(r, "refs/heads/main"), "")
		}},
		{name: "empty branch over an older packed one", reason: git.Corrupt, says: "refs/heads/main is empty", packed: true, damage: func(t *testing.T, r *repo) {
			put(t, gitDir(r, "refs/heads/main"), "")
		}},
		{name: "branch of zeros", reason: git.Corrupt, says: "holds no commit", damage: func(t *testing.T, r *repo) {
			put(t, gitDir(r, "refs/heads/main"), strings.Repeat("\x00", 41))
		}},
		{name: "branch names a commit that isn't there", reason: git.Corrupt, says: "is missing", damage: func(t *testing.T, r *repo) {
			put(t, gitDir(r, "refs/heads/main"), strings.Repeat("1", 40)+"\n")
		}},
		{name: "cut packed-refs", reason: git.Corrupt, says: "packed-refs is cut short", packed: true, damage: func(t *testing.T, r *repo) {
			b, err := os.ReadFile(gitDir(r, "packed-refs"))
			require.NoError(t, err)
			put(t, gitDir(r, "packed-refs"), string(b[:len(b)-5]))
		}},
		{name: "empty HEAD", reason: git.Corrupt, says: "HEAD is empty", damage: func(t *testing.T, r *repo) { put(t, gitDir(r, "HEAD"), "") }},
		{name: "no HEAD", reason: git.Corrupt, says: "HEAD is missing", damage: func(t *testing.T, r *repo) { remove(t, gitDir(r, "HEAD")) }},
		{name: "deleted branch", reason: git.RefNotFound, says: "names the branch main, which doesn't exist", damage: func(_ *testing.T, r *repo) {
			r.git("branch", "other")
			r.git("update-ref", "-d", "refs/heads/main")
		}},
		{name: "the only branch deleted", reason: git.NoCommits, says: "no commit yet", damage: func(_ *testing.T, r *repo) {
			r.git("update-ref", "-d", "refs/heads/main")
		}},
		{name: "truncated objects", reason: git.Corrupt, says: "damaged", damage: func(t *testing.T, r *repo) {
			each(t, gitDir(r, "objects"), "", func(p string) { require.NoError(t, os.Truncate(p, 10)) })
		}},
		{name: "empty objects", reason: git.Corrupt, says: "damaged", damage: func(t *testing.T, r *repo) {
			each(t, gitDir(r, "objects"), "", func(p string) { require.NoError(t, os.Truncate(p, 0)) })
		}},
		{name: "an object with another's content", reason: git.Corrupt, says: "doesn't fit its hash", damage: func(t *testing.T, r *repo) {
			r.write("evil", "evil")
			evil := r.git("hash-object", "-w", "evil")
			good := r.git("rev-parse", "HEAD:new.yaml")
			b, err := os.ReadFile(gitDir(r, "objects/"+evil[:2]+"/"+evil[2:]))
			require.NoError(t, err)
			put(t, gitDir(r, "objects/"+good[:2]+"/"+good[2:]), string(b))
		}},
		{name: "a tree with another's content", reason: git.Corrupt, says: "another tree's content", damage: func(t *testing.T, r *repo) {
			older, good := r.git("rev-parse", "HEAD~1^{tree}"), r.git("rev-parse", "HEAD^{tree}")
			b, err := os.ReadFile(gitDir(r, "objects/"+older[:2]+"/"+older[2:]))
			require.NoError(t, err)
			put(t, gitDir(r, "objects/"+good[:2]+"/"+good[2:]), string(b))
		}},
		{name: "missing pack", reason: git.Corrupt, says: "missing", packed: true, damage: func(t *testing.T, r *repo) {
			each(t, gitDir(r, "objects/pack"), ".pack", func(p string) { remove(t, p) })
		}},
		{name: "missing index", reason: git.Corrupt, says: "missing", packed: true, damage: func(t *testing.T, r *repo) {
			each(t, gitDir(r, "objects/pack"), ".idx", func(p string) { remove(t, p) })
		}},
		{name: "truncated pack", reason: git.Corrupt, packed: true, damage: func(t *testing.T, r *repo) {
			each(t, gitDir(r, "objects/pack"), ".pack", func(p string) { require.NoError(t, os.Truncate(p, 40)) })
		}},
		{name: "truncated index", reason: git.Corrupt, packed: true, damage: func(t *testing.T, r *repo) {
			each(t, gitDir(r, "objects/pack"), ".idx", func(p string) { require.NoError(t, os.Truncate(p, 100)) })
		}},
		{name: "overwritten pack", reason: git.Corrupt, packed: true, damage: func(t *testing.T, r *repo) {
			each(t, gitDir(r, "objects/pack"), ".pack", func(p string) {
				info, err := os.Stat(p)
				require.NoError(t, err)
				put(t, p, strings.Repeat("\xff", int(info.Size())))
			})
		}},
		{name: "no objects", reason: git.Corrupt, says: "no objects directory", damage: func(t *testing.T, r *repo) {
			require.NoError(t, os.RemoveAll(gitDir(r, "objects")))
		}},
		{name: "no .git", reason: git.NotFound, damage: func(t *testing.T, r *repo) { require.NoError(t, os.RemoveAll(gitDir(r, ""))) }},
		{name: ".git is an empty file", reason: git.Corrupt, says: "doesn't name a directory", damage: func(t *testing.T, r *repo) {
			require.NoError(t, os.RemoveAll(gitDir(r, "")))
			put(t, gitDir(r, ""), "")
		}},
		{name: ".git leads nowhere", reason: git.NotFound, damage: func(t *testing.T, r *repo) {
			require.NoError(t, os.RemoveAll(gitDir(r, "")))
			put(t, gitDir(r, ""), "gitdir: ../nowhere\n")
		}},
		{name: "other object format", reason: git.Unsupported, says: "sha256", damage: func(_ *testing.T, r *repo) {
			r.git("config", "extensions.objectformat", "sha256")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRepo(t)
			r.commit("a.yaml", "one")
			if c.packed {
				r.git("pack-refs", "--all")
			}
			s := open(t, r.options())
			last := fetch(t, s)
			r.commit("new.yaml", "new")
			if c.packed && !strings.Contains(c.name, "empty") {
				r.git("gc", "-q", "--prune=now")
			}
			whole := filepath.Join(t.TempDir(), "git")
			require.NoError(t, os.CopyFS(whole, os.DirFS(gitDir(r, ""))))
			c.damage(t, r)

			require.ErrorContains(t, refused(t, s, c.reason), c.says)
			if c.name != "no .git" { // opened in this state, that is a plain directory
				require.ErrorContains(t, refused(t, open(t, r.options()), c.reason), c.says)
			}
			require.Equal(t, "one", read(t, last, "a.yaml"))

			require.NoError(t, os.RemoveAll(gitDir(r, "")))
			require.NoError(t, os.CopyFS(gitDir(r, ""), os.DirFS(whole)))
			rev := fetch(t, s)
			require.Equal(t, "new", read(t, rev, "new.yaml"))
			require.False(t, rev.Rewound)
		})
	}
}

func put(t *testing.T, name, content string) {
	t.Helper()
	_ = os.Remove(name)
	require.NoError(t, os.WriteFile(name, []byte(content), 0o644))
}

func remove(t *testing.T, name string) {
	t.Helper()
	require.NoError(t, os.Remove(name))
}

func each(t *testing.T, dir, suffix string, do func(p string)) {
	t.Helper()
	n := 0
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(p, suffix) {
			require.NoError(t, os.Chmod(p, 0o644))
			do(p)
			n++
		}
		return err
	}))
	require.NotZero(t, n, "nothing to damage")
}

func TestARepositoryNeverBecomesADirectory(t *testing.T) {
	r := newRepo(t)
	r.commit("a.yaml", "committed")
	s := open(t, r.options())
	r.write("a.yaml", "not committed")
	require.NoError(t, os.RemoveAll(filepath.Join(r.dir, ".git")))
	refused(t, s, git.NotFound)
}

func TestAPackBeingWrittenIsNoDamage(t *testing.T) {
	r := newRepo(t)
	id := r.commit("a.yaml", "one")
	r.git("gc", "-q", "--prune=now")
	put(t, filepath.Join(r.dir, ".git/objects/pack/pack-"+strings.Repeat("1", 40)+".pack"), "PACK")
	require.Equal(t, id, fetch(t, open(t, r.options())).ID)
}

func TestAnEmptyRepository(t *testing.T) {
	r := newRepo(t)
	s := open(t, r.options())
	refused(t, s, git.NoCommits)
	id := r.commit("a.yaml", "one")
	require.Equal(t, id, fetch(t, s).ID)
}
