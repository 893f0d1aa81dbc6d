// Package conformance is what every source of revisions has to do alike, the real one and those that stand in for it
// in tests.
package conformance

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler"
)

// Site is a source without a revision yet.
type Site struct {
	Source reconciler.Source
	// Commit makes these files, and no others, the newest revision.
	Commit func(files map[string]string)
	// Reset makes an earlier revision the newest again, as a force push does; nil: the source has no history.
	Reset func(id string)
	// Break has it not be readable until mend is called.
	Break func() (mend func())
	// Hang has it not answer until resume is called; nil: nobody is asked.
	Hang func() (resume func())
}

// Run runs the suite. Each of its tests is handed over to be run on a site of its own, in whatever time and place.
func Run(t *testing.T, on func(t *testing.T, test func(t *testing.T, s Site))) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s *site)
	}{
		{"the newest revision is told, whole", newest},
		{"a revision never changes", immutable},
		{"what can't be read is no revision", broken},
		{"a fetch ends with its context", cancelled},
		{"a source that doesn't answer holds up nobody for longer", hanging},
		{"a history that was replaced is told once", rewound},
		{"revisions are whole beside commits", beside},
		{"a watch hints at commits until its context ends", watched},
		{"hints that nobody takes hold up nobody", untaken},
	} {
		t.Run(test.name, func(t *testing.T) {
			on(t, func(t *testing.T, s Site) { test.run(t, &site{s}) })
		})
	}
}

type site struct{ Site }

// files are two that say which revision they are of, and others.
func files(n int, more ...string) map[string]string {
	all := map[string]string{"fleet.yaml": fmt.Sprint("fleet ", n), "shop/files/app.conf": fmt.Sprint("conf ", n)}
	for _, name := range more {
		all[name] = name
	}
	return all
}

func (s *site) fetch(t *testing.T) reconciler.Revision {
	t.Helper()
	r, err := s.Source.Fetch(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, r.ID)
	return r
}

// commit makes a revision and fetches it.
func (s *site) commit(t *testing.T, all map[string]string) reconciler.Revision {
	t.Helper()
	s.Commit(all)
	r := s.fetch(t)
	require.Equal(t, all, read(t, r))
	return r
}

// read reads all files of a revision.
func read(t *testing.T, r reconciler.Revision) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, fs.WalkDir(r.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(r.Files, name)
		all[name] = string(b)
		return err
	}))
	return all
}

func newest(t *testing.T, s *site) {
	first := s.commit(t, files(1, "shop/web.yaml", "sh"))
	require.NoError(t, fstest.TestFS(first.Files, "fleet.yaml", "shop/files/app.conf", "shop/web.yaml", "sh"))
	require.False(t, first.Rewound)
	again := s.fetch(t)
	require.Equal(t, first.ID, again.ID, "nothing changed")
	require.Equal(t, read(t, first), read(t, again))

	second := s.commit(t, files(2, "shop/db.yaml"))
	require.NotEqual(t, first.ID, second.ID)
	for i := 3; i <= 5; i++ {
		s.Commit(files(i))
	}
	last := s.fetch(t)
	require.Equal(t, files(5), read(t, last))
	require.False(t, second.Rewound || last.Rewound)
}

func immutable(t *testing.T, s *site) {
	first := s.commit(t, files(1, "a.yaml"))
	second := s.commit(t, files(2, "b.yaml"))
	mend := s.Break()
	require.Equal(t, files(1, "a.yaml"), read(t, first))
	require.Equal(t, files(2, "b.yaml"), read(t, second))
	mend()
}

func broken(t *testing.T, s *site) {
	last := s.commit(t, files(1))
	for range 2 {
		mend := s.Break()
		for range 2 {
			r, err := s.Source.Fetch(t.Context())
			require.Error(t, err)
			require.Zero(t, r)
		}
		mend()
		again := s.fetch(t)
		require.Equal(t, last.ID, again.ID)
		require.False(t, again.Rewound)
	}
	require.False(t, s.commit(t, files(2)).Rewound)
}

