package drift

import (
	"fmt"
	"slices"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// records finds what others have done to the fleet's records at DNS providers: a name doesn't say any more what it was
// made to. What it is still to be made to say is no drift.
func (f *finder) records() {
	if len(f.in.Desired.Fleet.External) == 0 {
		return
	}
	wanted := names.Desired(names.Wishes{Desired: f.in.Desired, Observed: f.in.Observed, Out: f.in.Out})
	for i := range f.in.Desired.Fleet.External {
		z := &f.in.Desired.Fleet.External[i]
		at := slices.IndexFunc(f.in.Zones, func(read plan.Zone) bool { return read.Name == z.Name })
		if at < 0 || f.in.Zones[at].Problem != "" {
			problem := "it has not been read"
			if at >= 0 {
				problem = f.in.Zones[at].Problem
			}
			f.report.Unknown = append(f.report.Unknown, fmt.Sprintf("the zone %s: %s", z.Zone, problem))
			continue
		}
		zone := names.Zone{Fleet: f.in.Desired.Fleet.Name, Name: z.Zone, Records: f.in.Zones[at].Records, Altered: f.in.Zones[at].Altered}
		if f.in.Said != nil {
			zone.Said = plan.SaidOf(f.in.Said, z.Name)
		}
		r := names.Compute(zone, wanted[z.Name])
		for _, c := range r.Drift {
			f.record(z, c)
		}
		for _, other := range r.Foreign {
			f.foreign(z, other)
		}
	}
}

// record tells of one change that would put a record right.
func (f *finder) record(z *spec.ExternalZone, c names.Change) {
	add := func(name, field, wanted, found, remedy string) {
		f.add(Finding{
			What: Record, Zone: z.Name, Name: name, Environment: f.environment(c.Record.Owner),
			Field: field, Wanted: wanted, Found: found, Remedy: f.healed(remedy),
		})
	}
	is, was := c.Record, c.Was
	switch c.Operation {
	case names.Create:
		add(is.String(), "record", "there", "missing", "makes it again")
	case names.Delete:
		add(was.String(), "record", "", "there", "removes it")
	case names.Update:
		const back = "sets it back"
		if is.Content != was.Content {
			add(is.Name+" "+is.Type, "content", is.Content, was.Content, back)
		}
		if is.Proxied != was.Proxied {
			add(is.String(), "proxied", fmt.Sprint(is.Proxied), fmt.Sprint(was.Proxied), back)
		}
		if is.TTL != was.TTL && !is.Proxied {
			add(is.String(), "ttl", is.TTL.String(), was.TTL.String(), back)
		}
		if is.Owner != was.Owner {
			add(is.String(), ownedBy(z), fleet.DNSMark(is.Owner), fleet.DNSMark(was.Owner), back)
		}
	}
}

// foreign tells of a record of others' where the fleet's own are: it is theirs, whatever its name is.
func (f *finder) foreign(z *spec.ExternalZone, other names.Foreign) {
	one := Finding{
		What: Record, Zone: z.Name, Name: other.Record.String(), Environment: other.Environment, Field: "record",
		Found:  "there, and not evenkeel's",
		Remedy: "it is left alone, and clients are sent there too: remove it if it isn't meant to be there",
	}
	if of := fleet.DNSOwnerFleet(other.Record.Owner); of != "" {
		one.Found = "there, and the fleet " + of + "'s"
	}
	switch {
	case other.Excludes != "":
		one.Name, one.Wanted, one.Found = other.Record.Name, other.Excludes, other.Record.Type+" "+other.Record.Content
		one.Remedy = "it isn't evenkeel's and is left alone: remove it, or use another name"
	case other.Owner != "":
		one.Field, one.Wanted, one.Found = ownedBy(z), fleet.DNSMark(other.Owner), "none of this fleet"
		one.Remedy = "without it the record isn't evenkeel's and is left alone: put the " + ownedBy(z) + " back, or remove the record, and it is made anew"
	}
	f.add(one)
}

// ownedBy is what says whose a record is in a zone.
func ownedBy(z *spec.ExternalZone) string {
	if z.Provider == spec.ProviderRFC2136 {
		return "TXT record"
	}
	return "comment"
}

// environment is whose a record is; empty: of none that there is.
func (f *finder) environment(owner string) string {
	for i := range f.in.Desired.Environments {
		if name := f.in.Desired.Environments[i].Name; fleet.DNSOwner(f.in.Desired.Fleet.Name, name) == owner {
			return name
		}
	}
	return ""
}
