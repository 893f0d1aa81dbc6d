package journal_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/drivers/journal"
)

const writerEnv = "EVENKEEL_TEST_JOURNAL_WRITER"

// TestMain is also the program of the processes that write at the same time.
func TestMain(m *testing.M) {
	if dir := os.Getenv(writerEnv); dir != "" {
		os.Exit(writer(dir, os.Args[1]))
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, o journal.Options) *journal.Journal {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.Fleet = "production"
	j, err := journal.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	return j
}

// stateDir is the directory that a journal was opened with.
func stateDir(j *journal.Journal) string { return filepath.Dir(filepath.Dir(j.Path())) }

func read(t testing.TB, j *journal.Journal, f journal.Filter) []journal.Event {
	t.Helper()
	events, err := journal.Read(stateDir(j), "production", f)
	require.NoError(t, err)
	return events
}

func event(n int) journal.Event {
	return journal.Event{Time: time.Date(2026, 11, 20, 12, 0, n, n, time.UTC), Revision: "8f3c", Environment: "shop", Layer: "web",
		Node: n, Host: "hn1", Operation: "redeploy", Cause: "image", Phase: "gate", Outcome: "done", Duration: 1500 * time.Millisecond, Message: "line\nline"}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	j := open(t, journal.Options{})
	require.Empty(t, read(t, j, journal.Filter{}), "nothing happened yet")
	var want []journal.Event
	for n := range 5 {
		want = append(want, event(n))
		require.NoError(t, j.Append(event(n)))
		require.Equal(t, want, read(t, j, journal.Filter{}), "while it is open for writing")
	}
	b, err := os.ReadFile(j.Path())
	require.NoError(t, err)
	require.Equal(t, `{"time":"2026-11-20T12:00:01.000000001Z","revision":"8f3c","environment":"shop","layer":"web","node":1,"host":"hn1",`+
		`"operation":"redeploy","cause":"image","phase":"gate","outcome":"done","message":"line\nline","duration":"1.5s"}`, strings.Split(string(b), "\n")[1])
	require.Equal(t, 5, strings.Count(string(b), "\n"))
	require.Equal(t, "production/journal.jsonl", mustRel(t, stateDir(j), j.Path()))
}

func mustRel(t *testing.T, base, p string) string {
	t.Helper()
	rel, err := filepath.Rel(base, p)
	require.NoError(t, err)
	return rel
}

func TestAnEventWithoutATimeGetsOne(t *testing.T) {
	j := open(t, journal.Options{})
	require.NoError(t, j.Append(journal.Event{Message: "now"}))
	require.WithinDuration(t, time.Now(), read(t, j, journal.Filter{})[0].Time, time.Minute)
}

func TestFilter(t *testing.T) {
	j := open(t, journal.Options{})
	for n := range 6 {
		e := event(n)
		e.Environment, e.Layer = []string{"shop", "billing"}[n%2], []string{"web", "db", "cache"}[n%3]
		require.NoError(t, j.Append(e))
	}
	for _, c := range []struct {
		name   string
		filter journal.Filter
		nodes  []int
	}{
		{"all", journal.Filter{}, []int{0, 1, 2, 3, 4, 5}},
		{"environment", journal.Filter{Environment: "shop"}, []int{0, 2, 4}},
		{"layer", journal.Filter{Environment: "shop", Layer: "db"}, []int{4}},
		{"node", journal.Filter{Node: 3}, []int{3}},
		{"since", journal.Filter{Since: event(3).Time}, []int{3, 4, 5}},
		{"limit", journal.Filter{Limit: 2}, []int{4, 5}},
		{"all of it", journal.Filter{Environment: "billing", Since: event(2).Time, Limit: 1}, []int{5}},
		{"nothing", journal.Filter{Environment: "elsewhere"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var nodes []int
			for _, e := range read(t, j, c.filter) {
				nodes = append(nodes, e.Node)
			}
			require.Equal(t, c.nodes, nodes)
		})
	}
}

func TestTornLines(t *testing.T) {
	j := open(t, journal.Options{})
	require.NoError(t, j.Append(event(1)))
	whole, err := os.ReadFile(j.Path())
	require.NoError(t, err)
	for n := 1; n < len(whole); n++ {
		require.NoError(t, os.WriteFile(j.Path(), append(append([]byte{}, whole...), whole[:n]...), 0o600))
		got := read(t, j, journal.Filter{})
		if n < len(whole)-1 { // with all but its end of line it is whole
			require.Len(t, got, 1, "torn after %d bytes", n)
		}
		require.NoError(t, j.Append(event(2)))
		got = read(t, j, journal.Filter{})
		require.Equal(t, event(2), got[len(got)-1], "the event after a torn one is read")
		require.Equal(t, event(1), got[0])
	}
}

func TestRotation(t *testing.T) {
	j := open(t, journal.Options{MaxBytes: 2000, Keep: 3})
	for n := range 200 {
		require.NoError(t, j.Append(event(n)))
	}
	entries, err := os.ReadDir(filepath.Dir(j.Path()))
	require.NoError(t, err)
	logs := 0
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		require.LessOrEqual(t, info.Size(), int64(2000), e.Name())
		if strings.HasSuffix(e.Name(), ".jsonl") {
			logs++
		}
	}
	require.Equal(t, 4, logs, "three rotated, and the present one")
	got := read(t, j, journal.Filter{})
	require.Greater(t, len(got), 20)
	for i, e := range got {
		require.Equal(t, 200-len(got)+i, e.Node, "in order, without a gap")
	}
	require.Len(t, read(t, j, journal.Filter{Limit: 15}), 15, "over several files")
	require.Equal(t, 199, read(t, j, journal.Filter{Limit: 15})[14].Node)
}

