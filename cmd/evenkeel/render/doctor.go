package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/evenkeel/evenkeel/reconciler/doctor"
)

// DoctorText writes what is to be mended, for people; advice too where all is asked for. What is said alike of
// several hosts is said once.
func DoctorText(w io.Writer, r doctor.Report, all bool, s Style) error {
	var b strings.Builder
	head := doctorHeadline(r)
	if r.Well {
		head = s.green(head)
	}
	b.WriteString(s.bold(head) + "\n" + s.dim(doctorChecked(r)) + "\n")
	advice := 0
	for _, f := range together(r.Findings) {
		if f.Severity == doctor.Advice && !all {
			advice++
			continue
		}
		about := string(f.Area)
		if f.hosts != "" {
			about += " " + f.hosts
		}
		if f.Subject != "" && !strings.Contains(f.What, f.Subject) {
			about += " " + f.Subject
		}
		b.WriteString("\n" + severity(f.Severity, s) + "  " + s.bold(clean(about)) + "\n")
		for _, line := range lines(plainly(f.What)) {
			b.WriteString("  " + line + "\n")
		}
		b.WriteString(s.dim("  → "+clean(f.Remedy)) + "\n")
	}
	if advice > 0 {
		b.WriteString("\n" + s.dim(pieces(advice)+" of advice: `evenkeel doctor -v` shows them") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func pieces(n int) string {
	if n == 1 {
		return "1 piece"
	}
	return fmt.Sprintf("%d pieces", n)
}

func severity(of doctor.Severity, s Style) string {
	switch of {
	case doctor.Problem:
		return s.red("problem")
	case doctor.Warning:
		return s.yellow("warning")
	}
	return s.cyan("advice ")
}

func doctorHeadline(r doctor.Report) string {
	of := "The fleet"
	if r.Fleet != "" {
		of = "Fleet " + clean(r.Fleet)
	}
	if id := short(r.Revision); id != "" {
		of += " at revision " + id
	}
	var parts []string
	if n := r.Count(doctor.Problem); n > 0 {
		parts = append(parts, counted(n, "problem"))
	}
	if n := r.Count(doctor.Warning); n > 0 {
		parts = append(parts, counted(n, "warning"))
	}
	switch {
	case len(parts) == 0:
		return of + " is well"
	case r.Well:
		return of + " is well, with " + parts[0]
	}
	return of + " isn't well: " + strings.Join(parts, ", ")
}

func doctorChecked(r doctor.Report) string {
	if r.Fleet == "" {
		return "Checked: the repository; hosts are known once its Fleet can be read"
	}
	text := fmt.Sprintf("Checked: the repository, %s, %s (%d in reach, %s), the registries of %s",
		counted(r.Checked.Environments, "environment"), counted(r.Checked.Hosts, "host"), r.Checked.Reached,
		counted(r.Checked.Keepers, "keeper"), counted(r.Checked.Images, "image"))
	if r.Checked.Zones > 0 {
		text += ", " + counted(r.Checked.Zones, "zone")
	}
	return text
}

// finding is one of several hosts.
type finding struct {
	doctor.Finding
	hosts string
}

// together makes one of findings that are alike on several hosts.
func together(findings []doctor.Finding) []finding {
	var list []finding
	at := map[doctor.Finding]int{}
	for _, f := range findings {
		key := f
		key.Host = ""
		i, known := at[key]
		switch {
		case !known:
			at[key], list = len(list), append(list, finding{f, f.Host})
		case f.Host != "":
			list[i].hosts += ", " + f.Host
		}
	}
	return list
}

// plainly replaces the words of Go's own errors that say nothing to people.
func plainly(text string) string {
	return strings.ReplaceAll(text, "context deadline exceeded", "no answer in time")
}

// DoctorMarkdown writes what is to be mended, as a GitHub table.
func DoctorMarkdown(w io.Writer, r doctor.Report) error {
	var b strings.Builder
	b.WriteString("### evenkeel doctor\n\n" + doctorHeadline(r) + ".\n\n" + doctorChecked(r) + ".\n")
	var rows []string
	for _, f := range together(r.Findings) {
		about := string(f.Area)
		if f.Subject != "" {
			about += " " + codeOf(f.Subject, 100)
		}
		hosts := ""
		if f.hosts != "" {
			hosts = code(f.hosts)
		}
		rows = append(rows, row(string(f.Severity), about, hosts, codeOf(plainly(f.What), 400), codeOf(f.Remedy, 400)))
	}
	left := section(&b, rows, maxMarkdown, "| Severity | About | Host | What | What to do |", "| --- | --- | --- | --- | --- |")
	if left > 0 {
		fmt.Fprintf(&b, "\n… and %s more; `evenkeel doctor` shows all.\n", counted(left, "row"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
