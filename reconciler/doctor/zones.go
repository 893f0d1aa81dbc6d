package doctor

import (
	"fmt"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// zones finds zones at DNS providers that can't be worked with, and what of others' is in the way there.
func (e *examination) zones() {
	wanted := e.wantedNames()
	for i := range e.Zones {
		z := &e.Zones[i]
		add := func(s Severity, what, remedy string) {
			e.report.add(Finding{Severity: s, Area: DNS, Subject: z.Zone, What: what, Remedy: remedy})
		}
		if z.Problem != "" {
			add(Problem, z.Problem, e.zoneRemedy(z)+"; nodes that have to leave names there aren't touched until then")
		}
		if !z.Read {
			continue
		}
		r := e.inZone(z, wanted[z.Name])
		for _, c := range r.Conflicts {
			add(Problem, fmt.Sprintf("%s of %s: %s", c.Name, c.Environment, c.Message), "remove or rename what is in the way, if it may go; evenkeel changes only its own records")
		}
		for _, w := range r.Warnings {
			add(Warning, w, "remove it, unless clients are to be led there too")
		}
	}
}

// zoneRemedy is what to do about a zone that can't be worked with.
func (e *examination) zoneRemedy(z *Zone) string {
	credentials, right := "credentials.tokenFrom", "give the token of the zone %s in the Fleet's dns.external the permissions Zone.Zone: Read and Zone.DNS: Edit for it, or name another"
	silent := "see that the provider's API can be reached from here (and `baseURL`, where it is written)"
	if at := e.Desired.Fleet.ExternalZone(z.Name); at != nil && at.Provider == spec.ProviderRFC2136 {
		credentials, right = "tsig.secretFrom", "see that the key in `tsig` of the zone %s in the Fleet's dns.external is the server's, and may transfer the zone and change it there"
		silent = "see that `server` is the zone's primary name server, and can be reached from here over TCP"
	}
	switch {
	case z.Unset:
		return fmt.Sprintf("set the variable or write the file that %s of the zone %s in the Fleet's dns.external names, where evenkeel runs, or name another", credentials, z.Name)
	case z.Denied:
		return fmt.Sprintf(right, z.Name)
	}
	return silent
}

// wantedNames are those that are wanted now, and once the plan has made what nodes there aren't yet: what will be in the
// way is better known before.
func (e *examination) wantedNames() map[string][]names.Name {
	w := names.Wishes{Desired: e.Desired, Observed: e.Observed, Coming: map[fleet.NodeID]string{}}
	if e.Plan != nil {
		for i := range e.Plan.Layers {
			for _, op := range e.Plan.Layers[i].Operations {
				if op.Kind == plan.Create {
					w.Coming[op.ID] = op.Host
				}
			}
		}
	}
	return names.Desired(w)
}

// inZone is what there is to say of a zone that was read.
func (e *examination) inZone(z *Zone, wanted []names.Name) names.Result {
	return names.Compute(names.Zone{Fleet: e.Desired.Fleet.Name, Name: z.Zone, Records: z.Records, Keep: true}, wanted)
}

// toldOfZones are the plan's texts about what is found here too.
func (e *examination) toldOfZones() []string {
	var told []string
	wanted := e.wantedNames()
	for i := range e.Zones {
		z := &e.Zones[i]
		told = append(told, plan.ZoneUnknown(z.Zone, z.Problem))
		if !z.Read {
			continue
		}
		r := e.inZone(z, wanted[z.Name])
		for _, c := range r.Conflicts {
			told = append(told, plan.InTheWay(z.Zone, c))
		}
		told = append(told, r.Warnings...)
	}
	return told
}
