package zone

import (
	"slices"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// Outside is what is known of zones at DNS providers.
type Outside struct {
	// Said is what external names were last made to say; nil: what the newest copy says of that stays.
	Said map[string]string
	// Zones are the zones as they were last read.
	Zones []plan.Zone
}

// externalZone is a zone at a DNS provider, and where its records lead to.
type externalZone struct {
	name   string // in the Fleet
	zone   string
	known  bool                      // it was read the last time
	led    names.Led                 // by records that nobody wants there
	wanted map[fleet.LayerID]bool    // by its names
	host   func(string) []names.Data // what leads to a host
}

func outsideOf(desired *spec.Spec, observed fleet.Observed, copied fleet.Copy, read []plan.Zone) []externalZone {
	if len(desired.Fleet.External) == 0 {
		return nil
	}
	host := names.HostLeads(desired, copied)
	wanted := names.Desired(names.Wishes{Desired: desired, Observed: observed})
	zones := make([]externalZone, len(desired.Fleet.External))
	for i := range zones {
		z := &desired.Fleet.External[i]
		zones[i] = externalZone{name: z.Name, zone: z.Zone, wanted: map[fleet.LayerID]bool{}, host: host}
		if at := slices.IndexFunc(read, func(r plan.Zone) bool { return r.Name == z.Name }); at >= 0 {
			zones[i].known, zones[i].led = read[at].Problem == "", names.LedBy(names.Stray(read[at].Records, wanted[z.Name]))
		}
	}
	for i := range desired.Environments {
		env := &desired.Environments[i]
		for _, x := range env.DNS {
			if at := slices.IndexFunc(zones, func(z externalZone) bool { return z.name == x.Zone }); at >= 0 {
				zones[at].wanted[fleet.LayerID{Environment: env.Name, Layer: x.Layer}] = true
			}
		}
	}
	return zones
}

// zones are those with records that may lead to a node. What one that isn't known said stays, as it may say so still.
func (c *copier) zones(in *fleet.Instance, before *fleet.CopyNode) []string {
	if len(c.outside) == 0 {
		return nil
	}
	var zones []string
	owner := fleet.DNSOwner(c.desired.Fleet.Name, in.Environment)
	for i := range c.outside {
		z := &c.outside[i]
		unknown := !z.known && (before != nil && slices.Contains(before.Zones, z.zone) || c.was.Serial == 0 && len(in.Published) > 0)
		if unknown || z.wanted[in.LayerID()] || z.led.To(owner, z.host(in.Host)) {
			zones = append(zones, z.zone)
		}
	}
	slices.Sort(zones)
	return zones
}
