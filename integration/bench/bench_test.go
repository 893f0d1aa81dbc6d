package bench

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// How often each is measured. What takes long is measured less often.
const (
	passes   = 30
	rollouts = 5
	singles  = 15
	commits  = 20
)

var (
	rounds   = flag.Int("rounds", 0, "how often each is measured; 0: as often as it takes")
	dataRoot = flag.String("data-root", "", "an empty directory for the engine's data, instead of memory; removed by whoever made it")
)

func times(otherwise int) int { return cmp.Or(*rounds, otherwise) }

// A pass that changes nothing, over 100 nodes, against the list and the inspects.
func BenchmarkPassOverHundred(b *testing.B) {
	passes100(b, "no-op pass, 100 nodes", newSite(b), openBare(b))
}

// passes100 measures passes over 100 nodes that change nothing against the bare reads over such a connection.
func passes100(b *testing.B, what string, s *site, r *bare) {
	s.environment(layer("web", 100, 1))
	s.apply()
	var ours, theirs []time.Duration
	for i := range times(passes) + 1 {
		took, made := s.apply()
		require.Empty(b, made)
		begun := time.Now()
		require.Equal(b, 101, r.read(s.name)) // and the keeper
		if i > 0 {                            // the first opens connections, and has sessions to open
			ours, theirs = append(ours, took), append(theirs, time.Since(begun))
		}
	}
	ratio(b, what, ours, theirs, 1.5)
}

// Fifty nodes created and redeployed at once, against bare loops with the same options on the same network.
func BenchmarkFifty(b *testing.B) {
	s, r := newSite(b), openBare(b)
	var created, bareCreated, redeployed, bareRedeployed, wasDown, bareDown []time.Duration
	most, bareMost := 0, 0
	for range times(rollouts) {
		s.environment(anchor)
		s.apply()
		s.environment(anchor + layer("web", 50, 1))
		_, made := s.apply()
		created = append(created, span(made, "create", "start"))
		list := r.templates(s.name, "web")
		require.Len(b, list, 50)
		s.environment(anchor + layer("web", 50, 2))
		_, made = s.apply()
		require.Len(b, made, 4*50, "what was replaced is removed too")
		redeployed = append(redeployed, span(made))
		require.Len(b, down(made), 50)
		wasDown, most = append(wasDown, down(made)...), max(most, mostDown(made))
		s.environment(anchor)
		s.apply()

		r.calls.taken()
		r.each(list, r.createAndStart)
		bareCreated = append(bareCreated, span(r.calls.taken()))
		r.each(list, r.redeploy)
		made = r.calls.taken()
		bareRedeployed = append(bareRedeployed, span(made))
		bareDown, bareMost = append(bareDown, down(made)...), max(bareMost, mostDown(made))
		r.each(list, r.remove)
	}
	ratio(b, "50 nodes created", created, bareCreated, 1.15)
	ratio(b, "50 nodes redeployed", redeployed, bareRedeployed, 1.2)
	ratio(b, "a node's time down meanwhile", wasDown, bareDown, 1.3)
	note("most nodes down at once", fmt.Sprint(most), fmt.Sprint(bareMost), fmt.Sprintf("%d of 50", most), "< 50 of 50", most < 50)
}

// Of fifty layers with a node each, one changed: the whole pass against the four calls.
func BenchmarkOneOfFifty(b *testing.B) {
	s, r := newSite(b), openBare(b)
	layers := func(version int) string {
		var text strings.Builder
		for i := range 50 {
			v := 1
			if i == 24 {
				v = version
			}
			text.WriteString(layer(fmt.Sprintf("l%02d", i+1), 1, v))
		}
		return text.String()
	}
	s.environment(layers(1))
	s.apply()
	one := r.templates(s.name, "l25")
	for _, e := range one[0].network.EndpointsConfig {
		e.IPAMConfig = nil // the node has its address itself
	}
	r.each(one, r.createAndStart)
	var ours, theirs []time.Duration
	for i := range times(singles) {
		s.environment(layers(i + 2))
		took, made := s.apply()
		require.Len(b, made, 4)
		ours = append(ours, took)
		r.calls.taken()
		r.each(one, r.redeploy)
		theirs = append(theirs, span(r.calls.taken()))
	}
	r.each(one, r.remove)
	ratio(b, "1 of 50 layers changed, the whole pass", ours, theirs, 1.5)
}

// From a commit to the first create that it causes, in a running loop. The commit is there when git has
// written its branch.
func BenchmarkCommitToCreate(b *testing.B) {
	s := newSite(b)
	s.environment(layer("web", 1, 1))
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	stop := make(chan struct{})
	go func() { ended <- s.controller.Run(ctx, stop) }()
	defer func() {
		close(stop)
		require.NoError(b, <-ended)
		cancel()
	}()
	var took []time.Duration
	for i := range times(commits) + 1 {
		s.settled(i)
		s.calls.taken()
		s.environment(layer("web", 1, i+2))
		ref, err := os.Stat(filepath.Join(s.dir, ".git/refs/heads/main"))
		require.NoError(b, err)
		wait(b, func() bool { return !s.calls.first("create").IsZero() })
		if i > 0 {
			took = append(took, s.calls.first("create").Sub(ref.ModTime()))
		}
	}
	s.settled(times(commits) + 1)
	m := median(took)
	b.ReportMetric(float64(m.Microseconds())/1000, "ms")
	note("from a commit to its first create", show(m), "", show(m), "< 100ms", m < 100*time.Millisecond)
}

// settled waits until the node is at the given generation and the loop has nothing left to do.
func (s *site) settled(before int) {
	wait(s.b, func() bool {
		st := s.controller.Current()
		if !st.Converged || len(st.Environments) != 1 || len(st.Environments[0].Layers) != 1 {
			return false
		}
		nodes := st.Environments[0].Layers[0].Nodes
		return len(nodes) == 1 && nodes[0].Serving && nodes[0].Generation == before+1
	})
}

func wait(b *testing.B, f func() bool) {
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			require.FailNow(b, "not within a minute")
		}
	}
}
