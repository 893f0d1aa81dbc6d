package git_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/git"
)

// history: one (tags v1, and v2 annotated), two on main, three on the branch feature/x.
func history(t *testing.T) (r *repo, one, two, three string) {
	t.Helper()
	r = newRepo(t)
	one = r.commit("a.yaml", "1")
	r.git("tag", "v1")
	r.git("tag", "-a", "v2", "-m", "Second")
	r.git("tag", "-a", "nested", "-m", "Of a tag", "v2")
	r.git("tag", "tree", "HEAD^{tree}")
	r.git("branch", "old")
	two = r.commit("a.yaml", "2")
	r.git("checkout", "-q", "-b", "feature/x")
	three = r.commit("a.yaml", "3")
	r.git("checkout", "-q", "main")
	return r, one, two, three
}

func TestRefs(t *testing.T) {
	r, one, two, three := history(t)
	for _, packed := range []bool{false, true} {
		if packed {
			r.git("pack-refs", "--all")
			r.git("gc", "-q", "--prune=now")
		}
		for _, c := range []struct{ ref, id, shown string }{
			{"", two, "main"}, {"HEAD", two, "main"}, {"main", two, "main"}, {"feature/x", three, "feature/x"},
			{"refs/heads/feature/x", three, "feature/x"}, {"v1", one, "v1"}, {"v2", one, "v2"}, {"nested", one, "nested"},
			{"refs/tags/v2", one, "v2"}, {three, three, three}, {strings.ToUpper(three), three, strings.ToUpper(three)},
			{three[:7], three, three[:7]}, {three[:12], three, three[:12]},
		} {
			o := r.options()
			o.Ref = c.ref
			rev := fetch(t, open(t, o))
			require.Equal(t, c.id, rev.ID, c.ref)
			require.Equal(t, c.shown, rev.Ref)
			require.Equal(t, "Ada <ada@example.com>", rev.Author)
			require.Equal(t, "Set a.yaml", rev.Subject)
			require.Empty(t, rev.Warnings)
		}
	}
}

func TestRefsThatAreRefused(t *testing.T) {
	r, _, _, _ := history(t)
	for _, c := range []struct {
		ref, says string
		reason    git.Reason
	}{
		{"nowhere", "there are feature/x, main, old, nested, tree, v1, v2", git.RefNotFound},
		{"feature", "no branch, tag or commit", git.RefNotFound},
		{"main/x", "no branch, tag or commit", git.RefNotFound},
		{"tree", "names a tree", git.RefNotFound},
		{strings.Repeat("0", 39) + "1", "no branch, tag or commit", git.RefNotFound},
		{"fff", "no branch, tag or commit", git.RefNotFound},
		{"HEAD~1", "is no ref", git.BadOption},
		{"main@{1}", "is no ref", git.BadOption},
		{"../../etc/passwd", "is no ref", git.BadOption},
		{"--upload-pack=x", "is no ref", git.BadOption},
	} {
		o := r.options()
		o.Ref = c.ref
		require.ErrorContains(t, refused(t, open(t, o), c.reason), c.says, c.ref)
	}
}

func TestABranchWinsOverATag(t *testing.T) {
	r, one, two, _ := history(t)
	r.git("tag", "main", one)
	o := r.options()
	o.Ref = "main"
	rev := fetch(t, open(t, o))
	require.Equal(t, two, rev.ID)
	require.Len(t, rev.Warnings, 1)
	require.Contains(t, rev.Warnings[0], "ambiguous")
	require.Contains(t, rev.Warnings[0], "refs/tags/main")
	o.Ref = "refs/tags/main"
	require.Equal(t, one, fetch(t, open(t, o)).ID)
}

func TestAnAmbiguousAbbreviation(t *testing.T) {
	r := newRepo(t)
	seen := map[string]string{}
	tree := r.git("write-tree")
	for i := 0; ; i++ {
		id := r.git("commit-tree", "-m", strings.Repeat("x", i+1), tree)
		if _, twice := seen[id[:minAbbreviation]]; twice {
			o := r.options()
			o.Ref = id[:minAbbreviation]
			r.git("update-ref", "refs/heads/main", id)
			err := refused(t, open(t, o), git.Ambiguous)
			require.ErrorContains(t, err, id[:12])
			require.ErrorContains(t, err, seen[o.Ref][:12])
			return
		}
		seen[id[:minAbbreviation]] = id
	}
}

