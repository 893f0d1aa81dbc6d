package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// ImageRequest is an image as written that has to be resolved before a plan can be computed.
type ImageRequest struct {
	Image string
	// Pull is how hard to try: the keenest of the layers that ask for the image. With `never` only the
	// hosts are asked, with `always` the registry is, also where hosts have the image.
	Pull spec.Pull
	// Hosts are those where its nodes are or may be placed, sorted: an image that is in no registry has to
	// be on them.
	Hosts []string
}

// Unresolved returns the written images that stand for nothing yet, sorted: those of layers none of whose
// instances were made for what is written now, those that only hosts have and that a further host may
// need, and those that are resolved in each pass (`pull: always`). An image written with its digest never
// is among them. Input.Images isn't looked at.
func Unresolved(in Input) []ImageRequest { return Read(in).Unresolved() }

// Unresolved is [Unresolved] of the input that was read.
func (r Reading) Unresolved() []ImageRequest {
	w := r.w
	requests := map[string]*ImageRequest{}
	for _, l := range w.layers {
		if l.spec == nil || l.spec.Replicas == 0 || pinned(l.spec.Image) {
			continue
		}
		var have images
		if l.spec.Pull != spec.PullAlways {
			have = known(l)
		}
		if have.digest != "" {
			continue
		}
		hosts := w.imageHosts(l)
		if len(have.ids) > 0 {
			hosts = slices.DeleteFunc(slices.Clone(hosts), func(h string) bool { return have.ids[h] != "" })
		}
		if len(hosts) == 0 {
			continue
		}
		r := requests[l.spec.Image]
		if r == nil {
			r = &ImageRequest{Image: l.spec.Image, Pull: l.spec.Pull, Hosts: hosts}
			requests[l.spec.Image] = r
			continue
		}
		if keenness(l.spec.Pull) > keenness(r.Pull) {
			r.Pull = l.spec.Pull
		}
		r.Hosts = slices.Concat(r.Hosts, hosts) // the hosts of several requests may be one slice
		slices.Sort(r.Hosts)
		r.Hosts = slices.Compact(r.Hosts)
	}
	sorted := make([]ImageRequest, 0, len(requests))
	for _, request := range requests {
		sorted = append(sorted, *request)
	}
	slices.SortFunc(sorted, func(a, b ImageRequest) int { return cmp.Compare(a.Image, b.Image) })
	return sorted
}

// pinned says whether an image is written with its digest.
func pinned(image string) bool { return strings.Contains(image, "@sha256:") }

func keenness(p spec.Pull) int {
	return slices.Index([]spec.Pull{spec.PullNever, spec.PullMissing, spec.PullAlways}, p)
}

// imageHosts are the hosts in reach where the layer's nodes are or may be placed. It is one slice for all layers
// that nothing is seen of and that may be on any host.
func (w *world) imageHosts(l *layer) []string {
	on := map[string]bool{}
	for _, n := range l.nodes {
		if in := n.newest(); in != nil {
			on[in.Host] = true
		}
	}
	anywhere := len(on) == 0 && len(l.spec.Placement.Hosts) == 0
	if anywhere && w.active != nil {
		return w.active
	}
	hosts := []string{}
	for _, h := range w.hosts {
		if h.up() && h.spec != nil && (on[h.name] || h.spec.State == spec.HostActive && labelled(h.spec, l.spec)) {
			hosts = append(hosts, h.name)
		}
	}
	if anywhere {
		w.active = hosts
	}
	return hosts
}

func labelled(h *spec.Host, l *spec.Layer) bool {
	for k, v := range l.Placement.Hosts {
		if have, ok := h.Labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// images is what a layer's written image stands for.
type images struct {
	digest string            // everywhere; empty: see ids
	ids    map[string]string // by host
	// why it stands for nothing, or, with ids, nothing yet on other hosts.
	problem string
}

// on returns the digest or the ID of the image on a host; empty: none is known.
func (i images) on(host string) string {
	if i.digest != "" {
		return i.digest
	}
	return i.ids[host]
}

// known is what the instances of a layer that were made for what is written now say of its image. Where
// they differ, which only a lost view or a change of `pull` brings about, the newest generation's counts
// for new ones.
func known(l *layer) images {
	found, newest := images{ids: map[string]string{}}, 0
	for _, n := range l.nodes {
		if n.seen == nil {
			continue
		}
		for i := range n.seen.Instances {
			in := &n.seen.Instances[i]
			switch {
			case in.Image == "" || !sameSpec(in, l.spec):
			case !pinned(in.Image):
				found.ids[in.Host] = in.Image
			case in.Generation > newest:
				found.digest, newest = in.Image, in.Generation
			}
		}
	}
	return found
}

// resolve finds out what the layer's image stands for.
func (w *world) resolve(l *layer) images {
	if pinned(l.spec.Image) {
		return images{digest: l.spec.Image}
	}
	given, ok := w.in.Images[l.spec.Image]
	fresh := images{digest: given.Digest, ids: given.IDs, problem: given.Problem}
	if !ok {
		fresh.problem = "image " + l.spec.Image + " has not been resolved"
	}
	if l.spec.Pull == spec.PullAlways {
		return fresh
	}
	have := known(l)
	if have.digest != "" {
		return have
	}
	if given.Before != "" && l.highest() == 0 {
		w.warn(fmt.Sprintf("%s is made from %s, which was pulled for it last and may not be what %s stands for by now: %s", l.id, given.Before, l.spec.Image, given.Problem))
		return images{digest: given.Before}
	}
	// IDs differ from host to host: those that are in use stay, the others are as found.
	for host, id := range fresh.ids {
		if have.ids[host] == "" {
			have.ids[host] = id
		}
	}
	return images{digest: fresh.digest, ids: have.ids, problem: fresh.problem}
}

// whyNoImage says why there is no image for a host.
func (l *layer) whyNoImage(host string) string {
	if l.image.problem != "" {
		return l.image.problem
	}
	return fmt.Sprintf("image %s is in no registry and not on %s: load it there, or push it to a registry", l.spec.Image, host)
}

// imageDiffers says whether an instance was made from another image than the wanted one. A layer that
// isn't `pull: always` keeps what its instances were made from: a tag that moved is drift, no change.
func (l *layer) imageDiffers(in *fleet.Instance) bool {
	want := l.image.on(in.Host)
	if want == "" || in.Image == want {
		return false
	}
	return l.spec.Pull == spec.PullAlways || !sameSpec(in, l.spec)
}

// awaitImage holds the serving nodes of a sequential rollout back until all that are to be redeployed can be:
// before the first of them is touched, the image is on every host involved.
func (w *world) awaitImage(l *layer) {
	if l.lacking == "" || l.spec.Update.For(string(Redeploy)).Strategy != spec.Sequential {
		return
	}
	kept := l.out.Operations[:0]
	for _, op := range l.out.Operations {
		if op.Kind == Redeploy && op.Serving {
			l.out.Waiting = append(l.out.Waiting, Waiting{Node: op.Node, Reason: fmt.Sprintf(
				"redeploy waits until all nodes of the layer can have their image: %s has no %s yet", l.lacking, l.spec.Image)})
			l.held = true
			continue
		}
		kept = append(kept, op)
	}
	l.out.Operations = kept
}
