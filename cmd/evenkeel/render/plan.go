package render

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// maxValue is how many columns of a cause's old or new value are shown in text.
const maxValue = 60

// PlanText writes the plan for people.
func PlanText(w io.Writer, p plan.Plan, s Style) error {
	var b strings.Builder
	b.WriteString(s.bold(headline(p)) + "\n")
	for i := range p.Layers {
		b.WriteString("\n" + planLayer(&p.Layers[i], s))
	}
	b.WriteString(planHosts(p, s))
	b.WriteString(planRemarks(p, s))
	_, err := io.WriteString(w, b.String())
	return err
}

// headline says in a line what the plan amounts to.
func headline(p plan.Plan) string {
	if !p.HasChanges && len(p.Refused) == 0 {
		return fmt.Sprintf("Nothing to change: everything matches revision %s.", short(p.Revision))
	}
	operations, intrusive := count(p)
	parts := []string{counted(operations, "operation")}
	if intrusive > 0 {
		parts[0] += fmt.Sprintf(" (%d intrusive)", intrusive)
	}
	if n := len(p.Hosts); n > 0 {
		parts = append(parts, counted(n, "change")+" on hosts")
	}
	if n := len(p.DNS); n > 0 {
		parts = append(parts, counted(n, "external record"))
	}
	return fmt.Sprintf("Plan for revision %s: %s", short(p.Revision), strings.Join(parts, ", "))
}

func count(p plan.Plan) (operations, intrusive int) {
	for i := range p.Layers {
		for _, o := range p.Layers[i].Operations {
			operations++
			if o.Intrusive {
				intrusive++
			}
		}
	}
	return operations, intrusive
}

func planLayer(l *plan.Layer, s Style) string {
	var b strings.Builder
	b.WriteString(s.bold(clean(l.ID().String())))
	if facts := layerFacts(l); facts != "" {
		b.WriteString("  " + s.dim(facts))
	}
	switch {
	case l.Removed:
		b.WriteString("  " + s.red("removed for good"))
	case l.Downtime:
		b.WriteString("  " + s.red("downtime: for a moment no node serves"))
	}
	b.WriteString("\n")
	if l.Paused != "" {
		b.WriteString("  " + s.yellow("paused: "+clean(l.Paused)) + "\n")
	}
	for _, o := range l.Operations {
		b.WriteString(planOperation(o, s))
	}
	for _, w := range l.WaitingAlike() {
		who := "node " + w.Ordinals() + " waits"
		if len(w.Nodes) > 1 {
			who = "nodes " + w.Ordinals() + " wait"
		}
		b.WriteString(s.yellow("  … "+who+": "+clean(w.Reason)) + "\n")
	}
	return b.String()
}

// layerFacts are the pace and the impact of a layer's operations.
func layerFacts(l *plan.Layer) string {
	if len(l.Operations) == 0 {
		return ""
	}
	facts := []string{}
	if l.Strategy != "" {
		facts = append(facts, clean(string(l.Strategy)))
	}
	if l.MinServing > 0 {
		facts = append(facts, fmt.Sprintf("at least %d serving", l.MinServing))
	}
	if d := time.Duration(l.EstimatedDuration); d > 0 {
		facts = append(facts, "at least "+span(d))
	}
	return strings.Join(facts, " · ")
}

func planOperation(o plan.Operation, s Style) string {
	place := "on " + o.Host
	if o.FromHost != "" {
		place = "from " + o.FromHost + " to " + o.Host
	}
	head := fmt.Sprintf("  %s node %d  %s %s", sign(o.Kind), o.Node, o.Kind, clean(place))
	if o.Intrusive {
		head += "  intrusive"
	}
	var b strings.Builder
	b.WriteString(colourOf(o.Kind, s)(head) + "\n")
	causes := table{indent: "        "}
	for _, c := range o.Causes {
		causes.add(s.dim(clean(c.Field)), change(c))
	}
	b.WriteString(causes.String())
	if layers := after(o); layers != "" {
		b.WriteString("        " + s.dim("comes after: ") + clean(layers) + "\n")
	}
	if o.DNS != nil && len(o.DNS.Withdraw) > 0 {
		b.WriteString("        " + s.dim("leaves meanwhile: ") + clean(strings.Join(o.DNS.Withdraw, ", ")) + "\n")
	}
	return b.String()
}

// change is a cause's old and new value.
func change(c plan.Cause) string {
	from, to := fit(clean(c.From), maxValue), fit(clean(c.To), maxValue)
	switch {
	case from == "" && to == "":
		return ""
	case from == "":
		return to
	case to == "":
		return from + " → (none)"
	}
	return from + " → " + to
}

func sign(k plan.Kind) string {
	switch k {
	case plan.Create:
		return "+"
	case plan.Remove:
		return "-"
	}
	return "~"
}

func colourOf(k plan.Kind, s Style) func(string) string {
	switch k {
	case plan.Create, plan.Start:
		return s.green
	case plan.Remove:
		return s.red
	}
	return s.yellow
}

func planHosts(p plan.Plan, s Style) string {
	if len(p.Hosts) == 0 && len(p.DNS) == 0 {
		return ""
	}
	t := table{indent: "  "}
	for _, h := range p.Hosts {
		t.add(h.Host, h.Operation, clean(hostThing(h)+h.Name), s.dim(hostCauses(h)))
	}
	for _, d := range p.DNS {
		t.add(d.Provider, d.Operation, clean(d.Record))
	}
	text := "\n" + s.bold("hosts and names") + "\n" + t.String()
	for _, h := range p.Hosts {
		if h.Waits != "" {
			text += s.yellow("  … "+clean(h.Host+": "+h.Waits)) + "\n"
		}
	}
	return text
}

// hostCauses is what was changed by hand, where that is put back.
func hostCauses(h plan.HostOperation) string {
	var causes []string
	for _, c := range h.Causes {
		causes = append(causes, clean(c.Field)+": "+change(c))
	}
	return strings.Join(causes, ", ")
}

// hostThing is what a host's operation is about; its name comes behind.
func hostThing(h plan.HostOperation) string {
	switch h.Operation {
	case "connect":
		return h.What + " to network "
	case "disconnect":
		return h.What + " from network "
	}
	return h.What + " "
}

// after says which layers an operation waits for; empty: for none.
func after(o plan.Operation) string {
	layers := make([]string, len(o.After))
	for i, l := range o.After {
		layers[i] = l.String()
	}
	return strings.Join(layers, ", ")
}

func planRemarks(p plan.Plan, s Style) string {
	var b strings.Builder
	for _, r := range p.Refused {
		b.WriteString("\n" + s.red("refused: "+clean(r)))
	}
	for _, r := range p.Warnings {
		b.WriteString("\n" + s.yellow("warning: "+clean(r)))
	}
	if b.Len() == 0 {
		return ""
	}
	return b.String() + "\n"
}

// impact says in a few words what a layer's operations mean for those who use it.
func impact(l *plan.Layer) string {
	switch {
	case l.Removed:
		return "removed"
	case l.Downtime:
		return "**downtime**"
	case l.MinServing > 0:
		return "≥ " + strconv.Itoa(l.MinServing) + " serving"
	}
	return "none"
}
