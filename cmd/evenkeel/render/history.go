package render

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/evenkeel/evenkeel/drivers/journal"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// timeLayout is how times are written, in UTC.
const timeLayout = "2006-01-02 15:04:05"

// HistoryText writes what happened for people, the oldest first.
func HistoryText(w io.Writer, events []journal.Event, s Style) error {
	t := table{}
	for _, e := range events {
		t.add(s.dim(e.Time.UTC().Format(timeLayout)), short(e.Revision), subject(e), clean(e.Host), clean(e.Operation),
			ending(e, s), s.dim(clean(e.By)), clean(why(e)))
	}
	text := t.String()
	if len(events) == 0 {
		text = "Nothing has happened yet, as far as this machine's journal knows.\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// HistoryJSON writes what happened, a line an event.
func HistoryJSON(w io.Writer, events []journal.Event) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	for _, e := range events {
		if err := out.Encode(e); err != nil {
			return err
		}
	}
	return nil
}

// HistoryMarkdown writes what happened as a GitHub table.
func HistoryMarkdown(w io.Writer, events []journal.Event) error {
	var b strings.Builder
	b.WriteString("| Time (UTC) | Revision | Node | Host | Operation | Outcome | By | Why |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, e := range events {
		b.WriteString(row(e.Time.UTC().Format(timeLayout), code(short(e.Revision)), code(subject(e)), code(e.Host),
			code(e.Operation), ending(e, Style{}), code(e.By), codeOf(why(e), 200)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// subject is what an event is about: a node, a layer, an environment, or something else on a host.
func subject(e journal.Event) string {
	if e.Name != "" && e.Layer == "" {
		return clean(e.Name)
	}
	parts := []string{e.Environment, e.Layer}
	if e.Node > 0 {
		parts = append(parts, fmt.Sprint(e.Node))
	}
	return clean(strings.Trim(strings.Join(parts, "/"), "/"))
}

func ending(e journal.Event, s Style) string {
	text := clean(cmp.Or(e.Phase, e.Outcome))
	if e.Duration > 0 {
		text += " in " + span(e.Duration)
	}
	return outcomeStyle(rollout.Phase(e.Phase), s)(text)
}

// why is why an operation was done, and what became of it.
func why(e journal.Event) string {
	parts := lines(e.Message)
	if e.Cause != "" {
		parts = append([]string{e.Cause}, parts...)
	}
	return strings.Join(parts, " / ")
}
