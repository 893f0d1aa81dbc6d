package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// result is how a pass ended, for programs.
type result struct {
	Revision  string             `json:"revision"`
	Converged bool               `json:"converged"`
	Plan      plan.Plan          `json:"plan"`
	Left      plan.Plan          `json:"left"`
	Failed    []rollout.Progress `json:"failed"`
	Problems  []string           `json:"problems"`
}

// ResultJSON writes how a pass ended for programs.
func ResultJSON(w io.Writer, r reconciler.Result) error {
	return JSON(w, filled(result{
		Revision: r.Revision, Converged: r.Converged, Plan: r.Plan, Left: r.Left, Failed: r.Failed, Problems: r.Problems,
	}))
}

// ResultText writes how a pass ended for people.
func ResultText(w io.Writer, r reconciler.Result, s Style) error {
	var b strings.Builder
	b.WriteString(resultHead(r, s) + "\n")
	for _, f := range r.Failed {
		b.WriteString(s.red("  "+nodeName(f)+" on "+clean(place(f))+": "+string(f.Operation)+" "+string(f.Phase)) + "\n")
		for _, l := range append(lines(f.Error), lines(f.Message)...) {
			b.WriteString("    " + l + "\n")
		}
	}
	for _, p := range r.Problems {
		b.WriteString(s.yellow("  ! "+strings.Join(lines(p), "\n    ")) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func resultHead(r reconciler.Result, s Style) string {
	did, _ := count(r.Plan)
	left, _ := count(r.Left)
	if r.Converged && did+len(r.Plan.Hosts) == 0 {
		return s.green(fmt.Sprintf("Nothing to change: everything matches revision %s.", short(r.Revision)))
	}
	if r.Converged {
		return s.green(fmt.Sprintf("Done: everything matches revision %s now (%s).", short(r.Revision), counted(did, "operation")))
	}
	var parts []string
	if left > 0 {
		parts = append(parts, counted(left, "operation")+" left")
	}
	if n := len(r.Failed); n > 0 {
		parts = append(parts, fmt.Sprintf("%d failed or given up", n))
	}
	text := strings.TrimSuffix("Not converged at revision "+short(r.Revision)+": "+strings.Join(parts, ", "), ": ")
	return s.red(text + ".")
}

// ResultMarkdown writes how a pass ended as a comment.
func ResultMarkdown(w io.Writer, r reconciler.Result) error {
	var b strings.Builder
	b.WriteString("### evenkeel apply\n\n" + resultHead(r, Style{}) + "\n")
	for i, f := range r.Failed {
		if i == maxRemarks {
			fmt.Fprintf(&b, "\n… and %d more\n", len(r.Failed)-i)
			break
		}
		fmt.Fprintf(&b, "\n- %s on %s: %s %s: %s", code(nodeName(f)), code(place(f)), f.Operation, f.Phase, codeOf(f.Error, 400))
	}
	for i, p := range r.Problems {
		if i == maxRemarks {
			break
		}
		b.WriteString("\n> " + codeOf(p, 400) + "\n")
	}
	_, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n")
	return err
}
