package plan

import "slices"

// Only returns the part of a plan that concerns one environment. What concerns the fleet as a whole
// (keepers, networks, warnings) stays.
func Only(p Plan, environment string) Plan {
	others := func(l Layer) bool { return l.Environment != environment }
	p.Layers = slices.DeleteFunc(slices.Clone(p.Layers), others)
	p.Settled = slices.DeleteFunc(slices.Clone(p.Settled), others)
	p.Hosts = slices.DeleteFunc(slices.Clone(p.Hosts), func(op HostOperation) bool {
		return op.Environment != "" && op.Environment != environment
	})
	p.HasChanges = len(p.Layers)+len(p.Hosts)+len(p.DNS) > 0
	return p
}
