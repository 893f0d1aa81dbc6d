package git_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/drivers/git"
)

func TestMain(m *testing.M) {
	remove, err := trust()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		remove()
		os.Exit(code)
	}))
}

// repo is a directory that tests write to, with the real git beside it.
type repo struct {
	t   testing.TB
	dir string
}

func newDirectory(t testing.TB) *repo {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	r := &repo{t: t, dir: filepath.Join(dir, "fleet")}
	require.NoError(t, os.Mkdir(r.dir, 0o755))
	return r
}

func newRepo(t testing.TB) *repo {
	t.Helper()
	r := newDirectory(t)
	r.git("init", "-q", "-b", "main")
	return r
}

// newBare returns a bare repository and a clone that pushes to it.
func newBare(t testing.TB) (bare, clone *repo) {
	t.Helper()
	bare = newDirectory(t)
	bare.git("init", "-q", "--bare", "-b", "main")
	clone = newRepo(t)
	clone.git("remote", "add", "origin", bare.dir)
	return bare, clone
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	out, err := r.try(args...)
	require.NoError(r.t, err, "git %s: %s", strings.Join(args, " "), out)
	return out
}

func (r *repo) try(args ...string) (string, error) {
	cmd := exec.Command("git", append([]string{"-C", r.dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com",
		"GIT_ALLOW_PROTOCOL=file", "GIT_EDITOR=true")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (r *repo) write(name, content string) {
	r.t.Helper()
	r.mkdir(filepath.Dir(name))
	require.NoError(r.t, os.WriteFile(filepath.Join(r.dir, name), []byte(content), 0o644))
}

func (r *repo) mkdir(name string) {
	r.t.Helper()
	require.NoError(r.t, os.MkdirAll(filepath.Join(r.dir, name), 0o755))
}

func (r *repo) link(target, name string) {
	r.t.Helper()
	require.NoError(r.t, os.Symlink(target, filepath.Join(r.dir, name)))
}

func (r *repo) remove(name string) {
	r.t.Helper()
	require.NoError(r.t, os.Remove(filepath.Join(r.dir, name)))
}

// commit writes one file, commits everything and returns the commit.
func (r *repo) commit(name, content string) string {
	r.t.Helper()
	r.write(name, content)
	r.git("add", "-A")
	r.git("commit", "-q", "-m", "Set "+name)
	return r.git("rev-parse", "HEAD")
}

func (r *repo) options() git.Options { return git.Options{Repo: r.dir} }

func open(t testing.TB, o git.Options) *git.Source {
	t.Helper()
	s, err := git.Open(o)
	require.NoError(t, err)
	return s
}

func fetch(t testing.TB, s *git.Source) git.Revision {
	t.Helper()
	rev, err := s.Fetch(t.Context())
	require.NoError(t, err)
	return rev
}

// refused fetches and expects an error of that reason, which says what and what to do.
func refused(t testing.TB, s *git.Source, reason git.Reason) error {
	t.Helper()
	rev, err := s.Fetch(t.Context())
	require.Error(t, err, "got revision %s", rev.ID)
	require.Equal(t, reason, git.ReasonOf(err), "%v", err)
	var e *git.Error
	require.ErrorAs(t, err, &e)
	require.NotEmpty(t, e.What)
	require.NotEmpty(t, e.Remedy)
	require.Contains(t, err.Error(), e.Repo)
	return err
}

func read(t testing.TB, rev git.Revision, name string) string {
	t.Helper()
	b, err := fs.ReadFile(rev.Files, name)
	require.NoError(t, err)
	return string(b)
}

// files lists what fs.WalkDir finds.
func files(t testing.TB, rev git.Revision) []string {
	t.Helper()
	names := []string{}
	require.NoError(t, fs.WalkDir(rev.Files, ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, p)
		}
		return err
	}))
	return names
}

const patience = 20 * time.Second

// hinted waits for a hint after which the condition holds.
func hinted(t testing.TB, hints <-chan struct{}, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		select {
		case _, open := <-hints:
			require.True(t, open, "the hints ended")
			if holds() {
				return
			}
		case <-ctx.Done():
			require.FailNow(t, "no hint", "after %s: %s", patience, what)
		}
	}
}

// watch starts watching with polling as good as off, and takes the first hint.
func watch(t testing.TB, s *git.Source) <-chan struct{} {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	hints := s.Watch(ctx)
	t.Cleanup(func() {
		cancel()
		for range hints { // ends when the goroutine has
		}
	})
	hinted(t, hints, "the watch is in place", func() bool { return true })
	return hints
}