func TestAnEventLargerThanAFile(t *testing.T) {
	j := open(t, journal.Options{MaxBytes: 100})
	e := event(1)
	e.Message = strings.Repeat("é", 1<<20)
	require.NoError(t, j.Append(e))
	require.NoError(t, j.Append(event(2)))
	got := read(t, j, journal.Filter{})
	require.Len(t, got, 2)
	require.Less(t, len(got[0].Message), 20<<10)
	require.True(t, strings.HasSuffix(got[0].Message, "é…"))
}

func TestTheJournalMayBeDeleted(t *testing.T) {
	j := open(t, journal.Options{})
	require.NoError(t, j.Append(event(1)))
	require.NoError(t, os.RemoveAll(filepath.Dir(j.Path())))
	require.NoError(t, j.Append(event(2)))
	require.Equal(t, []journal.Event{event(2)}, read(t, j, journal.Filter{}))
}

func TestNamesThatAreRefused(t *testing.T) {
	for _, fleet := range []string{"", ".", "..", "a/b", "../x", "a\x00"} {
		_, err := journal.Open(journal.Options{Dir: t.TempDir(), Fleet: fleet})
		require.Error(t, err, fleet)
		_, err = journal.Read(t.TempDir(), fleet, journal.Filter{})
		require.Error(t, err, fleet)
	}
	_, err := journal.Open(journal.Options{Fleet: "production"})
	require.ErrorContains(t, err, "--state")
}

// A full disk: a real one, so that writes are cut short as they are on one.
func TestAFullDisk(t *testing.T) {
	for _, shift := range []int{0, 1, 50} {
		t.Run(strconv.Itoa(shift), func(t *testing.T) { fullDisk(t, shift) })
	}
}

func fullDisk(t *testing.T, shift int) {
	dir := t.TempDir()
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,nr_inodes=100"), "this test runs as root")
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	j := open(t, journal.Options{Dir: dir})
	ballast := filepath.Join(dir, "ballast")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 40<<10), 0o600))
	// An event may be cut before its end of line only, which this many bytes first bring about or not.
	if shift > 0 {
		require.NoError(t, j.Append(journal.Event{Time: event(0).Time, Message: strings.Repeat("x", shift)}))
	}

	before := len(read(t, j, journal.Filter{}))
	written, said := before, 0
	for n := range 1000 {
		switch err := j.Append(event(n)); {
		case err != nil:
			said++
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.ErrorContains(t, err, j.Path())
		case said == 0:
			written++
		}
	}
	require.Positive(t, written)
	require.Equal(t, 1, said, "a failure is told once")
	kept := len(read(t, j, journal.Filter{}))
	require.Contains(t, []int{written, written + 1}, kept, "all that was written is read, and what lacks no more than its end of line")

	require.NoError(t, os.Remove(ballast))
	require.NoError(t, j.Append(event(7)))
	got := read(t, j, journal.Filter{})
	require.Len(t, got, kept+2)
	require.Equal(t, event(7), got[kept+1])
	require.Equal(t, "lost", got[kept].Outcome)
	require.Contains(t, got[kept].Message, strconv.Itoa(1000+before-kept)+" events")

	require.NoError(t, os.WriteFile(ballast, make([]byte, 8<<10), 0o600))
	again := 0
	for n := range 1000 {
		if j.Append(event(n)) != nil {
			again++
		}
	}
	require.Equal(t, 1, again, "a new failure is told again")
}

