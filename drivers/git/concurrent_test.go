package git_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/git"
)

// beside runs work over and over until the test function is through with it.
func beside(t *testing.T, work func(i int) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var err error
	wg.Go(func() {
		for i := 1; ctx.Err() == nil && err == nil; i++ {
			err = work(i)
		}
	})
	return func() { cancel(); wg.Wait(); require.NoError(t, err) }
}

// Each commit holds the same number in all of its files. While commits, amends, force pushes, repacks
// and gcs go on, each revision holds one number, the one in its subject.
func TestARevisionIsOneCommit(t *testing.T) {
	bare, clone := newBare(t)
	const width = 12
	write := func(i int) error {
		for f := range width {
			name := filepath.Join(clone.dir, fmt.Sprintf("d%d/e%d/f%d.yaml", f%3, f%2, f))
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(name, []byte(strconv.Itoa(i)), 0o644); err != nil {
				return err
			}
		}
		steps := [][]string{{"add", "-A"}, {"commit", "-q", "-m", strconv.Itoa(i)}, {"push", "-q", "--force", "origin", "HEAD:main"}}
		if i > 2 && i%4 == 0 {
			steps[1] = append(steps[1], "--amend")
		}
		for _, s := range steps {
			if out, err := clone.try(s...); err != nil {
				return fmt.Errorf("git %v: %s", s, out)
			}
		}
		if i%5 == 0 {
			for _, s := range [][]string{{"reflog", "expire", "--expire=now", "--all"}, {"gc", "-q", "--prune=now"}} {
				if out, err := bare.try(s...); err != nil {
					return fmt.Errorf("git %v: %s", s, out)
				}
			}
		}
		return nil
	}
	require.NoError(t, write(0))
	stop := beside(t, write)
	defer stop()
	s := open(t, bare.options())
	seen := map[string]bool{}
	for len(seen) < 12 {
		rev, err := s.Fetch(t.Context())
		if git.ReasonOf(err) == git.Corrupt { // pruned under its hands: the next fetch is good again
			continue
		}
		require.NoError(t, err)
		names := files(t, rev)
		require.Len(t, names, width)
		for _, name := range names {
			require.Equal(t, rev.Subject, read(t, rev, name), "%s of %s", name, rev.ID)
		}
		seen[rev.ID] = true
	}
}

// A directory whose files are rewritten one after the other, all the time: a file in a snapshot is
// never newer than one that was written before it.
func TestASnapshotIsOfOneMoment(t *testing.T) {
	r := newDirectory(t)
	const width = 20
	rewrite := func(i int) error {
		for f := range width {
			if err := overwrite(filepath.Join(r.dir, fmt.Sprintf("%02d.yaml", f)), fmt.Sprintf("%09d", i)); err != nil {
				return err
			}
		}
		return nil
	}
	require.NoError(t, rewrite(0))
	pause := time.NewTicker(25 * time.Millisecond)
	defer pause.Stop()
	stop := beside(t, func(i int) error { <-pause.C; return rewrite(i) })
	defer stop()
	s := open(t, r.options())
	seen := map[string]bool{}
	changing := 0
	for len(seen) < 20 {
		rev, err := s.Fetch(t.Context())
		if git.ReasonOf(err) == git.Changing {
			changing++
			require.Less(t, changing, 200)
			continue
		}
		require.NoError(t, err)
		var got []string
		for _, name := range files(t, rev) {
			got = append(got, read(t, rev, name))
		}
		require.Len(t, got, width)
		slices.Reverse(got)
		require.True(t, slices.IsSorted(got), "%v", got)
		require.LessOrEqual(t, distinct(got), 2)
		seen[rev.ID] = true
	}
}

// overwrite replaces a file's content in place, in one write.
func overwrite(name, content string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(content), 0)
	return errors.Join(err, f.Close())
}

// A file that changed this moment may be half-written, so it is left to settle first.
func TestAFreshFileIsLeftToSettle(t *testing.T) {
	r := newDirectory(t)
	s := open(t, r.options())
	for i := range 10 {
		r.write("a.yaml", strconv.Itoa(i))
		var written syscall.Stat_t // by the file system's own clock, which may be behind
		require.NoError(t, syscall.Stat(filepath.Join(r.dir, "a.yaml"), &written))
		require.Equal(t, strconv.Itoa(i), read(t, fetch(t, s), "a.yaml"))
		require.GreaterOrEqual(t, time.Since(time.Unix(written.Ctim.Unix())), 8*time.Millisecond)
	}
}

func distinct(s []string) int { return len(slices.Compact(slices.Clone(s))) }

func TestADirectoryThatNeverHoldsStill(t *testing.T) {
	r := newDirectory(t)
	r.write("a.yaml", "0")
	for i := range 2000 { // so that a walk takes long enough
		r.write(fmt.Sprintf("d%d/%d.yaml", i%50, i), "x")
	}
	stop := beside(t, func(i int) error { return os.WriteFile(filepath.Join(r.dir, "a.yaml"), []byte(strconv.Itoa(i)), 0o644) })
	var err error
	for tries := 0; err == nil && tries < 20; tries++ { // it does hold still while the writer gets no processor
		_, err = open(t, r.options()).Fetch(t.Context())
	}
	stop()
	require.Equal(t, git.Changing, git.ReasonOf(err), "%v", err)
	require.ErrorContains(t, err, "a.yaml")
	fetch(t, open(t, r.options()))
}

func TestWhatIsNoFileIsPassedOver(t *testing.T) {
	r := newDirectory(t)
	r.write("a.yaml", "a")
	require.NoError(t, syscall.Mkfifo(filepath.Join(r.dir, "pipe.yaml"), 0o644))
	rev := fetch(t, open(t, r.options()))
	require.Equal(t, []string{"a.yaml"}, files(t, rev))
	require.Len(t, rev.Warnings, 1)
	require.Contains(t, rev.Warnings[0], "pipe.yaml")
}

func TestConcurrentUse(t *testing.T) {
	r := newRepo(t)
	id := r.commit("a.yaml", "a")
	s := open(t, r.options())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			rev, err := s.Fetch(t.Context())
			if err != nil || rev.ID != id {
				t.Errorf("%s %v", rev.ID, err)
				return
			}
			if _, err := fs.ReadFile(rev.Files, "a.yaml"); err != nil {
				t.Error(err)
			}
			if _, err := s.Dirty(t.Context(), rev); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
