package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
	"github.com/evenkeel/evenkeel/spec"
)

// external says which records at DNS providers change: all that will when the plan has been carried out, and whether
// some are due whatever becomes of the nodes. A zone that couldn't be read stays as it is.
func (w *world) external() {
	w.plan.KeepNames = w.pruneRefused || w.halted
	if len(w.fleet.External) == 0 || w.halted {
		return
	}
	ahead := names.Desired(w.ahead())
	w.plan.Said = map[string]string{}
	for i := range w.fleet.External {
		z := &w.fleet.External[i]
		read, ok := w.zone(z.Name)
		if !ok {
			w.unread(z, read)
			w.say(z.Name, w.said[z.Name])
			continue
		}
		now := names.Compute(w.records(z, read), w.wished()[z.Name])
		w.plan.due(now.Changes)
		w.say(z.Name, now.Said)
		w.onlyReported(z, now)
		for _, c := range now.Conflicts {
			w.refuseTo(InTheWay(z.Zone, c), []string{c.Environment})
		}
		for _, warning := range now.Warnings {
			w.warn(warning)
		}
		for _, c := range names.Compute(w.records(z, read), ahead[z.Name]).Changes {
			w.plan.DNS = append(w.plan.DNS, DNSOperation{
				Operation: string(c.Operation), Provider: z.Name, Record: c.Record.String(), Why: c.Why, Owner: c.Record.Owner,
			})
		}
	}
}

// due notes whose records are to be changed at once.
func (p *Plan) due(changes []names.Change) {
	for i := range changes {
		if p.dueTo == nil {
			p.dueTo = map[string]bool{}
		}
		p.Due, p.dueTo[changes[i].Record.Owner] = true, true
	}
}

// say notes what the names of a zone say.
func (w *world) say(zone string, said map[string]string) {
	for name, digest := range said {
		w.plan.Said[fleet.SaidKey(zone, name)] = digest
	}
}

// SaidOf is the part of what is known of names that concerns a zone, by their names.
func SaidOf(said map[string]string, zone string) map[string]string {
	of := map[string]string{}
	for key, digest := range said {
		if name, ok := strings.CutPrefix(key, zone+" "); ok {
			of[name] = digest
		}
	}
	return of
}

// onlyReported says what others have changed and what stays so.
func (w *world) onlyReported(z *spec.ExternalZone, now names.Result) {
	if w.fleet.SelfHeal {
		return
	}
	for _, c := range now.Drift {
		if !slices.ContainsFunc(now.Changes, func(made names.Change) bool { return made.Record == c.Record && made.Operation == c.Operation }) {
			w.warn(fmt.Sprintf("drift, only reported since drift.selfHeal is false: %s %s in the zone %s would set it right (%s)", c.Operation, c.Record, z.Zone, c.Why))
		}
	}
}

// unread says that a zone isn't known, where that matters to anybody.
func (w *world) unread(z *spec.ExternalZone, read Zone) {
	problem := read.Problem
	if problem == "" {
		problem = "it has not been read yet"
	}
	var wanting []string
	for i := range w.in.Desired.Environments {
		env := &w.in.Desired.Environments[i]
		if slices.ContainsFunc(env.DNS, func(x spec.ExternalName) bool { return x.Zone == z.Name }) {
			wanting = append(wanting, env.Name)
		}
	}
	w.refuseTo(ZoneUnknown(z.Zone, problem), wanting)
}

// refuseTo is refuse for what concerns some environments only.
func (w *world) refuseTo(text string, environments []string) {
	w.refuse(text)
	if w.plan.about == nil {
		w.plan.about = map[string][]string{}
	}
	w.plan.about[text] = append(w.plan.about[text], environments...)
}

// InTheWay is what a plan says of something of others' that is in the way of a name.
func InTheWay(zone string, c names.Conflict) string {
	return fmt.Sprintf("%s of %s in the zone %s: %s", c.Name, c.Environment, zone, c.Message)
}

// ZoneUnknown is what a plan says of a zone that couldn't be read.
func ZoneUnknown(zone, why string) string {
	return fmt.Sprintf("the zone %s isn't known (%s): its records stay as they are, and no serving node that it leads to is touched", zone, why)
}

// zone is what was read of a zone.
func (w *world) zone(name string) (read Zone, ok bool) {
	i := slices.IndexFunc(w.in.Zones, func(z Zone) bool { return z.Name == name })
	if i < 0 {
		return Zone{}, false
	}
	return w.in.Zones[i], w.in.Zones[i].Problem == ""
}