func cancelled(t *testing.T, s *site) {
	s.commit(t, files(1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := s.Source.Fetch(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, r)
	s.commit(t, files(2))
}

func hanging(t *testing.T, s *site) {
	if s.Hang == nil {
		return
	}
	last := s.commit(t, files(1))
	resume := s.Hang()
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := s.Source.Fetch(ctx)
			ended <- err
		}()
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)

		ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		r, err := s.Source.Fetch(ctx)
		cancel()
		require.Error(t, err)
		require.Zero(t, r)
	}
	resume()
	require.Equal(t, last.ID, s.fetch(t).ID)
	s.commit(t, files(2))
}

func rewound(t *testing.T, s *site) {
	if s.Reset == nil {
		require.False(t, s.commit(t, files(1)).Rewound)
		require.False(t, s.commit(t, files(2)).Rewound)
		require.False(t, s.commit(t, files(1)).Rewound)
		return
	}
	first := s.commit(t, files(1))
	second := s.commit(t, files(2))
	require.False(t, first.Rewound || second.Rewound)

	s.Reset(first.ID)
	back := s.fetch(t)
	require.Equal(t, first.ID, back.ID)
	require.True(t, back.Rewound)
	require.Equal(t, files(1), read(t, back))
	require.False(t, s.fetch(t).Rewound, "told once")
	third := s.commit(t, files(3))
	require.False(t, third.Rewound, "made upon what it was reset to")

	s.Reset(first.ID)
	s.Commit(files(4))
	s.Commit(files(5))
	other := s.fetch(t)
	require.True(t, other.Rewound, "beside what was fetched before")
	require.Equal(t, files(5), read(t, other))
	s.Reset(third.ID)
	require.True(t, s.fetch(t).Rewound)
	s.Reset(first.ID)
	s.Reset(third.ID)
	require.False(t, s.fetch(t).Rewound, "it is where it was")
	same := s.commit(t, files(1))
	require.NotEqual(t, first.ID, same.ID, "another commit of the same files")
	require.False(t, same.Rewound)
}

// beside: what is fetched while commits come is one of them, and none that is older than one that was fetched.
func beside(t *testing.T, s *site) {
	if s.Reset == nil {
		return // several files of a directory aren't changed at once
	}
	s.Commit(files(1))
	done := make(chan struct{})
	var fetching sync.WaitGroup
	for range 3 {
		fetching.Go(func() {
			for last := 0; ; {
				r, err := s.Source.Fetch(t.Context())
				if err != nil || r.Rewound {
					t.Errorf("rewound: %t, %v", r.Rewound, err)
					return
				}
				all, n := read(t, r), 0
				if _, err := fmt.Sscanf(all["fleet.yaml"], "fleet %d", &n); err != nil || !strings.HasSuffix(all["shop/files/app.conf"], fmt.Sprint(" ", n)) || n < last {
					t.Errorf("after revision %d: %v, %v", last, all, err)
					return
				}
				last = n
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := 2; i <= 6; i++ {
		s.Commit(files(i))
	}
	close(done)
	fetching.Wait()
	require.Equal(t, files(6), read(t, s.fetch(t)))
}

const patience = 20 * time.Second

// hinted waits for a hint after which the newest revision is told.
func (s *site) hinted(t *testing.T, hints <-chan struct{}, want map[string]string) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case _, more := <-hints:
			require.True(t, more, "the hints ended")
			if r, err := s.Source.Fetch(t.Context()); err == nil && fmt.Sprint(read(t, r)) == fmt.Sprint(want) {
				return
			}
		case <-late:
			require.FailNow(t, "no hint")
		}
	}
}

func over(t *testing.T, hints <-chan struct{}) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case _, more := <-hints:
			if !more {
				return
			}
		case <-late:
			require.FailNow(t, "the hints don't end")
		}
	}
}

func watched(t *testing.T, s *site) {
	s.commit(t, files(1))
	ctx, cancel := context.WithCancel(t.Context())
	hints := s.Source.Watch(ctx)
	for i := 2; i <= 4; i++ {
		s.Commit(files(i))
		s.hinted(t, hints, files(i))
	}
	mend := s.Break()
	mend()
	s.Commit(files(5))
	s.hinted(t, hints, files(5))
	cancel()
	over(t, hints)
	over(t, s.Source.Watch(ctx))
}

func untaken(t *testing.T, s *site) {
	ctx, cancel := context.WithCancel(t.Context())
	hints := s.Source.Watch(ctx)
	for i := 1; i <= 6; i++ {
		s.commit(t, files(i))
	}
	s.hinted(t, hints, files(6))
	cancel()
	over(t, hints)
}
