package plan

import (
	"fmt"
	"slices"
	"strings"
)

// refuseRevision refuses a revision as a whole where carrying out any of it could lose something.
func (w *world) refuseRevision() {
	for _, h := range w.hosts {
		if h.spec != nil || !h.up() {
			continue
		}
		var carried []string
		for i := range h.state.Instances {
			in := &h.state.Instances[i]
			// What came back after its node was placed elsewhere is superseded, and left alone.
			if n := w.find(in.NodeID); n.seen.Current < 0 || in.Generation >= n.seen.CurrentInstance().Generation {
				carried = append(carried, in.NodeID.String())
			}
		}
		if len(carried) == 0 {
			continue
		}
		slices.Sort(carried)
		w.halt(fmt.Sprintf("host %s was taken out of the spec and still carries %s: evacuate it first, or send its layers elsewhere with placement.hosts, then take it out",
			h.name, some(slices.Compact(carried))))
	}
}

func (w *world) halt(reason string) {
	w.halted = true
	w.plan.HasChanges = true
	w.plan.Refused = append(w.plan.Refused, reason)
}

// some lists the first few of many.
func some(names []string) string {
	if len(names) > 4 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}

// locate finds out where nodes are that can't be seen. Unknown is not absent:
//
//	copy in reach | its host        | seen here            | the node
//	yes           | answers         | -                    | is what was seen
//	yes           | doesn't answer  | healthy, as new      | is what was seen
//	yes           | doesn't answer  | no                   | is there, and waits
//	yes           | gone, volumes   | no                   | waits for them
//	yes           | gone            | no                   | is absent
//	no            | one is down     | running              | is what was seen
//	no            | one is down     | no, fleet has traces | may be there, and waits
//	no            | one is down     | no, no trace         | is absent (with a warning)
func (w *world) locate() {
	for _, l := range w.layers {
		for _, n := range l.nodes {
			switch {
			case n.copy != nil:
				w.locateByCopy(n)
			case !w.known && len(w.down) > 0 && (w.traces || n.seen != nil) && !n.runsHere():
				n.wait = "may be on " + strings.Join(w.down, " or ") + ", which " + doesnt(len(w.down)) + " answer"
			}
		}
	}
	if !w.known && len(w.down) > 0 && !w.traces {
		w.warn(fmt.Sprintf("%s %s answer and nothing of the fleet is known: what is on %s is taken for empty",
			strings.Join(w.down, ", "), doesnt(len(w.down)), it(len(w.down))))
	}
}

func (w *world) locateByCopy(n *node) {
	h := w.byHost[n.copy.Host]
	if h.up() || n.supersedesCopy() {
		return
	}
	if h.spec != nil {
		n.far = h.name
		n.wait = "is on " + h.name + ", which doesn't answer"
		return
	}
	if n.wanted && len(n.copy.Volumes) > 0 && len(n.layer.spec.Volumes) > 0 {
		n.wait = fmt.Sprintf("was on %s, which is gone, with its volumes (%s): bring the host back, or take the volumes out of the layer",
			h.name, strings.Join(n.copy.Volumes, ", "))
	}
}

// supersedesCopy says whether what was seen is at least as new as the copy and was healthy once.
func (n *node) supersedesCopy() bool {
	cur := n.current()
	return cur != nil && cur.Generation >= n.copy.Generation && n.seen.Recorded >= cur.Generation
}

func (n *node) runsHere() bool {
	cur := n.current()
	return cur != nil && cur.Running()
}

func (w *world) warn(text string) { w.plan.Warnings = append(w.plan.Warnings, text) }

func (w *world) refuse(text string) { w.plan.Refused = append(w.plan.Refused, text) }

func doesnt(n int) string {
	if n == 1 {
		return "doesn't"
	}
	return "don't"
}

func it(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}
