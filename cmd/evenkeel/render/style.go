// Package render shows plans, progress, status and history to people and to programs. Each is plain data
// when it comes in; nothing here decides, asks or waits for anything but the clock of a redrawn line.
package render

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/evenkeel/evenkeel/spec"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Style colours text, or leaves it as it is.
type Style struct{ Colour bool }

func (s Style) wrap(code, text string) string {
	if !s.Colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s Style) bold(t string) string   { return s.wrap("1", t) }
func (s Style) dim(t string) string    { return s.wrap("2", t) }
func (s Style) red(t string) string    { return s.wrap("31", t) }
func (s Style) green(t string) string  { return s.wrap("32", t) }
func (s Style) yellow(t string) string { return s.wrap("33", t) }
func (s Style) cyan(t string) string   { return s.wrap("36", t) }

// Warning styles a line that says what is probably not meant.
func (s Style) Warning(t string) string { return s.yellow(clean(t)) }

// clean drops what could move a terminal's cursor or break a line: text of nodes and engines is shown,
// never obeyed.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError:
			return -1
		}
		return r
	}, text)
}

// lines splits text that may have several lines, each of them cleaned, without empty ones.
func lines(text string) []string {
	var out []string
	for l := range strings.SplitSeq(text, "\n") {
		if l = strings.TrimSpace(clean(l)); l != "" {
			out = append(out, l)
		}
	}
	return out
}

// width is how many columns text takes, without escape sequences of ours.
func width(text string) int {
	n := 0
	for i := 0; i < len(text); {
		if text[i] == 0x1b {
			if end := strings.IndexByte(text[i:], 'm'); end >= 0 {
				i += end + 1
				continue
			}
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		i += size
		n += columns(r)
	}
	return n
}

// columns is how many columns a terminal gives a rune.
func columns(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 ||
		r >= 0xf900 && r <= 0xfaff || r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 ||
		r >= 0xffe0 && r <= 0xffe6 || r >= 0x1f300 && r <= 0x1faff || r >= 0x20000 && r <= 0x3fffd):
		return 2
	}
	return 1
}

// fit cuts text to at most limit columns, with an ellipsis, and keeps its colours well-formed.
func fit(text string, limit int) string {
	if limit <= 0 {
		return ""
	}
	if width(text) <= limit {
		return text
	}
	var b strings.Builder
	n, styled := 0, false
	for i := 0; i < len(text); {
		if text[i] == 0x1b {
			if end := strings.IndexByte(text[i:], 'm'); end >= 0 {
				b.WriteString(text[i : i+end+1])
				styled = text[i:i+end+1] != "\x1b[0m"
				i += end + 1
				continue
			}
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		if n+columns(r) > limit-1 {
			break
		}
		b.WriteString(text[i : i+size])
		n += columns(r)
		i += size
	}
	b.WriteString("…")
	if styled {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

// pad fills text with spaces up to n columns.
func pad(text string, n int) string {
	if w := width(text); w < n {
		return text + strings.Repeat(" ", n-w)
	}
	return text
}

// short is a revision as people write it.
func short(revision string) string { return fleet.Short(clean(revision)) }

// span is a duration as people read it.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 10*time.Second:
		return trimZero(fmt.Sprintf("%.1f", d.Seconds())) + "s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return joined(int(d.Minutes()), "m", int(d.Seconds())%60, "s")
	case d < 24*time.Hour:
		return joined(int(d.Hours()), "h", int(d.Minutes())%60, "m")
	}
	return joined(int(d.Hours())/24, "d", int(d.Hours())%24, "h")
}

func trimZero(s string) string { return strings.TrimSuffix(s, ".0") }

func joined(big int, bigUnit string, small int, smallUnit string) string {
	if small == 0 {
		return fmt.Sprintf("%d%s", big, bigUnit)
	}
	return fmt.Sprintf("%d%s%d%s", big, bigUnit, small, smallUnit)
}

// memory is an amount of memory as people read it.
func memory(b spec.Bytes) string {
	units := []struct {
		size spec.Bytes
		name string
	}{{1 << 40, "Ti"}, {1 << 30, "Gi"}, {1 << 20, "Mi"}, {1 << 10, "Ki"}}
	for _, u := range units {
		if b >= u.size {
			return trimZero(fmt.Sprintf("%.1f", float64(b)/float64(u.size))) + u.name
		}
	}
	return fmt.Sprintf("%d", b)
}

// cores is an amount of CPU as people read it.
func cores(m spec.MilliCPU) string {
	if m%1000 == 0 {
		return fmt.Sprintf("%d", m/1000)
	}
	return fmt.Sprintf("%.1f", float64(m)/1000)
}

// counted is a number with its noun: 1 node, 2 nodes.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
