package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Outcome is how a run ended.
type Outcome struct {
	// Broken are the rules that didn't hold.
	Broken []string
	Trace  string
	// Took is how long it was, in its own time; Writes how many changes were made or tried.
	Took   time.Duration
	Writes int
}

// The bounds of a run.
const (
	// settles is how long a fleet may take to be as it is wanted, once nothing goes wrong any more.
	settles = 12 * time.Minute
	// sweeps is how long it may take until what isn't used any more is noted.
	sweeps = 35 * time.Second
	// rests is how long it is watched after that.
	rests = 70 * time.Second
)

// run is one run of a scenario.
type run struct {
	w      *World
	r      *rand.Rand
	now    wishes
	before []wishes

	mu      sync.Mutex
	process *Process
	stop    chan struct{}
	ending  bool
	ended   chan struct{}
}

// Run makes the run of a seed. It is to be called in a bubble.
func Run(seed uint64) Outcome {
	c := chance{seed}
	r := c.of("scenario")
	now := first(r)
	var names []string
	for i := 1; i <= now.hosts; i++ {
		names = append(names, fmt.Sprintf("h%d", i))
	}
	s := &run{w: New(seed, names...), r: r, now: now, stop: make(chan struct{}), ended: make(chan struct{})}
	begun := time.Now()
	strangers := s.w.addStrangers()
	s.commit(now, "first")
	go s.live()
	if s.await("at first") {
		s.chaos()
		s.calm()
		if s.await("once nothing goes wrong any more") {
			s.rest()
			s.end()
			s.again()
			s.w.leftovers(s.now)
			s.w.checkStrangers(strangers)
		}
	}
	s.end()
	s.w.Close()
	return Outcome{Broken: s.w.Violations(), Trace: s.w.Trace(), Took: time.Since(begun), Writes: s.w.Writes()}
}

func (s *run) commit(next wishes, what string) {
	files := next.files()
	revision, err := s.w.Read(files)
	if err != nil {
		panic(fmt.Sprintf("%s\n%v", err, files))
	}
	s.w.Note("COMMIT: %s: %s", what, next.brief())
	s.now = next
	s.w.Want(revision)
	s.w.Repo.Commit(files)
}

func (w wishes) brief() string {
	var parts []string
	for i := range w.layers {
		l := &w.layers[i]
		parts = append(parts, fmt.Sprintf("%s/%s x%d %s%d %s %+v", l.environment, l.name, l.replicas, l.mark, l.version, l.health, l.policy))
	}
	return strings.Join(parts, "; ")
}

// live has one process after the other until the run ends.
func (s *run) live() {
	defer close(s.ended)
	for life := 1; ; life++ {
		r := s.w.chance.of("life", fmt.Sprint(life))
		p, stop := s.w.Begin(), make(chan struct{})
		s.mu.Lock()
		if s.ending {
			s.mu.Unlock()
			return
		}
		s.process, s.stop = p, stop
		s.mu.Unlock()
		s.liveOnce(p, stop)
		if err := p.Controller.Close(); err != nil {
			s.w.Note("closing %s: %s", p.name, err)
		}
		p.cancel()
		s.mu.Lock()
		ending := s.ending
		s.mu.Unlock()
		if ending || s.w.sleep(context.Background(), between(r, 100*time.Millisecond, 20*time.Second)) != nil {
			return
		}
	}
}

func (s *run) liveOnce(p *Process, stop chan struct{}) {
	err := p.Run(p.ctx, stop)
	if err != nil && !p.Dead() {
		s.w.Fail("%s ended by itself: %s", p.name, err)
	}
}

// current is the process that lives now.
func (s *run) current() *Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// end has the last process stop, as it is asked to.
func (s *run) end() {
	s.mu.Lock()
	s.ending = true
	s.ask()
	s.mu.Unlock()
	<-s.ended
}

// ask asks the process that lives to stop. The lock is held.
func (s *run) ask() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
}

// await waits until all is as it is wanted.
func (s *run) await(when string) bool {
	for begun := time.Now(); time.Since(begun) < settles; time.Sleep(time.Second) {
		p := s.current()
		if p == nil || p.Dead() {
			continue
		}
		if st := p.Current(); st.Converged && st.Revision == s.w.Repo.newest() {
			s.w.Note("converged after %s", time.Since(begun))
			return true
		}
	}
	p := s.current()
	s.w.Fail("%s: not converged within %s\nplan: %s\nstatus: %s", when, settles, text(p.CurrentPlan()), text(p.Current()))
	return false
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// chaos has things go wrong for a while.
func (s *run) chaos() {
	type action struct {
		at time.Duration
		do func(r *rand.Rand)
	}
	long := between(s.r, time.Minute, 3*time.Minute)
	var actions []action
	add := func(n int, do func(r *rand.Rand)) {
		for range n {
			actions = append(actions, action{between(s.r, 0, long), do})
		}
	}
	s.w.Rough(oneIn(s.r, 2))
	add(1+s.r.IntN(5), func(r *rand.Rand) {
		next, what := s.now.change(r, s.before)
		s.before = append(s.before, s.now)
		s.commit(next, what)
	})
	add(s.r.IntN(7), func(r *rand.Rand) { s.w.strike(r) })
	add(s.r.IntN(5), s.kill)
	slices.SortStableFunc(actions, func(a, b action) int { return int(a.at - b.at) })
	begun := time.Now()
	for i, a := range actions {
		time.Sleep(a.at - time.Since(begun))
		a.do(s.w.chance.of("action", fmt.Sprint(i)))
	}
	time.Sleep(long - time.Since(begun))
}

// kill ends the process that lives, now or at one of its next writes, or asks it to stop.
func (s *run) kill(r *rand.Rand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.IntN(8) {
	case 0:
		s.process.Crash(true)
	case 1, 2:
		s.process.Crash(false)
	case 3:
		s.w.Note("%s is asked to stop", s.process.name)
		s.ask()
	default:
		s.process.CrashAt(1+r.IntN(30), oneIn(r, 2))
	}
}

// calm ends what goes wrong.
func (s *run) calm() {
	s.w.heal()
	if p := s.current(); p != nil {
		p.CrashAt(0, false)
	}
	s.commit(s.now.mended(), "mended")
}

// rest watches a fleet that is as it is wanted: nothing more is changed.
func (s *run) rest() {
	time.Sleep(sweeps)
	before := s.w.Writes()
	time.Sleep(rests)
	if n := s.w.Writes() - before; n > 0 {
		s.w.Fail("rest: %d changes were made although all was as it was wanted", n)
	}
}

// again makes one more pass, which changes nothing.
func (s *run) again() {
	p := s.w.Begin()
	before := s.w.Writes()
	result, err := p.Apply(p.ctx, nil)
	switch {
	case err != nil:
		s.w.Fail("a further pass failed: %s", err)
	case !result.Converged:
		s.w.Fail("a further pass hasn't converged: %s", text(result))
	case s.w.Writes() != before:
		s.w.Fail("a further pass made %d changes", s.w.Writes()-before)
	}
	if err := p.Controller.Close(); err != nil {
		s.w.Fail("closing: %s", err)
	}
	p.cancel()
}
