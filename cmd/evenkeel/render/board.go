package render

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// board is where every node of the rollouts under way is.
type board struct {
	layers []*layerLine // sorted
}

// layerLine is one layer's rollout.
type layerLine struct {
	id          fleet.LayerID
	done, total int
	before      int // operations of earlier rollouts, which a worker's counts include
	began, end  time.Time
	next        time.Time   // when the delay before the next node is over
	nodes       []*nodeLine // sorted by ordinal
}

// nodeLine is one node's last step.
type nodeLine struct {
	rollout.Progress
	began time.Time // of the operation
	since time.Time // of the phase
}

// report takes a step in.
func (b *board) report(p rollout.Progress) {
	if p.Phase == rollout.PhaseDelay { // the node is done; it is the layer that waits
		if i, found := b.find(idOf(p)); found {
			b.layers[i].next = p.Time.Add(time.Duration(p.Wait))
		}
		return
	}
	l := b.layer(idOf(p))
	if l.began.IsZero() {
		l.began, l.before = p.Time, p.Done
		if p.Phase == rollout.PhaseDone {
			l.before--
		}
	}
	// Steps of several nodes may come in another order than they were counted in.
	l.done, l.total = max(l.done, p.Done-l.before), max(l.total, p.Total-l.before)
	n := l.node(p.Node)
	if n.began.IsZero() || n.Phase.Ended() && !p.Phase.Ended() {
		n.began = p.Time
	}
	if n.Phase != p.Phase {
		n.since = p.Time
	}
	n.Progress = p
	if l.ended() {
		l.end = p.Time
	}
}

func idOf(p rollout.Progress) fleet.LayerID {
	return fleet.LayerID{Environment: p.Environment, Layer: p.Layer}
}

func (b *board) find(id fleet.LayerID) (int, bool) {
	return slices.BinarySearchFunc(b.layers, id, func(l *layerLine, id fleet.LayerID) int { return l.id.Compare(id) })
}

func (b *board) layer(id fleet.LayerID) *layerLine {
	i, found := b.find(id)
	if !found {
		b.layers = slices.Insert(b.layers, i, &layerLine{id: id})
	}
	return b.layers[i]
}

func (l *layerLine) node(ordinal int) *nodeLine {
	i, found := slices.BinarySearchFunc(l.nodes, ordinal, func(n *nodeLine, o int) int { return n.Node - o })
	if !found {
		l.nodes = slices.Insert(l.nodes, i, &nodeLine{Progress: rollout.Progress{Node: ordinal}})
	}
	return l.nodes[i]
}

// drop takes out the layers for which yes answers so, and returns them.
func (b *board) drop(yes func(*layerLine) bool) []*layerLine {
	var out []*layerLine
	b.layers = slices.DeleteFunc(b.layers, func(l *layerLine) bool {
		if !yes(l) {
			return false
		}
		out = append(out, l)
		return true
	})
	return out
}

// ended says whether no node of the layer is at work or to come.
func (l *layerLine) ended() bool {
	return l.active() == 0 && l.total > 0 && (l.done >= l.total || l.over() >= l.total)
}

func (l *layerLine) active() (n int) {
	for _, node := range l.nodes {
		if !node.Phase.Ended() {
			n++
		}
	}
	return n
}

func (l *layerLine) over() (n int) {
	for _, node := range l.nodes {
		if node.Phase.Ended() {
			n++
		}
	}
	return n
}

func (l *layerLine) failed() (n int) {
	for _, node := range l.nodes {
		if node.Phase == rollout.PhaseFailed || node.Phase == rollout.PhaseGivenUp {
			n++
		}
	}
	return n
}

// frame draws the board in at most height lines of at most width columns: every node if there is room,
// else the layers with the nodes at work, else the layers alone.
func (b *board) frame(width, height int, now time.Time, s Style) []string {
	if width <= 0 || height <= 0 {
		return nil
	}
	var out []string
	for _, show := range []func(*nodeLine) bool{
		func(*nodeLine) bool { return true },
		func(n *nodeLine) bool { return !n.Phase.Ended() || n.Phase == rollout.PhaseFailed },
		func(*nodeLine) bool { return false },
	} {
		if out = b.draw(now, s, show); len(out) <= height {
			break
		}
	}
	if len(out) > height {
		more := len(out) - height + 1
		out = append(out[:height-1], s.dim(fmt.Sprintf("… and %s more", counted(more, "layer"))))
	}
	for i := range out {
		out[i] = fit(out[i], width)
	}
	return out
}

func (b *board) draw(now time.Time, s Style, show func(*nodeLine) bool) []string {
	var out []string
	names := 0
	for _, l := range b.layers {
		names = max(names, width(clean(l.id.String())))
	}
	for _, l := range b.layers {
		out = append(out, l.line(names, now, s))
		out = append(out, l.nodeLines(now, s, show)...)
	}
	return out
}

// barWidth is how many columns a layer's bar takes.
const barWidth = 24

// line is the layer with its bar.
func (l *layerLine) line(names int, now time.Time, s Style) string {
	until := now
	if l.ended() {
		until = l.end
	}
	text := fmt.Sprintf("%s  %s  %d/%d  %s", s.bold(pad(clean(l.id.String()), names)), bar(l.done, l.total, s), l.done, l.total,
		s.dim(span(until.Sub(l.began))))
	if left := l.next.Sub(now); left > 0 && !l.ended() {
		text += s.dim("  next node in " + span(left))
	}
	if n := l.failed(); n > 0 {
		text += "  " + s.red(fmt.Sprintf("%d not done", n))
	}
	return text
}

func bar(done, total int, s Style) string {
	filled := 0
	if total > 0 {
		filled = min(barWidth, barWidth*done/total)
	}
	return s.green(strings.Repeat("━", filled)) + s.dim(strings.Repeat("─", barWidth-filled))
}

func (l *layerLine) nodeLines(now time.Time, s Style, show func(*nodeLine) bool) []string {
	t := table{indent: "  "}
	for _, n := range l.nodes {
		if show(n) {
			t.add(n.cells(n.clock(now), s)...)
		}
	}
	if len(t.rows) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(t.String(), "\n"), "\n")
}

func (n *nodeLine) cells(clock string, s Style) []string {
	detail := n.Error
	if detail == "" {
		detail = n.Message
	}
	if first := lines(detail); len(first) > 0 {
		detail = first[0]
	}
	return []string{
		fmt.Sprintf("node %d", n.Node), clean(place(n.Progress)), string(n.Operation), outcomeStyle(n.Phase, s)(string(n.Phase)),
		s.dim(clock), clean(detail),
	}
}

// clock is how long the operation took, or how long the phase has lasted. A node that waits its turn has
// no clock running.
func (n *nodeLine) clock(now time.Time) string {
	lasted, wait := now.Sub(n.since), time.Duration(n.Wait)
	switch {
	case n.Phase.Ended() && n.Took > 0:
		return span(time.Duration(n.Took))
	case n.Phase.Ended():
		return span(n.since.Sub(n.began))
	case n.Phase == rollout.PhaseQueued:
		return ""
	case wait > 0 && lasted < wait:
		return span(lasted) + " of " + span(wait)
	}
	return span(lasted)
}
