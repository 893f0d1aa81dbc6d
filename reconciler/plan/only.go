package plan

import (
	"slices"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Only returns the part of a fleet's plan that concerns one environment. What concerns the fleet as a whole
// (keepers, networks, warnings) stays; what is refused to others is a warning.
func Only(p Plan, fleetName, environment string) Plan {
	others := func(l Layer) bool { return l.Environment != environment }
	p.Layers = slices.DeleteFunc(slices.Clone(p.Layers), others)
	p.Settled = slices.DeleteFunc(slices.Clone(p.Settled), others)
	p.Hosts = slices.DeleteFunc(slices.Clone(p.Hosts), func(op HostOperation) bool {
		return op.Environment != "" && op.Environment != environment
	})
	owner := fleet.DNSOwner(fleetName, environment)
	p.DNS = slices.DeleteFunc(slices.Clone(p.DNS), func(op DNSOperation) bool { return op.Owner != owner })
	p.Due = p.dueTo[owner]
	var refused []string
	p.Warnings = slices.Clone(p.Warnings)
	for _, text := range p.Refused {
		if about, some := p.about[text]; some && !slices.Contains(about, environment) {
			p.Warnings = append(p.Warnings, text)
			continue
		}
		refused = append(refused, text)
	}
	p.Refused = refused
	slices.Sort(p.Warnings)
	p.Warnings = slices.Compact(p.Warnings)
	p.HasChanges = len(p.Layers)+len(p.Hosts)+len(p.DNS) > 0
	return p
}
