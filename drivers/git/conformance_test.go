package git_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/git"
)

// kind is one way to have files; every kind of source passes the same tests.
type kind struct {
	name    string
	options git.Options
	*repo
	source  string // what is opened, where it isn't the directory written to
	publish func() // makes what was written the present revision
}

func kinds(t *testing.T, test func(t *testing.T, k kind)) {
	t.Helper()
	kindsOf(t, true, test)
}

// localKinds are those whose files can be moved and watched.
func localKinds(t *testing.T, test func(t *testing.T, k kind)) {
	t.Helper()
	kindsOf(t, false, test)
}

func kindsOf(t *testing.T, elsewhere bool, test func(t *testing.T, k kind)) {
	t.Helper()
	makers := map[string]func(t *testing.T) kind{
		"directory": func(t *testing.T) kind {
			r := newDirectory(t)
			return kind{repo: r, source: r.dir, publish: func() {}}
		},
		"work tree as it is": func(t *testing.T) kind {
			r := newRepo(t)
			return kind{repo: r, source: r.dir, options: git.Options{Worktree: true}, publish: func() {}}
		},
		"repository": func(t *testing.T) kind {
			r := newRepo(t)
			return kind{repo: r, source: r.dir, publish: func() { r.git("add", "-A"); r.git("commit", "-q", "--allow-empty", "-m", "x") }}
		},
		"bare repository": func(t *testing.T) kind {
			bare, r := newBare(t)
			return kind{repo: r, source: bare.dir, publish: func() {
				r.git("add", "-A")
				r.git("commit", "-q", "--allow-empty", "-m", "x")
				r.git("push", "-q", "origin", "main")
			}}
		},
		"linked work tree": func(t *testing.T) kind {
			main := newRepo(t)
			main.git("commit", "-q", "--allow-empty", "-m", "first")
			r := &repo{t: t, dir: filepath.Join(filepath.Dir(main.dir), "linked")}
			main.git("worktree", "add", "-q", "-b", "linked", r.dir)
			return kind{repo: r, source: r.dir, publish: func() { r.git("add", "-A"); r.git("commit", "-q", "--allow-empty", "-m", "x") }}
		},
	}
	run := func(name string) {
		t.Run(name, func(t *testing.T) {
			k := makers[name](t)
			k.name, k.options.Repo = name, k.source
			test(t, k)
		})
	}
	for _, name := range []string{"directory", "work tree as it is", "repository", "bare repository", "linked work tree"} {
		run(name)
	}
	if !elsewhere {
		return
	}
	makers["https"] = func(t *testing.T) kind {
		s := newServed(t)
		return kind{repo: s.repo, source: s.https.URL + "/fleet", options: git.Options{CacheDir: t.TempDir()}, publish: s.publish}
	}
	run("https")
}

func (k kind) isGit() bool { return k.name != "directory" && k.name != "work tree as it is" }

func TestFilesAreAFileSystem(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		k.write("fleet.yaml", "kind: Fleet\n")
		k.write("shop/web/web.yaml", "kind: Environment\n")
		k.write("shop/files/app.conf", "")
		k.write("sh", "sorts before shop/ in a directory, after it in a tree")
		k.publish()
		rev := fetch(t, open(t, k.options))
		require.NoError(t, fstest.TestFS(rev.Files, "fleet.yaml", "shop/web/web.yaml", "shop/files/app.conf", "sh"))
		require.Equal(t, "kind: Fleet\n", read(t, rev, "fleet.yaml"))
		require.Equal(t, []string{"fleet.yaml", "sh", "shop/files/app.conf", "shop/web/web.yaml"}, files(t, rev))
		require.Empty(t, rev.Warnings)
		require.Equal(t, k.isGit(), rev.IsCommit())
		require.WithinDuration(t, time.Now(), rev.Time, time.Minute)
	})
}

func TestRevisionFollowsContent(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		s := open(t, k.options)
		k.write("a/a.yaml", "one")
		k.publish()
		first := fetch(t, s)
		require.Equal(t, first.ID, fetch(t, s).ID, "nothing changed")
		k.write("a/a.yaml", "two")
		k.publish()
		second := fetch(t, s)
		require.NotEqual(t, first.ID, second.ID)
		require.Equal(t, "two", read(t, second, "a/a.yaml"))
		require.NoError(t, os.Remove(filepath.Join(k.dir, "a/a.yaml")))
		k.write("b.yaml", "two")
		k.publish()
		third := fetch(t, s)
		require.NotEqual(t, second.ID, third.ID)
		require.Equal(t, []string{"b.yaml"}, files(t, third))
		require.Equal(t, "one", read(t, first, "a/a.yaml"), "a revision never changes")
		require.False(t, second.Rewound || third.Rewound)
	})
}

func TestARevisionOutlivesItsSource(t *testing.T) {
	localKinds(t, func(t *testing.T, k kind) {
		k.write("a.yaml", "one")
		k.publish()
		s := open(t, k.options)
		rev := fetch(t, s)
		aside := k.source + ".aside"
		require.NoError(t, os.Rename(k.source, aside))
		refused(t, s, git.NotFound)
		require.Equal(t, "one", read(t, rev, "a.yaml"))
		require.NoError(t, os.Rename(aside, k.source))
		require.Equal(t, rev.ID, fetch(t, s).ID)
	})
}

