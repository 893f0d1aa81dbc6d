package git_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/git"
)

func TestWatchSeesWhatGitDoes(t *testing.T) {
	r, one, _, _ := history(t)
	o := r.options()
	o.Interval = time.Hour
	s := open(t, o)
	hints := watch(t, s)
	at := func(id string) func() bool { return func() bool { return fetch(t, s).ID == id } }

	r.git("checkout", "-q", "--detach", one)
	hinted(t, hints, "a checkout", at(one))
	r.git("checkout", "-q", "main")
	r.git("pack-refs", "--all")
	hinted(t, hints, "back on main", at(r.git("rev-parse", "main")))
	r.git("branch", "-f", "spare", one)
	r.git("symbolic-ref", "HEAD", "refs/heads/spare")
	hinted(t, hints, "another branch", at(one))
	r.git("update-ref", "-d", "refs/heads/spare")
	hinted(t, hints, "a deleted branch", func() bool {
		_, err := s.Fetch(t.Context())
		return git.ReasonOf(err) == git.RefNotFound
	})
	r.git("symbolic-ref", "HEAD", "refs/heads/team/a/b")
	r.git("update-ref", "refs/heads/team/a/b", one)
	hinted(t, hints, "a branch in new directories", at(one))
	next := r.git("commit-tree", "-p", one, "-m", "next", one+"^{tree}")
	r.git("update-ref", "refs/heads/team/a/b", next)
	hinted(t, hints, "a change in them", at(next))
}

func TestWatchSeesAPushToATag(t *testing.T) {
	bare, clone := newBare(t)
	first := clone.commit("a.yaml", "1")
	clone.git("tag", "live")
	clone.git("push", "-q", "origin", "main", "live")
	o := bare.options()
	o.Ref, o.Interval = "live", time.Hour
	s := open(t, o)
	require.Equal(t, first, fetch(t, s).ID)
	hints := watch(t, s)
	second := clone.commit("a.yaml", "2")
	clone.git("tag", "-f", "live")
	clone.git("push", "-q", "--force", "origin", "live")
	hinted(t, hints, "a moved tag", func() bool { return fetch(t, s).ID == second })
}

func TestWatchEnds(t *testing.T) {
	r := newRepo(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	hints := open(t, r.options()).Watch(ctx)
	<-hints
	cancel()
	for range hints { // hangs unless the channel is closed; goleak sees a goroutine that stays
	}
}

// From the end of `git commit` to a revision in hand. The whole way to the first container has 100 ms.
func TestLatency(t *testing.T) {
	median := latency(t, 20)
	t.Logf("median %s", median)
	require.Less(t, median, 60*time.Millisecond)
}

func latency(t testing.TB, rounds int) time.Duration {
	r := newRepo(t)
	for i := range 60 {
		r.write(fmt.Sprintf("env%d/env.yaml", i), "kind: Environment\n")
	}
	r.commit("fleet.yaml", "kind: Fleet\n")
	r.git("gc", "-q")
	o := r.options()
	o.Interval = time.Hour
	s := open(t, o)
	fetch(t, s)
	hints := watch(t, s)
	var took []time.Duration
	for i := range rounds {
		r.write("env7/env.yaml", fmt.Sprint(i))
		r.git("add", "env7/env.yaml")
		began := time.Now()
		r.git("commit", "-q", "-m", "x")
		committed := time.Now()
		hinted(t, hints, "a commit", func() bool { return read(t, fetch(t, s), "env7/env.yaml") == fmt.Sprint(i) })
		took = append(took, time.Since(committed))
		t.Logf("commit %s, then %s", committed.Sub(began).Round(time.Microsecond), took[i].Round(time.Microsecond))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

func BenchmarkFetchUnchanged(b *testing.B) {
	r := newRepo(b)
	r.commit("a/b/fleet.yaml", "kind: Fleet\n")
	s := open(b, r.options())
	for b.Loop() {
		fetch(b, s)
	}
}

func BenchmarkFetchPacked(b *testing.B) {
	r := newRepo(b)
	for i := range 500 {
		r.write(fmt.Sprintf("env%d/env.yaml", i), fmt.Sprintf("kind: Environment # %d\n", i))
	}
	r.commit("fleet.yaml", "kind: Fleet\n")
	r.git("gc", "-q")
	for b.Loop() {
		fetch(b, open(b, r.options()))
	}
}
