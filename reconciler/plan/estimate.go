package plan

import (
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/spec"
)

// estimate works out how a layer's rollout goes: its strategy, how many nodes serve at least, and how long
// it takes at least.
//
// The duration is the longest of
//
//   - the creates and starts, which run side by side and wait for nothing but their gate (minHealthy);
//   - the simultaneous operations, likewise, each with its withdrawal (the TTL) before;
//   - the sequential ones, dealt out in order to as many hands as nodes may be unavailable, each with its
//     withdrawal, its gate, and the delay before the next one in the same hand.
//
// Draining, pulling and stopping take what they take, up to their limits, and aren't in it. Nor is a
// simultaneous operation's wait for the guard.
func (w *world) estimate(l *layer) {
	l.out.Operations = Order(l.out.Operations)
	l.out.Strategy = l.strategy()
	w.withdraw(l)
	w.withdrawExternal(l)
	serving := 0
	for _, n := range l.nodes {
		if n.serving {
			serving++
		}
	}
	l.out.MinServing = l.minServing(serving)
	l.out.Downtime = l.out.Downtime || serving > 0 && l.out.MinServing == 0
	l.out.EstimatedDuration = Duration(l.duration())
}

// strategy is that of the first operation that is paced, else the layer's.
func (l *layer) strategy() spec.Strategy {
	for i := range l.out.Operations {
		if op := &l.out.Operations[i]; paced(op) {
			return l.policy(op.Kind).Strategy
		}
	}
	if l.spec == nil {
		return spec.Simultaneous
	}
	return l.spec.Update.Strategy
}

// minServing is the least number of nodes that serve at any time. Creates and starts add to it only when
// they are done, which may be last, so they don't count. A node that didn't serve does after its redeploy.
func (l *layer) minServing(serving int) int {
	total := serving
	for i := range l.out.Operations {
		if op := &l.out.Operations[i]; op.Intrusive && op.Serving && !l.sequential(op) {
			total-- // all of these at once, and whatever else goes on meanwhile
		}
	}
	least, now, nodes := total, total, l.size()
	var hands []int // what each hand gives back when it takes the next node
	for i := range l.out.Operations {
		op := &l.out.Operations[i]
		if !op.Intrusive || !l.sequential(op) {
			continue
		}
		for most := l.policy(op.Kind).MaxUnavailable; len(hands) > 0 && (len(hands) >= most || op.Serving && now <= 1); {
			now += hands[0]
			hands = hands[1:]
		}
		if op.Serving && now <= 1 && l.spec != nil && nodes > 1 {
			break // the guard doesn't let the last one go
		}
		back := 1
		if op.Serving {
			now--
		}
		if op.Kind == Remove {
			back = 0
			nodes--
		}
		hands = append(hands, back)
		least = min(least, now)
	}
	return max(0, least)
}

// size is how many nodes the layer has, those that aren't there yet or any more included.
func (l *layer) size() int {
	nodes := 0
	for _, n := range l.nodes {
		if n.wanted || n.seen != nil {
			nodes++
		}
	}
	return nodes
}

// duration is the layer's longest way.
func (l *layer) duration() time.Duration {
	var longest time.Duration
	var hands []time.Duration // when each hand is free
	for i := range l.out.Operations {
		op := &l.out.Operations[i]
		p := l.policy(op.Kind)
		took := length(op, p)
		if !l.sequential(op) {
			longest = max(longest, took)
			continue
		}
		if len(hands) < p.MaxUnavailable {
			hands = append(hands, took)
		} else {
			first := slices.Index(hands, slices.Min(hands))
			hands[first] += p.Delay + took
		}
		longest = max(longest, slices.Max(hands))
	}
	return longest
}

// length is how long one operation takes at least.
func length(op *Operation, p spec.UpdatePolicy) time.Duration {
	var d time.Duration
	if op.DNS != nil && op.Kind != Resize {
		d += op.Lasts
	}
	if op.Kind != Resize && op.Kind != Remove {
		d += p.MinHealthy
	}
	return d
}