func TestPathBoundsTheFiles(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		k.write("prod/eu/a.yaml", "a")
		k.write("prod/b.yaml", "b")
		k.write("other/c.yaml", "c")
		k.publish()
		k.options.Path = "./prod/eu/"
		s := open(t, k.options)
		require.Equal(t, []string{"a.yaml"}, files(t, fetch(t, s)))
		k.options.Path = "nowhere"
		err := refused(t, open(t, k.options), git.PathMissing)
		require.ErrorContains(t, err, "nowhere")
		k.options.Path = "prod/b.yaml"
		require.ErrorContains(t, refused(t, open(t, k.options), git.PathMissing), "not a directory")
		for _, bad := range []string{"..", "/etc", "prod/../.."} {
			k.options.Path = bad
			_, err := git.Open(k.options)
			require.Equal(t, git.BadOption, git.ReasonOf(err), bad)
		}
	})
}

func TestHiddenDirectoriesArePassedOver(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		k.write(".github/workflow.yaml", "x")
		k.write("shop/.cache/x.yaml", "x")
		k.write(".evenkeelignore", "x")
		k.write("shop/a.yaml", "x")
		k.publish()
		names := files(t, fetch(t, open(t, k.options)))
		require.Contains(t, names, ".evenkeelignore")
		require.Contains(t, names, "shop/a.yaml")
		for _, name := range names {
			require.False(t, strings.HasPrefix(name, ".github") || strings.Contains(name, ".cache"), name)
		}
	})
}

func TestLinks(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		k.write("common/app.conf", "conf")
		k.write("prod/a.yaml", "x")
		for name, target := range map[string]string{
			"prod/app.conf": "../common/app.conf", "prod/common": "../common", "prod/again": "app.conf",
			"prod/passwd": "/etc/passwd", "prod/out": "../../out", "prod/gone": "nowhere", "prod/round": "round",
			"prod/sly": "common/../../../x",
		} {
			k.link(target, name)
		}
		k.publish()
		rev := fetch(t, open(t, k.options))
		require.Equal(t, "conf", read(t, rev, "prod/app.conf"))
		require.Equal(t, "conf", read(t, rev, "prod/again"))
		require.Equal(t, "conf", read(t, rev, "prod/common/app.conf"))
		require.Equal(t, []string{"common/app.conf", "prod/a.yaml", "prod/again", "prod/app.conf"}, withoutDot(files(t, rev)))
		for _, name := range []string{"prod/passwd", "prod/out", "prod/gone", "prod/round", "prod/sly"} {
			_, err := rev.Files.Open(name)
			require.ErrorIs(t, err, git.ErrLink, name)
			require.Contains(t, strings.Join(rev.Warnings, "\n"), name)
		}
		require.Len(t, rev.Warnings, 5)
		k.options.Path = "prod"
		rev = fetch(t, open(t, k.options))
		_, err := fs.ReadFile(rev.Files, "app.conf")
		require.ErrorIs(t, err, git.ErrLink, "a link may not lead out of the path")
	})
}

func withoutDot(names []string) []string {
	var out []string
	for _, n := range names {
		if n[0] != '.' {
			out = append(out, n)
		}
	}
	return out
}

func TestTooMuchIsRefused(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		for i := range 12 {
			k.write(fmt.Sprintf("many/%d.yaml", i), "x")
		}
		k.write("big/big.bin", strings.Repeat("0123456789abcdef", 3<<20/16))
		k.write("small/a.yaml", "x")
		k.publish()
		k.options.MaxFiles, k.options.MaxBytes = 10, 2<<20
		for path, fits := range map[string]bool{"many": false, "big": false, "small": true} {
			k.options.Path = path
			if s := open(t, k.options); fits {
				fetch(t, s)
			} else {
				require.ErrorContains(t, refused(t, s, git.TooLarge), "--path")
			}
		}
	})
}

func TestFetchEndsWithItsContext(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		k.write("a/a.yaml", "x")
		k.publish()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := open(t, k.options).Fetch(ctx)
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestWatchHints(t *testing.T) {
	localKinds(t, func(t *testing.T, k kind) {
		k.write("a/a.yaml", "0")
		k.publish()
		k.options.Interval = time.Hour
		s := open(t, k.options)
		hints := watch(t, s)
		for i := 1; i <= 3; i++ {
			want := fmt.Sprint(i)
			k.write("a/a.yaml", want)
			k.publish()
			hinted(t, hints, "a change", func() bool { return read(t, fetch(t, s), "a/a.yaml") == want })
		}
		k.write("new/deep/er/b.yaml", "b")
		k.publish()
		hinted(t, hints, "a new directory", func() bool {
			rev, err := s.Fetch(t.Context())
			_, missing := fs.Stat(rev.Files, "new/deep/er/b.yaml")
			return err == nil && missing == nil
		})
		k.write("new/deep/er/b.yaml", "c")
		k.publish()
		hinted(t, hints, "a change in it", func() bool { return read(t, fetch(t, s), "new/deep/er/b.yaml") == "c" })
	})
}

func TestWatchSeesAReplacedSource(t *testing.T) {
	localKinds(t, func(t *testing.T, k kind) {
		k.write("a.yaml", "old")
		k.publish()
		k.options.Interval = time.Hour
		s := open(t, k.options)
		hints := watch(t, s)
		aside := k.source + ".aside"
		require.NoError(t, os.Rename(k.source, aside))
		hinted(t, hints, "gone", func() bool { _, err := s.Fetch(t.Context()); return git.ReasonOf(err) == git.NotFound })
		require.NoError(t, os.Rename(aside, k.source))
		hinted(t, hints, "back", func() bool { _, err := s.Fetch(t.Context()); return err == nil })
		k.write("a.yaml", "new")
		k.publish()
		hinted(t, hints, "watched again", func() bool { return read(t, fetch(t, s), "a.yaml") == "new" })
	})
}

func TestWatchPolls(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		k.options.Interval = 5 * time.Millisecond
		hints := watch(t, open(t, k.options))
		for range 3 {
			hinted(t, hints, "a poll", func() bool { return true })
		}
	})
}