func (w *world) records(z *spec.ExternalZone, read Zone) names.Zone {
	return names.Zone{
		Fleet: w.fleet.Name, Name: z.Zone, Records: read.Records, Keep: w.plan.KeepNames,
		Said: w.said[z.Name], ReportOnly: !w.fleet.SelfHeal, Altered: read.Altered,
	}
}

// wished are the names that are wanted now, by zone.
func (w *world) wished() map[string][]names.Name {
	if !w.wishing {
		w.wishing = true
		w.wishes = names.Desired(names.Wishes{Desired: w.in.Desired, Observed: w.in.Observed, Out: w.in.Out})
	}
	return w.wishes
}

// ahead is what names are worked out from once the plan has been carried out.
func (w *world) ahead() names.Wishes {
	a := names.Wishes{
		Desired: w.in.Desired, Observed: w.in.Observed, Out: w.in.Out,
		Coming: map[fleet.NodeID]string{}, Going: map[fleet.NodeID]bool{},
	}
	for _, l := range w.layers {
		for i := range l.out.Operations {
			switch op := &l.out.Operations[i]; {
			case op.Kind == Remove:
				a.Going[op.ID] = true
			case op.Kind != Resize && !op.Serving:
				a.Coming[op.ID] = op.Host
			}
		}
	}
	return a
}

// awaitZones holds back what a layer's serving nodes would have to leave names for that can't be read.
func (w *world) awaitZones(l *layer) {
	if len(w.fleet.External) == 0 || w.halted {
		return
	}
	kept := l.out.Operations[:0]
	for _, op := range l.out.Operations {
		if op.Intrusive && op.Serving && l.policy(op.Kind).RemoveFromDNS {
			if problem := w.cannotLeave(l, &op); problem != "" {
				l.out.Waiting = append(l.out.Waiting, Waiting{Node: op.Node, Reason: fmt.Sprintf("%s waits: %s", op.Kind, problem)})
				l.held = true
				continue
			}
		}
		kept = append(kept, op)
	}
	l.out.Operations = kept
}

// cannotLeave is why a node can't leave its external names now; empty: it can.
func (w *world) cannotLeave(l *layer, op *Operation) string {
	problem := ""
	for i := range w.fleet.External {
		z := &w.fleet.External[i]
		read, ok := w.zone(z.Name)
		if ok {
			if kept := w.keptName(z, read, l, op); kept != "" {
				return fmt.Sprintf("it can't leave %s, which no environment wants any more: no name is taken away while the removal of nodes is refused", kept)
			}
			continue
		}
		if !w.mayLead(z, read, l, op) {
			continue
		}
		problem = fmt.Sprintf("the zone %s isn't known, and it has to leave its names there first", z.Zone)
		if read.Problem != "" {
			problem += ": " + read.Problem
		}
	}
	return problem
}

// mayLead says whether records of a zone that isn't known may lead to a node: by its layer's names, by what was read
// there before, or by what the keepers remember.
func (w *world) mayLead(z *spec.ExternalZone, read Zone, l *layer, op *Operation) bool {
	if slices.Contains(w.zonesOf(l), z.Name) {
		return true
	}
	if !read.Seen {
		return w.copy.MayLead(z.Zone, l.id, len(op.Instance.Published) > 0)
	}
	host := names.HostLeads(w.in.Desired, w.copy)(op.Instance.Host)
	return names.LedBy(names.Stray(read.Records, w.wished()[z.Name])).To(fleet.DNSOwner(w.fleet.Name, l.id.Environment), host)
}

// keptName is a name that leads to a node and stays as it is, since it isn't sure that it may go; empty: there is none.
func (w *world) keptName(z *spec.ExternalZone, read Zone, l *layer, op *Operation) string {
	if !w.pruneRefused {
		return ""
	}
	host := names.HostLeads(w.in.Desired, w.copy)(op.Instance.Host)
	owner := fleet.DNSOwner(w.fleet.Name, l.id.Environment)
	return names.Kept(read.Records, w.wished()[z.Name], owner, host)
}

// zonesOf are the zones in which names lead to a layer, sorted.
func (w *world) zonesOf(l *layer) []string {
	if l.env == nil {
		return nil
	}
	var zones []string
	for i := range l.env.DNS {
		if l.env.DNS[i].Layer == l.id.Layer {
			zones = append(zones, l.env.DNS[i].Zone)
		}
	}
	slices.Sort(zones)
	return slices.Compact(zones)
}

