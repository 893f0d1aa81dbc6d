package render

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// redraw is how often a terminal's frame is drawn while something is at work.
const redraw = 100 * time.Millisecond

// linger is how long an ended layer stays in the frame before it scrolls away.
const linger = 2 * time.Second

// manyNodes is from how many nodes on an ended layer leaves only its bar and what failed.
const manyNodes = 12

// Terminal is what a live renderer has to know of where it draws.
type Terminal struct {
	Out io.Writer
	// Size asks for the present size; it is asked for each frame, so that a resize is followed.
	Size func() (width, height int)
}

// Live shows progress on a terminal: a line a node and a bar a layer, redrawn in place. What has ended
// and what is said otherwise scrolls up above it.
type Live struct {
	terminal Terminal
	style    Style

	mu     sync.Mutex
	board  board
	drawn  []string // the frame on the screen
	footer string
	closed bool

	stop chan struct{}
	done chan struct{}
}

// NewLive starts a live renderer, which draws until Close.
func NewLive(t Terminal, s Style) *Live {
	l := &Live{terminal: t, style: s, stop: make(chan struct{}), done: make(chan struct{})}
	go l.loop()
	return l
}

func (l *Live) loop() {
	defer close(l.done)
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case now := <-tick.C:
			l.tick(now)
		}
	}
}

func (l *Live) tick(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.show(now, l.flush(now, func(r *layerLine) bool { return r.ended() && now.Sub(r.end) > linger })...)
}

// Report takes the step into the frame.
func (l *Live) Report(p rollout.Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	// A layer that begins anew leaves what it did before on the screen.
	above := l.flush(p.Time, func(r *layerLine) bool {
		return r.ended() && r.id == idOf(p) && !p.Phase.Ended() && p.Phase != rollout.PhaseDelay
	})
	l.board.report(p)
	if p.Phase == rollout.PhaseFailed {
		above = append(above, stepText(p, l.style)...)
	}
	l.show(time.Now(), above...)
}

// Notice shows a line above the frame.
func (l *Live) Notice(n reconciler.Notice) { l.above(noticeText(n, l.style)) }

// Say shows a line above the frame.
func (l *Live) Say(text string) { l.above(lines(text)) }

// Footer keeps a line below the frame; it is drawn with the next frame.
func (l *Live) Footer(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.footer = clean(text)
}

func (l *Live) above(text []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.show(time.Now(), text...)
	}
}

// Close leaves what is in the frame on the screen and ends the renderer.
func (l *Live) Close() {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.closed, l.footer = true, ""
	now := time.Now()
	l.show(now, l.flush(now, func(*layerLine) bool { return true })...)
	l.mu.Unlock()
	close(l.stop)
	<-l.done
}

// flush takes layers out of the board and returns the lines that they leave.
func (l *Live) flush(now time.Time, which func(*layerLine) bool) []string {
	var out []string
	for _, r := range l.board.drop(which) {
		all := len(r.nodes) <= manyNodes
		out = append(out, r.line(0, now, l.style))
		out = append(out, r.nodeLines(now, l.style, func(n *nodeLine) bool { return all || n.Phase != rollout.PhaseDone })...)
	}
	return out
}

// show writes lines that stay above a new frame, in one write, so that nothing flickers.
func (l *Live) show(now time.Time, above ...string) {
	w, h := l.terminal.Size()
	frame := l.frame(w-1, h-1, now)
	if len(above) == 0 && slices.Equal(frame, l.drawn) {
		return
	}
	var b strings.Builder
	b.WriteString(l.erase(w))
	for _, t := range append(above, frame...) {
		b.WriteString(t + "\r\n")
	}
	_, _ = io.WriteString(l.terminal.Out, b.String())
	l.drawn = frame
}

// frame is the board with the footer below it.
func (l *Live) frame(w, h int, now time.Time) []string {
	if l.footer == "" || h < 2 {
		return l.board.frame(w, h, now, l.style)
	}
	return append(l.board.frame(w, h-1, now, l.style), fit(l.style.dim(l.footer), w))
}

// erase moves to the beginning of the frame on the screen and clears from there. A terminal that has become
// narrower has wrapped the frame's lines, so rows are counted by the present width.
func (l *Live) erase(w int) string {
	rows := 0
	for _, t := range l.drawn {
		rows += max(1, (width(t)+w-1)/max(1, w))
	}
	if rows == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\r\x1b[J", rows)
}
