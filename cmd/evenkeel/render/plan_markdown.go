package render

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// The bounds of a plan as a comment: a forge refuses a comment of more than 65,536 characters.
const (
	maxMarkdown       = 60_000
	maxMarkdownValue  = 80
	maxMarkdownReason = 400
	maxRemarks        = 50
)

// PlanMarkdown writes the plan as a comment on a pull request: of bounded length, and with nothing in
// it that a forge would take for a mention, a link or a tag.
func PlanMarkdown(w io.Writer, p plan.Plan) error {
	head := markdownHead(p)
	tail := markdownTail(p)
	body, left := markdownBody(p, maxMarkdown-len(head)-len(tail)-200)
	if left > 0 {
		body += fmt.Sprintf("\n… and %s more; `evenkeel plan` shows all.\n", counted(left, "row"))
	}
	_, err := io.WriteString(w, head+body+tail)
	return err
}

func markdownHead(p plan.Plan) string {
	return "### evenkeel plan\n\n" + headlineMarkdown(p) + "\n"
}

func headlineMarkdown(p plan.Plan) string {
	line := headline(p)
	if id := short(p.Revision); id != "" {
		line = strings.Replace(line, id, code(id), 1)
	}
	return line
}

// markdownBody has the tables; rows that don't fit in limit bytes are counted instead.
func markdownBody(p plan.Plan, limit int) (body string, left int) {
	var b strings.Builder
	left += section(&b, layerRows(p), limit,
		"| Layer | Operations | Strategy | Impact | Duration |", "| --- | ---: | --- | --- | --- |")
	left += section(&b, operationRows(p), limit,
		"| Node | Operation | Host | Causes | Leaves meanwhile |", "| --- | --- | --- | --- | --- |")
	left += section(&b, hostRows(p), limit, "| Host | Change | What |", "| --- | --- | --- |")
	return b.String(), left
}

func section(b *strings.Builder, rows []string, limit int, head, rule string) (left int) {
	if len(rows) == 0 {
		return 0
	}
	if b.Len()+len(head)+len(rule)+len(rows[0]) > limit {
		return len(rows)
	}
	b.WriteString("\n" + head + "\n" + rule + "\n")
	for i, row := range rows {
		if b.Len()+len(row) > limit {
			return len(rows) - i
		}
		b.WriteString(row)
	}
	return 0
}

func layerRows(p plan.Plan) []string {
	var rows []string
	for i := range p.Layers {
		l := &p.Layers[i]
		duration := "—"
		if d := time.Duration(l.EstimatedDuration); d > 0 {
			duration = "≥ " + span(d)
		}
		says := impact(l)
		if l.Paused != "" {
			says += "<br>paused: " + code(l.Paused)
		}
		rows = append(rows, row(code(l.ID().String()), fmt.Sprint(len(l.Operations)), string(l.Strategy), says, duration))
	}
	return rows
}

func operationRows(p plan.Plan) []string {
	var rows []string
	for i := range p.Layers {
		l := &p.Layers[i]
		for _, o := range l.Operations {
			rows = append(rows, operationRow(l, o))
		}
		for _, w := range l.Waiting {
			name := fmt.Sprintf("%s/%d", l.ID(), w.Node)
			rows = append(rows, row(code(name), "waits", "", codeOf(w.Reason, maxMarkdownReason), ""))
		}
	}
	return rows
}

func operationRow(l *plan.Layer, o plan.Operation) string {
	kind := string(o.Kind)
	if o.Intrusive {
		kind = "**" + kind + "**"
	}
	host := code(o.Host)
	if o.FromHost != "" {
		host = code(o.FromHost) + " → " + host
	}
	var causes, leaves []string
	for _, c := range o.Causes {
		causes = append(causes, markdownCause(c))
	}
	if layers := after(o); layers != "" {
		causes = append(causes, "comes after "+code(layers))
	}
	if o.DNS != nil {
		for _, r := range o.DNS.Withdraw {
			leaves = append(leaves, code(r))
		}
	}
	name := fmt.Sprintf("%s/%d", l.ID(), o.Node)
	return row(code(name), kind, host, strings.Join(causes, "<br>"), strings.Join(leaves, "<br>"))
}

func markdownCause(c plan.Cause) string {
	switch {
	case c.From == "" && c.To == "":
		return code(c.Field)
	case c.From == "":
		return code(c.Field) + ": " + code(c.To)
	case c.To == "":
		return code(c.Field) + ": " + code(c.From) + " → (none)"
	}
	return code(c.Field) + ": " + code(c.From) + " → " + code(c.To)
}

func hostRows(p plan.Plan) []string {
	var rows []string
	for _, h := range p.Hosts {
		what := hostThing(h) + code(h.Name)
		for _, c := range h.Causes {
			what += "<br>" + markdownCause(c)
		}
		if h.Waits != "" {
			what += "<br>waits: " + codeOf(h.Waits, maxMarkdownReason)
		}
		rows = append(rows, row(code(h.Host), h.Operation, what))
	}
	for _, d := range p.DNS {
		rows = append(rows, row(code(d.Provider), d.Operation, code(d.Record)))
	}
	return rows
}

// markdownTail has the warnings, which are the last to be left out.
func markdownTail(p plan.Plan) string {
	var b strings.Builder
	remark := func(kind string, all []string) {
		for i, r := range all {
			if i == maxRemarks {
				fmt.Fprintf(&b, "> … and %d more\n", len(all)-i)
				return
			}
			fmt.Fprintf(&b, "> **%s:** %s\n", kind, codeOf(r, 400))
		}
	}
	remark("Refused", p.Refused)
	remark("Warning", p.Warnings)
	if b.Len() == 0 {
		return ""
	}
	return "\n" + b.String()
}

func row(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

// code makes a span of code of a value: what is in it, a forge shows as it is.
func code(text string) string { return codeOf(text, maxMarkdownValue) }

func codeOf(text string, limit int) string {
	text = fit(strings.TrimSpace(clean(text)), limit)
	if text == "" {
		return ""
	}
	// Inside a table only an escaped pipe stays in its cell, also within a span of code.
	text = strings.ReplaceAll(text, "|", `\|`)
	return "`" + strings.ReplaceAll(text, "`", "'") + "`"
}
