package plan

import (
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// Sweep is what becomes of the images that evenkeel pulled onto one host.
type Sweep struct {
	// Note are records that changed: an image has come out of use, or into use again.
	Note []fleet.ImageRecord
	// Remove are images that have been out of use for long enough.
	Remove []fleet.ImageRecord
}

// SweepImages decides which images of a host aren't needed any more. Of each wanted layer the one that came
// out of use last is kept for good: it is the one before the present, which going back needs.
//
//	the image                          | what becomes of it
//	a container is made of it          | stays
//	last one out of use of its layer   | stays
//	out of use for less than keep      | stays
//	otherwise                          | removed
func SweepImages(h *fleet.HostState, desired *spec.Spec, now time.Time, keep time.Duration) Sweep {
	var s Sweep
	if !h.Reachable || h.Keeper == nil {
		return s
	}
	used := map[string]bool{}
	for i := range h.Instances {
		used[h.Instances[i].ImageID] = true
	}
	images := h.Keeper.Images()
	for i := range images {
		switch in := used[images[i].ID]; {
		case in && !images[i].UnusedSince.IsZero():
			images[i].UnusedSince = time.Time{}
			s.Note = append(s.Note, images[i])
		case !in && images[i].UnusedSince.IsZero():
			images[i].UnusedSince = now
			s.Note = append(s.Note, images[i])
		}
	}
	before := lastUnused(images, desired)
	for _, r := range images {
		if !r.UnusedSince.IsZero() && now.Sub(r.UnusedSince) >= keep && before[layerOf(r)] != r.ID {
			s.Remove = append(s.Remove, r)
		}
	}
	return s
}

func layerOf(r fleet.ImageRecord) fleet.LayerID {
	return fleet.LayerID{Environment: r.Environment, Layer: r.Layer}
}

// lastUnused is the image of each wanted layer that came out of use last.
func lastUnused(images []fleet.ImageRecord, desired *spec.Spec) map[fleet.LayerID]string {
	last, since := map[fleet.LayerID]string{}, map[fleet.LayerID]time.Time{}
	for _, r := range images {
		l := layerOf(r)
		e := desired.Environment(l.Environment)
		if r.UnusedSince.IsZero() || e == nil || e.Layer(l.Layer) == nil {
			continue
		}
		if last[l] == "" || r.UnusedSince.After(since[l]) {
			last[l], since[l] = r.ID, r.UnusedSince
		}
	}
	return last
}
