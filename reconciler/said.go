package reconciler

import (
	"context"
	"fmt"
	"maps"
	"reflect"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// said is what external names were last made to say, which tells what others have changed there from what is still to be
// done. The keepers have it in their copy.
type said struct {
	digests map[string]string // by fleet.SaidKey; nil: not known yet
	// changing are the numbers of the newest input when names were last about to be changed: what a plan says of
	// them that is from no newer one doesn't count.
	changing map[string]int
}

// of is what is known of the names of a zone, by their names; nil: nothing. c.mu is held, as below.
func (s *said) of(zone string) map[string]string {
	if s.digests == nil {
		return nil
	}
	return plan.SaidOf(s.digests, zone)
}

// learn takes what the keepers know, before anything is known here.
func (s *said) learn(observed fleet.Observed) {
	if s.digests != nil {
		return
	}
	if newest := fleet.NewestCopy(observed); newest.Serial > 0 {
		s.digests = maps.Clone(newest.Said)
		if s.digests == nil {
			s.digests = map[string]string{}
		}
	}
}

// take takes what the plan of that number knows.
func (s *said) take(number int, p plan.Plan) {
	if p.Said == nil {
		return
	}
	next := maps.Clone(p.Said)
	for key, changed := range s.changing {
		if number > changed {
			delete(s.changing, key)
			continue
		}
		delete(next, key)
	}
	s.digests = next
}

// unsay notes that names are about to be changed. Where others' changes are only reported, the keepers have to know
// first: what a crash leaves half done isn't to be taken for somebody else's doing.
func (c *Controller) unsay(ctx context.Context, zone string, changing []string) error {
	c.mu.Lock()
	if c.said.changing == nil {
		c.said.changing = map[string]int{}
	}
	known := false
	for _, name := range changing {
		key := fleet.SaidKey(zone, name)
		_, was := c.said.digests[key]
		known = known || was
		delete(c.said.digests, key)
		c.said.changing[key] = c.inputs
	}
	selfHeal := c.desired == nil || c.desired.Fleet.SelfHeal
	c.mu.Unlock()
	if selfHeal || !known {
		return nil
	}
	next := c.copyNow()
	for _, h := range c.wantedHosts() {
		if _, err := h.writable(); err != nil || next == nil {
			continue
		}
		c.giveCopy(ctx, h, next)
		if st := h.snapshot(); st.Keeper != nil && reflect.DeepEqual(st.Keeper.Copy, *next) {
			return nil
		}
	}
	return fmt.Errorf("%w: no keeper could be told that names in the zone %s are about to be changed", fleet.ErrUnreachable, zone)
}
