package render

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// StatusText writes what is, for people.
func StatusText(w io.Writer, st reconciler.Status, s Style) error {
	var b strings.Builder
	b.WriteString(statusHead(st, s))
	for _, e := range st.Environments {
		b.WriteString("\n" + s.bold(clean(e.Name)) + "\n")
		for i := range e.Layers {
			b.WriteString(statusLayer(&e.Layers[i], st.Time, s))
		}
	}
	for _, p := range st.Problems {
		b.WriteString("\n" + s.yellow("! "+clean(p)))
	}
	if len(st.Problems) > 0 {
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func statusHead(st reconciler.Status, s Style) string {
	state := s.green("converged")
	if !st.Converged {
		state = s.yellow("not converged")
	}
	text := fmt.Sprintf("%s  revision %s  %s\n", s.bold("fleet "+clean(st.Fleet)), short(st.Revision), state)
	if st.Waiting != "" {
		text += s.yellow("waiting: "+clean(st.Waiting)) + "\n"
	}
	for i, l := range lines(st.Refused) {
		if i == 0 {
			l = "a newer revision is refused: " + l
		}
		text += s.red(l) + "\n"
	}
	return text
}

func statusLayer(l *reconciler.LayerStatus, now time.Time, s Style) string {
	var b strings.Builder
	serving := fmt.Sprintf("%d/%d serving", l.Serving, l.Wanted)
	if l.Unknown > 0 {
		serving += fmt.Sprintf(", %d unknown", l.Unknown)
	}
	if l.Serving < l.Wanted {
		serving = s.red(serving)
	} else {
		serving = s.green(serving)
	}
	b.WriteString("  " + s.bold(clean(l.Name)) + "  " + serving + "  " + s.dim(clean(l.Image)) + "\n")
	if l.Paused != "" {
		b.WriteString("    " + s.yellow("paused: "+clean(l.Paused)) + "\n")
	}
	t := table{indent: "    "}
	for i := range l.Nodes {
		t.add(nodeCells(&l.Nodes[i], now, s)...)
	}
	b.WriteString(t.String())
	return b.String()
}

func nodeCells(n *reconciler.NodeStatus, now time.Time, s Style) []string {
	since := ""
	if !n.Since.IsZero() && n.State == fleet.StateRunning {
		since = "up " + span(now.Sub(n.Since))
	}
	state := s.green("serving")
	switch {
	case n.State == reconciler.StateUnknown:
		state = "" // it may well serve
	case !n.Serving:
		state = s.red("not serving")
	}
	return []string{
		fmt.Sprintf("node %d", n.Node), clean(n.Host), clean(string(n.State)), state, clean(n.Address), since,
		clean(strings.Join(n.Ports, ", ")), s.yellow(clean(strings.Join(remarks(n), "; "))),
	}
}

// remarks are what is to be said of a node beside its state.
func remarks(n *reconciler.NodeStatus) []string {
	var all []string
	if n.Reason != "" {
		all = append(all, n.Reason)
	}
	if !n.UpToDate && n.Host != "" && n.State != reconciler.StateUnknown {
		all = append(all, "out of date")
	}
	if n.Waits != "" {
		all = append(all, "waits: "+n.Waits)
	}
	return all
}

// StatusMarkdown writes what is, as a GitHub table.
func StatusMarkdown(w io.Writer, st reconciler.Status) error {
	var b strings.Builder
	fmt.Fprintf(&b, "### fleet %s\n\nRevision %s, %s\n", code(st.Fleet), code(short(st.Revision)), converged(st.Converged))
	if st.Waiting != "" {
		b.WriteString("\n> waiting: " + codeOf(st.Waiting, 400) + "\n")
	}
	if st.Refused != "" {
		b.WriteString("\n> a newer revision is refused: " + codeOf(st.Refused, 400) + "\n")
	}
	b.WriteString("\n| Node | Host | State | Serving | Address | Remarks |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, e := range st.Environments {
		for _, l := range e.Layers {
			for _, n := range l.Nodes {
				b.WriteString(nodeRow(e.Name, l.Name, n))
			}
		}
	}
	for _, p := range st.Problems {
		b.WriteString("\n> " + codeOf(p, 400) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func nodeRow(environment, layer string, n reconciler.NodeStatus) string {
	serving := "yes"
	switch {
	case n.State == reconciler.StateUnknown:
		serving = "unknown"
	case !n.Serving:
		serving = "**no**"
	}
	var says []string
	for _, r := range remarks(&n) {
		says = append(says, codeOf(r, maxMarkdownReason))
	}
	name := fmt.Sprintf("%s/%s/%d", environment, layer, n.Node)
	return row(code(name), code(n.Host), string(n.State), serving, code(n.Address), strings.Join(says, "<br>"))
}

func converged(yes bool) string {
	if yes {
		return "converged"
	}
	return "**not converged**"
}
