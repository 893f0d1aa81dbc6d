package reconciler

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/drift"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

const (
	// tagPatience is how long one waits who wants to know what tags stand for, and tagTime how long that may
	// take where nobody does.
	tagPatience = 5 * time.Second
	tagTime     = time.Minute
	// A run asks for tags once in so many passes, and at least that often.
	tagPasses = 10
	tagsEvery = 5 * time.Minute
)

// way is who may be asked what a tag stands for.
type way bool

const (
	// byHead: only evenkeel itself, with HEAD, which registries don't count as a pull.
	byHead way = false
	// anyWay: where evenkeel can't reach a registry also the hosts' engines, which fetch the manifest.
	anyWay way = true
)

// readTags looks up what the written images stand for by now, side by side: those that nodes were made of a
// registry's digest from in the registry, the others on their hosts. An answer stays good while asking again
// fails.
func (c *Controller) readTags(ctx context.Context, by way, within time.Duration) (news bool) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_, in := c.input()
	c.mu.Lock()
	before := c.tags
	c.mu.Unlock()
	begun := time.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	tags := map[string]plan.Tag{}
	for _, r := range drift.Tags(in.Desired, in.Observed) {
		wg.Go(func() {
			t := c.readTag(ctx, r, by)
			t.At = begun
			if known := before[r.Image]; t.Problem != "" {
				t.Digest, t.IDs, t.At = known.Digest, known.IDs, known.At
			}
			mu.Lock()
			defer mu.Unlock()
			tags[r.Image] = t
			news = news || !sameTag(t, before[r.Image])
		})
	}
	wg.Wait()
	if errors.Is(ctx.Err(), context.Canceled) {
		return false // given up: what came of it says nothing
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tags = tags
	return news || len(tags) != len(before)
}

func sameTag(a, b plan.Tag) bool {
	return a.Digest == b.Digest && a.Problem == b.Problem && maps.Equal(a.IDs, b.IDs)
}

// readTag finds out what one tag stands for.
func (c *Controller) readTag(ctx context.Context, r plan.ImageRequest, by way) plan.Tag {
	if r.Pull != spec.PullAlways {
		r.Pull = spec.PullAlways // of all hosts: what one has under the name says nothing of the others
		img, _ := c.askHosts(ctx, r)
		return plan.Tag{IDs: img.IDs, Problem: img.Problem}
	}
	as, err := c.credentials(ctx, r.Image)
	if err != nil {
		return plan.Tag{Problem: "image " + r.Image + ": " + err.Error()}
	}
	askers := c.askers(r, as)
	if by == byHead && len(askers) > 0 && askers[0].name == itself {
		askers = askers[:1]
	}
	digest, err := askInTurn(ctx, askers, func([]string) {})
	switch {
	case err != nil:
		return plan.Tag{Problem: "image " + r.Image + ": " + err.Error()}
	case digest == "":
		return plan.Tag{Problem: "image " + r.Image + ": none of its hosts is in reach"}
	}
	return plan.Tag{Digest: withDigest(r.Image, digest)}
}
