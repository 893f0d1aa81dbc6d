package reconciler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// How long an image that could not be resolved is left alone before it is asked for again.
const (
	lookupPause     = 5 * time.Second
	lookupPauseMost = time.Minute
)

// lookup is a written image: what it stands for, as far as that was found out, and the asking for it.
type lookup struct {
	asked  plan.ImageRequest
	answer plan.Image
	known  bool          // there is an answer
	due    time.Time     // when it is asked again; zero: only if something else is asked for
	pause  time.Duration // between the last attempts that failed

	silent string             // that a registry doesn't answer the attempt in flight; empty: it hasn't been asked for long
	cancel context.CancelFunc // of the attempt in flight; nil: none is
	done   chan struct{}      // closed when it has ended
}

// resolve gives what is known of images now and begins to find out the rest, aside: a registry that
// never answers holds up nothing but the layers that wait for it.
func (c *Controller) resolve(ctx context.Context, wanted []plan.ImageRequest) map[string]plan.Image {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := make(map[string]plan.Image, len(wanted))
	now := time.Now()
	for _, r := range wanted {
		l := c.images[r.Image]
		if l == nil {
			l = &lookup{}
			c.images[r.Image] = l
		}
		if l.cancel == nil && !c.ending && ctx.Err() == nil && l.wants(r, now) {
			c.lookUp(ctx, l, r)
		}
		if l.known {
			known[r.Image] = l.answer
			continue
		}
		known[r.Image] = plan.Image{Problem: "image " + r.Image + " is being looked up" + l.silent}
	}
	return known
}

// wants says whether a request isn't answered by what is known.
func (l *lookup) wants(r plan.ImageRequest, now time.Time) bool {
	if !l.known || !l.due.IsZero() && !now.Before(l.due) || r.Pull != l.asked.Pull {
		return true
	}
	// A digest is good for every host, an ID only for the one that was asked.
	return l.answer.Digest == "" && !slices.Equal(r.Hosts, l.asked.Hosts)
}

// lookUp begins an attempt. c.mu is held.
func (c *Controller) lookUp(ctx context.Context, l *lookup, r plan.ImageRequest) {
	ctx, l.cancel = context.WithCancel(ctx)
	l.done, l.silent = make(chan struct{}), ""
	cancel, done := l.cancel, l.done
	silent := func(hosts []string) {
		c.mu.Lock()
		l.silent = fmt.Sprintf(": registry %s has not answered %s yet", fleet.Registry(r.Image), strings.Join(hosts, ", "))
		c.mu.Unlock()
		c.kick()
	}
	c.choring.Go(func() {
		defer cancel()
		img := c.resolveOne(ctx, r, silent)
		c.mu.Lock()
		l.cancel = nil
		c.lookedUp++
		said := l.answer.Before
		if ctx.Err() == nil {
			l.take(r, img, c.opts.Interval)
			if img.Refused && !c.lasting {
				l.due = time.Time{} // a pass would only end later for it
			}
		}
		is := l.answer
		close(done)
		c.mu.Unlock()
		if is.Before != "" && is.Before != said {
			c.notice("warning", "", fmt.Sprintf("%s; what has no instance left is made from %s, which was pulled for it last", is.Problem, is.Before))
		}
		c.kick()
	})
}

// take takes an attempt's answer in. An answer that was good stays so while asking again fails.
func (l *lookup) take(r plan.ImageRequest, img plan.Image, interval time.Duration) {
	l.asked = r
	switch {
	case img.Problem != "":
		l.pause = min(max(2*l.pause, lookupPause), lookupPauseMost)
		l.due = time.Now().Add(l.pause)
		if l.known && l.answer.Problem == "" && (l.answer.Digest != "" || len(img.IDs) == 0) {
			return
		}
	case r.Pull == spec.PullAlways:
		l.pause, l.due = 0, time.Now().Add(interval)
	default:
		l.pause, l.due = 0, time.Time{}
	}
	l.answer, l.known = img, true
}

// forgetImages has the images of layers that changed looked up anew before anything is done for them, and
// with other credentials those that could not be; of the others what is known goes on being good. c.mu is held.
func (c *Controller) forgetImages(was, is *spec.Spec) {
	if was == nil {
		return
	}
	if !slices.Equal(was.Fleet.Registries, is.Fleet.Registries) {
		for image, l := range c.images {
			if l.answer.Problem != "" || !l.known {
				l.stop()
				delete(c.images, image)
			}
		}
	}
	for _, e := range is.Environments {
		for i := range e.Layers {
			l := &e.Layers[i]
			if before := was.Environment(e.Name); before != nil {
				if b := before.Layer(l.Name); b != nil && b.LayerHash == l.LayerHash && b.Pull == l.Pull {
					continue
				}
			}
			if known := c.images[l.Image]; known != nil {
				known.stop()
				delete(c.images, l.Image)
			}
		}
	}
}

func (l *lookup) stop() {
	if l.cancel != nil {
		l.cancel()
	}
}

// stopLookups ends the attempts in flight and has none begun: what would wait for them won't be done.
func (c *Controller) stopLookups() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = true
	for _, l := range c.images {
		l.stop()
	}
}

// isEnding says whether what isn't a node's at hand is to be left to the next pass.
func (c *Controller) isEnding() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending
}

// inFlight returns a channel that is closed when one of the attempts has ended that `which` names; nil:
// there is none.
func (c *Controller) inFlight(which func(image string, l *lookup) bool) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	for image, l := range c.images {
		if l.cancel != nil && which(image, l) {
			return l.done
		}
	}
	return nil
}

func anyLookup(string, *lookup) bool { return true }

// computeWhole plans once all images have been looked up.
func (c *Controller) computeWhole(ctx context.Context) plan.Plan {
	return c.computeAfter(ctx, anyLookup)
}

// computeAfter plans once the named attempts have ended. One that ended while it planned counts too: the
// plan may not know of its answer.
func (c *Controller) computeAfter(ctx context.Context, which func(string, *lookup) bool) plan.Plan {
	ended := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.lookedUp
	}
	for {
		before := ended()
		p := c.compute(ctx)
		done := c.inFlight(which)
		switch {
		case done != nil:
		case ended() != before && ctx.Err() == nil:
			continue
		default:
			return p
		}
		select {
		case <-done:
		case <-ctx.Done():
			return p
		}
	}
}

// unknownImage names the attempts for an image of which nothing is known yet.
func unknownImage(image string) func(string, *lookup) bool {
	return func(i string, l *lookup) bool { return i == image && !l.known }
}

// imageOf is the image that a layer is wanted with, as written.
func (c *Controller) imageOf(l fleet.LayerID) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if want := c.layer(l); want != nil {
		return want.Image
	}
	return ""
}