// withdrawExternal lists the external records that are gone while each node is touched, and for how long they may be
// remembered elsewhere. A name's last record stays.
func (w *world) withdrawExternal(l *layer) {
	if !slices.ContainsFunc(l.out.Operations, func(op Operation) bool { return op.Intrusive && op.Serving }) {
		return
	}
	for i := range w.fleet.External {
		z := &w.fleet.External[i]
		read, ok := w.zone(z.Name)
		if !ok {
			continue
		}
		e := leaving{layer: l, zone: w.records(z, read)}
		e.restrict(w.wished()[z.Name], fleet.DNSOwner(w.fleet.Name, l.id.Environment))
		e.walk()
	}
}

// leaving is how the nodes of a layer leave their names in one zone, one after the other.
type leaving struct {
	layer *layer
	zone  names.Zone
	wants []names.Name
	out   []fleet.NodeID // of the batch at hand
}

// restrict leaves what doesn't concern the layer out: names that lead to it, and those that may have before they were
// given to another.
func (e *leaving) restrict(wants []names.Name, owner string) {
	of := func(t names.Target) bool { return t.Node.LayerID() == e.layer.id }
	mine := map[string]bool{}
	for i := range wants {
		if slices.ContainsFunc(wants[i].Targets, of) {
			mine[names.Canonical(wants[i].Name)] = true
		}
	}
	for _, r := range e.zone.Records {
		mine[r.Name] = mine[r.Name] || r.Owner == owner
	}
	for _, n := range wants {
		if mine[names.Canonical(n.Name)] {
			n.Targets, n.Others = slices.Clone(n.Targets), slices.Clone(n.Others)
			e.wants = append(e.wants, n)
		}
	}
	e.zone.Records = slices.DeleteFunc(slices.Clone(e.zone.Records), func(r fleet.DNSRecord) bool { return !mine[r.Name] })
}

func (e *leaving) walk() {
	l := e.layer
	for i := range l.out.Operations {
		op := &l.out.Operations[i]
		if !op.Intrusive || !op.Serving || !l.policy(op.Kind).RemoveFromDNS {
			continue
		}
		if l.sequential(op) && len(e.out) >= l.policy(op.Kind).MaxUnavailable {
			e.back()
		}
		leave := names.Leaving(e.zone, e.wants, op.ID)
		e.set(op.ID, true)
		if op.Kind == Remove {
			e.forget(op.ID)
		} else {
			e.out = append(e.out, op.ID)
		}
		l.out.Downtime = l.out.Downtime || len(leave.Held) > 0
		if len(leave.Records) == 0 {
			continue
		}
		if op.DNS == nil {
			op.DNS = &Withdrawal{}
		}
		for _, r := range leave.Records {
			op.DNS.Withdraw = append(op.DNS.Withdraw, r.String())
		}
		e.lose(leave.Records, op.ID)
		op.Lasts = max(op.Lasts, leave.Lasts)
	}
}

// lose takes records away that don't come back: their names aren't the node's any more.
func (e *leaving) lose(records []fleet.DNSRecord, id fleet.NodeID) {
	e.zone.Records = slices.DeleteFunc(e.zone.Records, func(r fleet.DNSRecord) bool {
		return slices.Contains(records, r) && !slices.ContainsFunc(e.wants, func(n names.Name) bool {
			return names.Canonical(n.Name) == r.Name && slices.ContainsFunc(n.Targets, func(t names.Target) bool { return t.Node == id })
		})
	})
}

// back ends a batch: its nodes are found again.
func (e *leaving) back() {
	for _, id := range e.out {
		e.set(id, false)
	}
	e.out = nil
}

func (e *leaving) set(id fleet.NodeID, out bool) {
	for i := range e.wants {
		for _, targets := range [][]names.Target{e.wants[i].Targets, e.wants[i].Others} {
			for j := range targets {
				if t := &targets[j]; t.Node == id {
					t.Out = out
				}
			}
		}
	}
}

func (e *leaving) forget(id fleet.NodeID) {
	same := func(t names.Target) bool { return t.Node == id }
	for i := range e.wants {
		n := &e.wants[i]
		n.Targets, n.Others = slices.DeleteFunc(n.Targets, same), slices.DeleteFunc(n.Others, same)
	}
}
