package plan

import (
	"fmt"
	"strings"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// warnAboutTags names the images whose tags have moved since nodes were made of them.
func (w *world) warnAboutTags() {
	if len(w.in.Tags) == 0 {
		return
	}
	for _, l := range w.layers {
		if l.spec == nil || !l.applied {
			continue
		}
		for _, n := range l.nodes {
			if cur := n.current(); cur != nil && n.wanted {
				if now := Moved(w.in.Tags, l.spec, cur); now != "" {
					w.warn(fmt.Sprintf("%s: %s stands for %s by now, and nodes run %s: write the new one, or another `redeploy`, and commit it", l.id, l.spec.Image, now, cur.Image))
				}
			}
		}
	}
}

// Moved is what the tag that is written for a layer stands for by now, where that isn't what an instance was
// made from; empty: it is, or nobody knows.
func Moved(tags map[string]Tag, l *spec.Layer, in *fleet.Instance) string {
	tag := tags[l.Image]
	now := tag.IDs[in.Host]
	if strings.Contains(in.Image, "@") {
		now = tag.Digest
	}
	if now == in.Image || in.Image == "" || in.CreatedAt.After(tag.At) {
		return ""
	}
	return now
}
