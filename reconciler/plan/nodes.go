package plan

import (
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// decideLayer finds each node's operations.
func (w *world) decideLayer(l *layer) {
	if l.spec != nil {
		l.image = w.resolve(l)
	}
	w.readPause(l)
	for _, n := range l.nodes {
		switch reason := w.hindrance(n); {
		case reason != "":
			l.wait(n, reason)
		case n.wanted:
			w.decide(l, n)
		default:
			w.remove(l, n)
		}
	}
}

func (l *layer) wait(n *node, reason string) {
	l.out.Waiting = append(l.out.Waiting, Waiting{Node: n.id.Node, Reason: reason})
}

func (w *world) add(l *layer, n *node, op Operation) {
	op.ID, op.Node, op.Serving = n.id, n.id.Node, n.serving
	switch op.Kind {
	case Create, Start, Redeploy:
		op.Others = w.others(n, &op)
	}
	l.out.Operations = append(l.out.Operations, op)
}

// others are the instances of a node that run besides those of an operation, on hosts that can be worked on.
func (w *world) others(n *node, op *Operation) []*fleet.Instance {
	if n.seen == nil {
		return nil
	}
	var list []*fleet.Instance
	for i := range n.seen.Instances {
		in := &n.seen.Instances[i]
		if h := w.byHost[in.Host]; in.Running() && in != op.Instance && in != op.Candidate && h.spec != nil && h.mute == "" {
			list = append(list, in)
		}
	}
	return list
}

// hindrance is why nothing can be done to a node now; empty: something can. A node that is as it should
// be has none.
func (w *world) hindrance(n *node) string {
	if n.wait != "" {
		return n.wait
	}
	in := n.newest()
	if in == nil {
		return ""
	}
	if h := w.byHost[in.Host]; h.mute != "" && w.wantsChange(n) {
		return "is on " + h.name + ", whose keeper doesn't answer: " + h.mute
	}
	return ""
}

// wantsChange says whether a node on a host with a mute keeper isn't as it should be.
func (w *world) wantsChange(n *node) bool {
	cur := n.current()
	return !n.wanted || cur == nil || !sameSpec(cur, n.layer.spec) || n.layer.imageDiffers(cur) || !cur.Running()
}

// decide is what a wanted node needs.
//
//	current instance      | as wanted | operation
//	none                  | -         | create (with the candidate, if one fits)
//	first, never healthy  | yes       | create, with it: its gate is still due
//	first, never healthy  | no        | create of another, and its removal
//	there                 | no        | redeploy (with the candidate, if one fits)
//	there, not running    | yes       | start
//	there                 | yes       | resize, restart where due; else none
func (w *world) decide(l *layer, n *node) {
	cur := n.current()
	if n.place.Host == "" {
		l.wait(n, n.place.Reason)
		return
	}
	if cur != nil && n.place.Reason != "" {
		w.warn(n.id.String() + " stays on " + n.place.Host + ": " + n.place.Reason)
	}
	var causes []Cause
	if cur != nil {
		causes = w.differences(l, n, cur)
	}
	switch {
	case cur == nil:
		w.create(l, n, w.fitting(l, n))
	case n.seen.Unproven && len(causes) == 0:
		w.create(l, n, cur)
	case n.seen.Unproven && !n.serving:
		n.stale = true
		w.create(l, n, w.fitting(l, n))
	case len(causes) > 0:
		w.redeploy(l, n, cur, causes)
	default:
		w.keep(l, n, cur)
	}
}

// differences are the causes for which a node needs a new container.
func (w *world) differences(l *layer, n *node, cur *fleet.Instance) []Cause {
	var causes []Cause
	if !sameSpec(cur, l.spec) {
		causes = l.changes(cur.Written)
	}
	if l.imageDiffers(cur) {
		causes = imageCause(causes, cur.Image, l.image.on(cur.Host))
	}
	if n.place.Host != cur.Host {
		causes = append(causes, Cause{Field: "host", From: cur.Host, To: n.place.Host})
	}
	causes = append(causes, w.changedFiles(l, n, cur)...)
	if w.clashes(cur) {
		causes = append(causes, addressCause(cur))
	}
	return append(causes, lifted(cur, w.limits(l, n.place.Host, false))...)
}

// addressCause: another node has the address of an instance, which can't be started with it any more.
func addressCause(in *fleet.Instance) Cause {
	return Cause{Field: "address", From: in.Address.String() + ", which another node has"}
}

// changes are the fields in which what an instance was made for differs from what is written now.
func (l *layer) changes(old string) []Cause {
	causes, known := l.changed[old]
	if !known {
		for _, c := range spec.Diff(old, l.spec.Written) {
			causes = append(causes, Cause{Field: c.Field, From: c.From, To: c.To})
		}
		if causes == nil {
			// Its label was made by another version of the hash, and the text by none: say so all the same.
			causes = []Cause{{Field: "spec"}}
		}
		if l.changed == nil {
			l.changed = map[string][]Cause{}
		}
		l.changed[old] = causes
	}
	return slices.Clone(causes)
}

// imageCause says what the image's change comes to: digests tell more than a tag that stays the same.
func imageCause(causes []Cause, from, to string) []Cause {
	for i := range causes {
		if causes[i].Field == "image" {
			return causes
		}
	}
	return append(causes, Cause{Field: "image", From: from, To: to})
}

// fitting is the node's candidate, if it is what would be made now: from the wanted image, on the wanted host.
func (w *world) fitting(l *layer, n *node) *fleet.Instance {
	c := w.candidate(n)
	if c == nil || c.Host != n.place.Host || l.imageDiffers(c) {
		return nil
	}
	return c
}

func (w *world) create(l *layer, n *node, with *fleet.Instance) {
	if w.failedGate(l, n) {
		l.wait(n, "failed, and is left as it is: "+l.pause.Cause)
		return
	}
	if with == nil && !w.canMake(l, n) {
		return
	}
	w.add(l, n, Operation{Kind: Create, Host: n.place.Host, Candidate: with, Causes: w.whyCreate(n)})
}

// canMake says whether a new container can be made for the node; where not, the node waits.
func (w *world) canMake(l *layer, n *node) bool {
	if l.image.on(n.place.Host) == "" {
		l.wait(n, l.whyNoImage(n.place.Host))
		return false
	}
	if s := w.subnets[l.id.Environment]; s.problem != "" {
		l.wait(n, s.problem)
		return false
	}
	name := fleet.NetworkName(w.fleet.Name, l.id.Environment)
	if there := hasNetwork(w.byHost[n.place.Host], name); there != nil && there.Fleet != w.fleet.Name {
		l.wait(n, "the network of "+l.id.Environment+" can't be made on "+n.place.Host)
		return false
	}
	if w.network(l.id.Environment, n.place.Host) == nil {
		l.wait(n, "its network has no place for another host")
		return false
	}
	return true
}

func (w *world) whyCreate(n *node) []Cause {
	switch {
	case n.stale && w.clashes(n.current()):
		return []Cause{addressCause(n.current())}
	case n.stale:
		return n.layer.changes(n.current().Written)
	case n.copy != nil && w.byHost[n.copy.Host].spec == nil:
		return []Cause{{Field: "host", From: n.copy.Host, To: n.place.Host}}
	case n.seen != nil:
		return []Cause{{Field: "node", From: "never healthy", To: "running"}}
	case n.copy != nil || w.recorded()[n.id] > 0:
		return []Cause{{Field: "node", From: missing, To: "running"}}
	}
	return []Cause{w.whyNew(n.layer)}
}

// whyNew is what a node that never was there comes from; it mirrors whyRemove.
func (w *world) whyNew(l *layer) Cause {
	switch highest := l.highest(); {
	case highest > 0 && highest < l.spec.Replicas:
		return Cause{Field: "replicas", From: number(highest), To: number(l.spec.Replicas)}
	case highest > 0:
		return Cause{Field: "node", From: missing, To: "running"}
	case w.inhabited()[l.id.Environment]:
		return Cause{Field: "layer", To: l.id.Layer}
	}
	return Cause{Field: "environment", To: l.id.Environment}
}

// highest is the highest ordinal of the layer's nodes that are there, also on hosts out of reach; 0: none is.
func (l *layer) highest() int {
	highest := 0
	for _, n := range l.nodes {
		if n.seen != nil || n.far != "" {
			highest = max(highest, n.id.Node)
		}
	}
	return highest
}

func (w *world) redeploy(l *layer, n *node, cur *fleet.Instance, causes []Cause) {
	with := w.fitting(l, n)
	if with == nil && !w.canMake(l, n) {
		if l.image.on(n.place.Host) == "" {
			l.lacking = n.place.Host
		}
		return
	}
	op := Operation{
		Kind: Redeploy, Host: n.place.Host, Intrusive: true, Instance: cur, Candidate: with,
		Causes: append(causes, w.covered(l, n, cur)...),
	}
	if n.place.Host != cur.Host {
		op.FromHost = cur.Host
	}
	w.add(l, n, op)
}

// covered are the changes that a redeploy brings about by the way.
func (w *world) covered(l *layer, n *node, cur *fleet.Instance) []Cause {
	causes := resized(cur.Limits, w.limits(l, n.place.Host, false))
	if c := restartCause(l, n, cur); c != nil {
		causes = append(causes, *c)
	}
	return causes
}

// keep is for a node that keeps its container.
func (w *world) keep(l *layer, n *node, cur *fleet.Instance) {
	want := w.limits(l, cur.Host, true)
	if causes := resized(cur.Limits, want); causes != nil {
		w.add(l, n, Operation{Kind: Resize, Host: cur.Host, Causes: causes, Instance: cur, Limits: want})
	}
	switch cur.State {
	case fleet.StateRunning, fleet.StateRestarting:
	default:
		if w.fleet.SelfHeal && !w.attached(cur) {
			l.wait(n, "is started once it is back on its network")
			return
		}
		w.add(l, n, Operation{Kind: Start, Host: cur.Host, Instance: cur,
			Causes: []Cause{{Field: "state", From: string(cur.State), To: "running"}}})
		return
	}
	c := restartCause(l, n, cur)
	sick := c == nil
	if sick {
		c = w.sickness(l, n, cur)
	}
	if c != nil {
		w.add(l, n, Operation{Kind: Restart, Host: cur.Host, Intrusive: true, Instance: cur, Causes: []Cause{*c}, Sick: sick})
	}
}

// missing is what a cause says of a node that was there once.
const missing = "missing"

// restartCause says why a node is to be restarted; nil: it isn't. Without a record, which means that the
// keeper's volume was lost, the text is adopted.
func restartCause(l *layer, n *node, cur *fleet.Instance) *Cause {
	r := n.restart
	if r == nil {
		return nil
	}
	if r.Text != l.spec.Restart {
		return &Cause{Field: "restart", From: r.Text, To: l.spec.Restart}
	}
	if !r.StartedAt.IsZero() && !cur.StartedAt.After(r.StartedAt) {
		return &Cause{Field: "restart", From: "asked for at " + r.StartedAt.UTC().Format(time.RFC3339), To: l.spec.Restart}
	}
	return nil
}

// remove ends a node that nobody wants any more.
func (w *world) remove(l *layer, n *node) {
	in := n.newest()
	if in == nil {
		return
	}
	w.add(l, n, Operation{Kind: Remove, Host: in.Host, Intrusive: true, Instance: in, Causes: []Cause{l.whyRemove()}})
}

func (l *layer) whyRemove() Cause {
	switch {
	case l.env == nil:
		return Cause{Field: "environment", From: l.id.Environment}
	case l.spec == nil:
		return Cause{Field: "layer", From: l.id.Layer}
	}
	return Cause{Field: "replicas", From: number(l.highest()), To: number(l.spec.Replicas)}
}