const minAbbreviation = 4

func TestADetachedHead(t *testing.T) {
	r, one, two, _ := history(t)
	s := open(t, r.options())
	require.Equal(t, two, fetch(t, s).ID)
	r.git("checkout", "-q", "--detach", one)
	rev := fetch(t, s)
	require.Equal(t, one, rev.ID)
	require.Equal(t, "HEAD", rev.Ref)
	require.True(t, rev.Rewound)
}

func TestARebaseUnderWayChangesNothing(t *testing.T) {
	r := newRepo(t)
	r.commit("base.yaml", "0")
	r.git("checkout", "-q", "-b", "other")
	r.commit("a.yaml", "theirs")
	r.git("checkout", "-q", "main")
	r.commit("b.yaml", "first")
	before := r.commit("a.yaml", "ours")
	s := open(t, r.options())
	require.Equal(t, before, fetch(t, s).ID)
	_, err := r.try("rebase", "other")
	require.Error(t, err, "it stops at the conflict")
	require.NotEqual(t, before, r.git("rev-parse", "HEAD"))
	rev := fetch(t, s)
	require.Equal(t, before, rev.ID, "a half-done rebase isn't what anybody wants to run")
	require.Contains(t, strings.Join(rev.Warnings, ""), "rebase")
	r.git("checkout", "-q", "--ours", "a.yaml")
	r.write("a.yaml", "both")
	r.git("add", "a.yaml")
	r.git("rebase", "--continue")
	rev = fetch(t, s)
	require.Equal(t, r.git("rev-parse", "main"), rev.ID)
	require.True(t, rev.Rewound)
	require.Empty(t, rev.Warnings)

	r.git("bisect", "start", "HEAD", "HEAD~2")
	require.NotEqual(t, rev.ID, r.git("rev-parse", "HEAD"))
	bisecting := fetch(t, s)
	require.Equal(t, rev.ID, bisecting.ID)
	require.Contains(t, strings.Join(bisecting.Warnings, ""), "bisection")
}

func TestWhatIsOpened(t *testing.T) {
	r := newRepo(t)
	r.write("sub/dir/a.yaml", "a")
	id := r.commit("b.yaml", "b")

	sub := fetch(t, open(t, git.Options{Repo: r.dir + "/sub", Path: "dir"}))
	require.Equal(t, id, sub.ID)
	require.Equal(t, []string{"a.yaml"}, files(t, sub))
	require.Equal(t, id, fetch(t, open(t, git.Options{Repo: "file://" + r.dir})).ID)
	t.Chdir(r.dir)
	require.Equal(t, id, fetch(t, open(t, git.Options{})).ID)

	plain := newDirectory(t)
	for _, c := range []struct {
		o      git.Options
		says   string
		reason git.Reason
	}{
		{git.Options{Repo: plain.dir, Ref: "main"}, "no git repository", git.BadOption},
		{git.Options{Repo: r.dir, Ref: "main", Worktree: true}, "no ref", git.BadOption},
		{git.Options{Repo: r.dir + "/b.yaml"}, "is a file", git.BadOption},
		{git.Options{Repo: r.dir + "/nowhere"}, "can't be opened", git.NotFound},
	} {
		_, err := git.Open(c.o)
		require.ErrorContains(t, err, c.says)
		require.Equal(t, c.reason, git.ReasonOf(err))
	}
	bare, _ := newBare(t)
	_, err := git.Open(git.Options{Repo: bare.dir, Worktree: true})
	require.Equal(t, git.BadOption, git.ReasonOf(err))
}

func TestTheOnlyRefThereIs(t *testing.T) {
	r := newRepo(t)
	r.commit("a.yaml", "1")
	o := r.options()
	o.Ref = "nowhere"
	require.ErrorContains(t, refused(t, open(t, o), git.RefNotFound), "correct --ref; there is only main")
}
