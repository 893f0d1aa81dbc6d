package render

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/spec"
)

// HostsText writes the hosts for people.
func HostsText(w io.Writer, hosts []reconciler.HostStatus, s Style) error {
	t := table{}
	t.add("HOST", "ADDRESS", "STATE", "ENGINE", "NODES", "MEMORY", "CPU", "KEEPER", "LEASE", "")
	for _, h := range hosts {
		t.add(hostCells(h, s)...)
	}
	_, err := io.WriteString(w, t.String())
	return err
}

func hostCells(h reconciler.HostStatus, s Style) []string {
	if !h.Reachable {
		cells := []string{clean(h.Name), clean(h.Address), s.red("out of reach"), "?", "?", "?", "?", "?", "?"}
		return append(cells, s.red(clean(plainProblem(h.Problem))))
	}
	return []string{
		clean(h.Name), clean(h.Address), wanted(h.State), engine(h), strconv.Itoa(h.Nodes),
		room(memory(h.Reserved.Memory), memory(h.Capacity.Memory)), room(cores(h.Reserved.CPU), cores(h.Capacity.CPU)),
		keeper(h), lease(h), s.yellow(clean(h.Problem)),
	}
}

func plainProblem(p string) string {
	if p == "" {
		return "no answer"
	}
	return p
}

func wanted(state spec.HostState) string {
	if state == "" {
		return "not in the spec"
	}
	return string(state)
}

func engine(h reconciler.HostStatus) string {
	return clean(fmt.Sprintf("%s (API %s) %s", h.Engine.Version, h.Engine.APIVersion, h.Engine.Arch))
}

func room(used, of string) string { return used + " of " + of }

func keeper(h reconciler.HostStatus) string {
	if h.Keeper == 0 {
		return "none"
	}
	return "v" + strconv.Itoa(h.Keeper)
}

func lease(h reconciler.HostStatus) string {
	if h.Lease == nil {
		return "free"
	}
	return clean(h.Lease.Holder) + ", " + span(time.Duration(h.Lease.Held))
}

// HostsMarkdown writes the hosts as a GitHub table.
func HostsMarkdown(w io.Writer, hosts []reconciler.HostStatus) error {
	var b strings.Builder
	b.WriteString("| Host | Address | State | Engine | Nodes | Memory | CPU | Keeper | Lease |\n")
	b.WriteString("| --- | --- | --- | --- | ---: | --- | --- | --- | --- |\n")
	for _, h := range hosts {
		if !h.Reachable {
			b.WriteString(row(code(h.Name), code(h.Address), "**out of reach**: "+code(plainProblem(h.Problem)), "", "", "", "", "", ""))
			continue
		}
		b.WriteString(row(code(h.Name), code(h.Address), wanted(h.State), code(engine(h)), strconv.Itoa(h.Nodes),
			room(memory(h.Reserved.Memory), memory(h.Capacity.Memory)), room(cores(h.Reserved.CPU), cores(h.Capacity.CPU)),
			keeper(h), code(lease(h))))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
