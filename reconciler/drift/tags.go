package drift

import (
	"cmp"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// Tags are the images to be looked up to find out whether their tags have moved, sorted: in their registry
// where nodes run what came from there, else on the hosts of the nodes. Images written with a digest have
// none, and with `pull: always` the plan looks them up.
func Tags(desired *spec.Spec, observed fleet.Observed) []plan.ImageRequest {
	requests := map[string]*plan.ImageRequest{}
	for h := range observed.Hosts {
		for i := range observed.Hosts[h].Instances {
			in := &observed.Hosts[h].Instances[i]
			env := desired.Environment(in.Environment)
			if env == nil {
				continue
			}
			l := env.Layer(in.Layer)
			if l == nil || l.Pull == spec.PullAlways || strings.Contains(l.Image, "@") {
				continue
			}
			r := requests[l.Image]
			if r == nil {
				r = &plan.ImageRequest{Image: l.Image, Pull: spec.PullNever}
				requests[l.Image] = r
			}
			if strings.Contains(in.Image, "@") && l.Pull != spec.PullNever {
				r.Pull = spec.PullAlways
			}
			r.Hosts = append(r.Hosts, in.Host)
		}
	}
	sorted := make([]plan.ImageRequest, 0, len(requests))
	for _, r := range requests {
		slices.Sort(r.Hosts)
		r.Hosts = slices.Compact(r.Hosts)
		sorted = append(sorted, *r)
	}
	slices.SortFunc(sorted, func(a, b plan.ImageRequest) int { return cmp.Compare(a.Image, b.Image) })
	return sorted
}
