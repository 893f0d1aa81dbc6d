package render

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/drift"
)

// DriftText writes what no commit explains, for people.
func DriftText(w io.Writer, r drift.Report, s Style) error {
	var b strings.Builder
	b.WriteString(s.bold(driftHeadline(r)) + "\n")
	t := table{indent: "  "}
	for i := range r.Drift {
		f := &r.Drift[i]
		t.add(clean(driftHost(f)), clean(driftName(f)), clean(f.Field), s.yellow(driftChange(f, clean)), clean(driftSince(f, r.Time)), s.dim(clean(f.Remedy)))
	}
	if len(r.Drift) > 0 {
		b.WriteString("\n" + t.String())
	}
	for _, u := range r.Unknown {
		b.WriteString("\n" + s.red("unknown: "+clean(u)))
	}
	if len(r.Unknown) > 0 {
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func driftHeadline(r drift.Report) string {
	what := "no drift"
	if n := len(r.Drift); n > 0 {
		what = counted(n, "difference") + " that no commit explains"
	}
	if len(r.Unknown) > 0 {
		what += ", as far as could be read"
	}
	return "Drift from revision " + short(r.Revision) + ": " + what
}

func driftHost(f *drift.Finding) string {
	if f.What == drift.Record {
		return f.Zone
	}
	if f.Host == "" {
		return "?"
	}
	return f.Host
}

// driftName is the node, with what of it where that is something else, or the engine's name.
func driftName(f *drift.Finding) string {
	switch {
	case f.What == drift.Node:
		return f.Node
	case f.Node != "":
		return f.What + " " + f.Name + " of " + f.Node
	}
	return f.What + " " + f.Name
}

// driftChange is what was wanted and what was found.
func driftChange(f *drift.Finding, show func(string) string) string {
	if f.Wanted == "" {
		return show(f.Found)
	}
	return show(f.Wanted) + " → " + show(f.Found)
}

func driftSince(f *drift.Finding, now time.Time) string {
	if f.Since == nil {
		return "since when isn't known"
	}
	return "for " + span(max(0, now.Sub(*f.Since)))
}

// DriftMarkdown writes what no commit explains, as a GitHub table.
func DriftMarkdown(w io.Writer, r drift.Report) error {
	var b strings.Builder
	head := driftHeadline(r)
	if id := short(r.Revision); id != "" {
		head = strings.Replace(head, id, code(id), 1)
	}
	b.WriteString("### evenkeel drift\n\n" + head + "\n")
	var rows []string
	for i := range r.Drift {
		f := &r.Drift[i]
		rows = append(rows, row(code(driftHost(f)), code(driftName(f)), code(f.Field), driftChange(f, code), driftSince(f, r.Time), codeOf(f.Remedy, 200)))
	}
	left := section(&b, rows, maxMarkdown, "| Host | What | Field | Wanted → found | Since | Remedy |", "| --- | --- | --- | --- | --- | --- |")
	if left > 0 {
		fmt.Fprintf(&b, "\n… and %s more; `evenkeel drift` shows all.\n", counted(left, "row"))
	}
	for _, u := range r.Unknown {
		b.WriteString("\n> **Unknown:** " + codeOf(u, 400) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