func TestADirectoryThatCantBe(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "production"), nil, 0o600))
	j := open(t, journal.Options{Dir: dir})
	require.ErrorIs(t, j.Append(event(1)), syscall.ENOTDIR)
	require.NoError(t, j.Append(event(2)), "told once")
	_, err := journal.Read(dir, "production", journal.Filter{})
	require.Error(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, "production")))
	require.NoError(t, j.Append(event(3)), "it is tried each time")
	require.Len(t, read(t, j, journal.Filter{}), 2)
}

func TestConcurrentUse(t *testing.T) {
	j := open(t, journal.Options{MaxBytes: 10_000, Keep: 1000})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := range 100 {
				if err := j.Append(event(n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Len(t, read(t, j, journal.Filter{}), 800)
}

// Several processes write and rotate at once, and one reads: no line is torn, none is lost, each
// process' own come in order.
func TestSeveralProcesses(t *testing.T) {
	const processes, each = 4, 400
	dir := t.TempDir()
	var running []*exec.Cmd
	for p := range processes {
		cmd := exec.CommandContext(t.Context(), os.Args[0], strconv.Itoa(p))
		cmd.Env = append(os.Environ(), writerEnv+"="+dir, "EVENKEEL_TEST_EVENTS="+strconv.Itoa(each))
		cmd.Stderr = os.Stderr
		require.NoError(t, cmd.Start())
		running = append(running, cmd)
	}
	done := make(chan error, 1)
	go func() {
		var err error
		for _, cmd := range running {
			err = errors.Join(err, cmd.Wait())
		}
		done <- err
	}()
	for last, finished := 0, false; !finished; {
		select {
		case err := <-done:
			require.NoError(t, err)
			finished = true
		default:
		}
		events, err := journal.Read(dir, "production", journal.Filter{})
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(events), last, "a reader never sees less than before")
		last = len(events)
	}
	events, err := journal.Read(dir, "production", journal.Filter{})
	require.NoError(t, err)
	require.Len(t, events, processes*each)
	seen := map[string]map[int]bool{}
	for _, e := range events {
		if seen[e.Host] == nil {
			seen[e.Host] = map[int]bool{}
		}
		seen[e.Host][e.Node] = true
	}
	require.Len(t, seen, processes)
	for host, nodes := range seen {
		require.Len(t, nodes, each, host)
	}
}

func writer(dir, name string) int {
	j, err := journal.Open(journal.Options{Dir: dir, Fleet: "production", MaxBytes: 20_000, Keep: 10_000})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer j.Close()
	count, _ := strconv.Atoi(os.Getenv("EVENKEEL_TEST_EVENTS"))
	for n := range count {
		if err := j.Append(journal.Event{Host: name, Node: n, Message: strings.Repeat(name, n%300)}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"time":"2026-11-20T12:00:01Z","environment":"shop","duration":"1s"}` + "\n" + `{"time":"2026-`))
	f.Add([]byte("\x00\x00\x00\n{}\n[]\nnull\n{\"time\":1}\n"))
	f.Add([]byte(`{"time":"2026-11-20T12:00:01Z","duration":"forever"}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		j := open(t, journal.Options{})
		require.NoError(t, os.MkdirAll(filepath.Dir(j.Path()), 0o700))
		require.NoError(t, os.WriteFile(j.Path(), content, 0o600))
		before := read(t, j, journal.Filter{})
		for _, e := range before {
			require.False(t, e.Time.IsZero())
		}
		require.NoError(t, j.Append(event(1)))
		after := read(t, j, journal.Filter{})
		require.Len(t, after, len(before)+1)
		for i := range before {
			require.Equal(t, before[i], after[i])
		}
		require.Equal(t, event(1), after[len(after)-1])
	})
}
