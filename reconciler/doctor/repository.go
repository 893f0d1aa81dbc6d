package doctor

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/evenkeel/evenkeel/reconciler/plan"
)

func (e *examination) repository() {
	if e.Repository.Problem != "" {
		remedy := e.Repository.Remedy
		if remedy == "" {
			remedy = "see --repo, --ref and the flags that begin with --git"
		}
		e.report.add(Finding{Severity: Problem, Area: Repository, What: e.Repository.Problem, Remedy: remedy + "; the hosts can be checked once the Fleet can be read"})
	}
	for _, w := range e.Repository.Warnings {
		e.report.add(Finding{Severity: Warning, Area: Repository, What: w, Remedy: "`git status` shows what isn't committed, `evenkeel plan` what is in force"})
	}
}

func (e *examination) spec() {
	for _, p := range e.Problems {
		e.report.add(Finding{Severity: Problem, Area: Spec, Subject: p.File, What: p.String(), Remedy: "mend it and commit: until then no newer revision comes into force; `evenkeel validate` checks files before they are committed"})
	}
	if e.Desired == nil {
		return
	}
	for _, w := range e.Desired.Warnings {
		e.report.add(Finding{Severity: Warning, Area: Spec, Subject: w.File, What: w.String(), Remedy: "change it, unless it is meant"})
	}
	for i := range e.Desired.Fleet.Hosts {
		if h := &e.Desired.Fleet.Hosts[i]; h.Insecure {
			e.report.add(Finding{
				Severity: Warning, Area: Host, Host: h.Name, What: "its engine is reached in plain text: whoever is on that network can be root on the host",
				Remedy: "reach it over ssh://, or over tcp:// with `tls`, and have the engine listen on nothing else",
			})
		}
	}
}

// plan passes on what the plan has to say, but for what is found in more detail here.
func (e *examination) plan() {
	if e.Plan == nil {
		return
	}
	told := e.toldOtherwise()
	for _, text := range e.Plan.Refused {
		if !slices.Contains(told, text) {
			e.report.add(Finding{Severity: Problem, Area: Node, What: text, Remedy: "`evenkeel plan` shows what is held up by it"})
		}
	}
	for _, text := range e.Plan.Warnings {
		if !slices.Contains(told, text) {
			e.report.add(Finding{Severity: Warning, Area: Node, What: text, Remedy: "`evenkeel plan` shows what it concerns"})
		}
	}
	for i := range e.Plan.Layers {
		l := &e.Plan.Layers[i]
		if l.Paused != "" {
			e.report.add(Finding{
				Severity: Problem, Area: Node, Subject: l.ID().String(), What: "its rollout is paused: " + l.Paused,
				Remedy: "commit a change of the layer (a new text in its `redeploy` tries the same again), or mend the node",
			})
			continue // what waits, waits for that
		}
		for _, w := range l.WaitingAlike() {
			if e.toldOfImage(w.Reason) {
				continue
			}
			verb := "waits"
			if len(w.Nodes) > 1 {
				verb = "wait"
			}
			e.report.add(Finding{
				Severity: Problem, Area: Node, Subject: fmt.Sprintf("%s/%s", l.ID(), w.Ordinals()), What: verb + ": " + w.Reason,
				Remedy: "as the reason says; `evenkeel plan` shows what is to be done then",
			})
		}
	}
}

// toldOfImage says whether nodes wait for an image that its registry doesn't give, which is a finding by itself.
func (e *examination) toldOfImage(reason string) bool {
	return slices.ContainsFunc(e.Images, func(m Image) bool { return m.Problem != "" && m.awaited(reason) })
}

// toldOtherwise are the plan's texts about what is found here too.
func (e *examination) toldOtherwise() []string {
	told := e.toldOfZones()
	for _, w := range e.Desired.Warnings {
		told = append(told, w.String())
	}
	for i := range e.Observed.Hosts {
		st := &e.Observed.Hosts[i]
		told = append(told, plan.OutOfReach(st.Name, cmp.Or(st.Problem, "no answer")), plan.KeeperSilent(st.Name, cmp.Or(st.KeeperProblem, "no answer")))
		for name, n := range st.OtherFleets {
			told = append(told, plan.Carries(st.Name, n, name))
		}
	}
	return told
}
