package bench

import (
	"fmt"
	"io"
	"slices"
	"testing"
	"text/tabwriter"
	"time"
)

// figure is one line of the table.
type figure struct {
	what       string
	ours, bare string
	value      string
	goal       string
	met        bool
}

var figures []figure

// ratio adds the ratio of two medians.
func ratio(b *testing.B, what string, ours, bare []time.Duration, goal float64) {
	x, y := median(ours), median(bare)
	r := float64(x) / float64(y)
	b.ReportMetric(r, "ratio")
	figures = append(figures, figure{
		what: what, ours: show(x), bare: show(y), value: fmt.Sprintf("%.2f ×", r), goal: fmt.Sprintf("≤ %.2f ×", goal), met: r <= goal,
	})
}

// note adds a line with nothing to be measured against.
func note(what, ours, bare, value, goal string, met bool) {
	figures = append(figures, figure{what, ours, bare, value, goal, met})
}

func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func show(d time.Duration) string {
	if d < time.Millisecond {
		return d.Round(time.Microsecond).String()
	}
	if d < 10*time.Second {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

func printTable(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nMEDIAN OF EACH\tEVENKEEL\tBARE\tFIGURE\tGOAL\tMET")
	for _, f := range figures {
		met := "no"
		if f.met {
			met = "yes"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", f.what, f.ours, f.bare, f.value, f.goal, met)
	}
	_ = t.Flush() // a table that nobody reads harms nobody
}
