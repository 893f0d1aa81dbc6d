package render

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// Progress shows what happens, as it happens. It is safe for concurrent use.
type Progress interface {
	Report(rollout.Progress)
	Notice(reconciler.Notice)
	// Say shows a line of evenkeel's own.
	Say(text string)
	// Footer keeps a line below everything else where lines can be redrawn, until the next one or an empty one.
	Footer(text string)
	// Close shows what is still to be shown; nothing is shown after it.
	Close()
}

// Active keeps who is being worked on, so that a request to stop can say what is being finished. What it
// passes on counts the rollout at hand: a worker counts on from one to the next.
type Active struct {
	Progress
	mu    sync.Mutex
	board board
}

// NewActive wraps p.
func NewActive(p Progress) *Active { return &Active{Progress: p} }

// Report notes the step and passes it on.
func (a *Active) Report(p rollout.Progress) {
	a.mu.Lock()
	a.board.report(p)
	if i, found := a.board.find(idOf(p)); found {
		p.Done, p.Total = a.board.layers[i].done, a.board.layers[i].total
	}
	a.board.drop(func(l *layerLine) bool { return l.ended() })
	a.mu.Unlock()
	a.Progress.Report(p)
}

// AtHand names the nodes that are being touched: past their guard, and not ended.
func (a *Active) AtHand() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, l := range a.board.layers {
		for _, n := range l.nodes {
			if touched(n.Phase) {
				out = append(out, fmt.Sprintf("%s on %s (%s)", nodeName(n.Progress), clean(n.Host), n.Phase))
			}
		}
	}
	return out
}

func touched(p rollout.Phase) bool {
	switch p {
	case rollout.PhaseWithdraw, rollout.PhaseDrain, rollout.PhaseOperate, rollout.PhaseGate, rollout.PhaseRestore:
		return true
	}
	return false
}

func nodeName(p rollout.Progress) string {
	return clean(fmt.Sprintf("%s/%s/%d", p.Environment, p.Layer, p.Node))
}

func place(p rollout.Progress) string {
	if p.FromHost != "" {
		return p.FromHost + " → " + p.Host
	}
	return p.Host
}

// outcome is a phase, with the time that the operation took where it has ended.
func outcome(p rollout.Progress, s Style) string {
	text := string(p.Phase)
	if p.Took > 0 {
		text += " in " + span(time.Duration(p.Took))
	}
	return outcomeStyle(p.Phase, s)(text)
}

func outcomeStyle(p rollout.Phase, s Style) func(string) string {
	switch p {
	case rollout.PhaseDone:
		return s.green
	case rollout.PhaseFailed:
		return s.red
	case rollout.PhaseGivenUp, rollout.PhaseOvertaken:
		return s.yellow
	}
	return s.cyan
}

// because is why an operation is done.
func because(p rollout.Progress) string {
	var causes []string
	for _, c := range p.Causes {
		causes = append(causes, Cause(c))
	}
	return strings.Join(causes, "; ")
}

// Cause is a cause as a few words: field: old → new.
func Cause(c plan.Cause) string {
	if v := change(c); v != "" {
		return clean(c.Field) + ": " + v
	}
	return clean(c.Field)
}

// Lines shows progress as plain lines of text, for logs.
type Lines struct {
	mu      sync.Mutex
	out     io.Writer
	style   Style
	verbose bool
	closed  bool
}

// NewLines returns a renderer that writes to out; verbose shows each phase with what it waits for.
func NewLines(out io.Writer, style Style, verbose bool) *Lines {
	return &Lines{out: out, style: style, verbose: verbose}
}

// Report writes a line, and the causes where an operation begins.
func (l *Lines) Report(p rollout.Progress) {
	if l.verbose || loud(p) {
		l.write(p.Time, stepText(p, l.style)...)
	}
}

// loud says whether a step is shown without being asked for more: what can be seen from outside.
func loud(p rollout.Progress) bool {
	switch p.Phase {
	case rollout.PhasePrepare, rollout.PhaseQueued, rollout.PhaseGuard:
		return p.Message != "" || p.Error != ""
	}
	return true
}

// Notice writes a line.
func (l *Lines) Notice(n reconciler.Notice) { l.write(n.Time, noticeText(n, l.style)...) }

// Say writes a line.
func (l *Lines) Say(text string) { l.write(time.Now(), lines(text)...) }

// Footer shows nothing: a line in a log can't be redrawn.
func (l *Lines) Footer(string) {}

// Close ends it.
func (l *Lines) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

func (l *Lines) write(at time.Time, text ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	stamp := l.style.dim(at.UTC().Format("15:04:05"))
	for _, t := range text {
		_, _ = fmt.Fprintf(l.out, "%s %s\n", stamp, t)
	}
}

// stepText is a step as lines of text; what a node said before it ended follows, a line each.
func stepText(p rollout.Progress, s Style) []string {
	head := fmt.Sprintf("%s on %s: %s %s", nodeName(p), clean(place(p)), p.Operation, outcome(p, s))
	if p.Phase.Ended() && p.Total > 0 {
		head += fmt.Sprintf(" (%d/%d)", p.Done, p.Total)
	}
	if p.Wait > 0 && !p.Phase.Ended() {
		head += " " + span(time.Duration(p.Wait))
	}
	detail := lines(p.Error)
	detail = append(detail, lines(p.Message)...)
	if len(detail) > 0 {
		head += ": " + detail[0]
		detail = detail[1:]
	} else if why := because(p); why != "" {
		head += ": " + why
	}
	out := []string{head}
	for _, d := range detail {
		out = append(out, "    "+d)
	}
	return out
}

func noticeText(n reconciler.Notice, s Style) []string {
	out := lines(n.Message)
	if len(out) == 0 {
		return nil
	}
	if n.Host != "" && !strings.Contains(out[0], n.Host) {
		out[0] = clean(n.Host) + ": " + out[0]
	}
	for i := 1; i < len(out); i++ {
		out[i] = "    " + out[i]
	}
	switch n.Level {
	case "error":
		out[0] = s.red("error: " + out[0])
	case "warning":
		out[0] = s.yellow("warning: " + out[0])
	}
	return out
}

// JSONLines shows progress as one JSON object a line: a progress, a notice, or a message of evenkeel's own.
type JSONLines struct {
	mu     sync.Mutex
	out    *json.Encoder
	closed bool
}

// NewJSONLines returns a renderer that writes to out.
func NewJSONLines(out io.Writer) *JSONLines {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	return &JSONLines{out: e}
}

// Report writes {"type":"progress", …}.
func (j *JSONLines) Report(p rollout.Progress) {
	j.write(struct {
		Type string `json:"type"`
		rollout.Progress
	}{"progress", p})
}

// Notice writes {"type":"notice", …}.
func (j *JSONLines) Notice(n reconciler.Notice) {
	j.write(struct {
		Type string `json:"type"`
		reconciler.Notice
	}{"notice", n})
}

// Say writes a notice of level info.
func (j *JSONLines) Say(text string) {
	j.Notice(reconciler.Notice{Time: time.Now().UTC(), Level: "info", Message: text})
}

// Footer shows nothing.
func (j *JSONLines) Footer(string) {}

// Close ends it.
func (j *JSONLines) Close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
}

func (j *JSONLines) write(v any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed {
		_ = j.out.Encode(v)
	}
}
