package drift_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/drift"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

func TestATagThatMoved(t *testing.T) {
	const image, old, young = "shop/web:1", "shop/web@sha256:old", "shop/web@sha256:new"
	tests := []struct {
		name  string
		from  string // what node 1 was made from
		tag   plan.Tag
		apply func(w *world)
		want  []string
	}{
		{"in its registry", old, plan.Tag{Digest: young}, nil, []string{"hn1 shop/web/1 image: " + young + " > " + old}},
		{"not", old, plan.Tag{Digest: old}, nil, nil},
		{"nobody knows", old, plan.Tag{Problem: "no answer"}, nil, nil},
		{"on its host", "sha256:a", plan.Tag{IDs: map[string]string{"hn1": "sha256:b"}}, nil, []string{"hn1 shop/web/1 image: sha256:b > sha256:a"}},
		{"on another host", "sha256:a", plan.Tag{IDs: map[string]string{"hn2": "sha256:b"}}, nil, nil},
		{"pushed by now", "sha256:a", plan.Tag{Digest: young}, nil, nil},
		{"written anew", old, plan.Tag{Digest: young}, committed, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			w.layer().Image, w.node().Image = image, tt.from
			if tt.apply != nil {
				tt.apply(w)
			}
			r := drift.Compute(drift.Input{
				Desired: w.spec, Observed: fleet.Observed{Hosts: w.hosts}, Now: noon, Tags: map[string]plan.Tag{image: tt.tag},
			})
			require.Equal(t, tt.want, lines(r.Drift))
		})
	}
}

func TestTags(t *testing.T) {
	tests := []struct {
		name  string
		image string
		pull  spec.Pull
		from  string // what node 2 was made from; node 1 was made from sha256:a
		want  []plan.ImageRequest
	}{
		{"only on hosts", "web:1", spec.PullMissing, "sha256:a", []plan.ImageRequest{{Image: "web:1", Pull: spec.PullNever, Hosts: []string{"hn1", "hn2"}}}},
		{"of a registry", "web:1", spec.PullMissing, "web@sha256:b", []plan.ImageRequest{{Image: "web:1", Pull: spec.PullAlways, Hosts: []string{"hn1", "hn2"}}}},
		{"never fetched", "web:1", spec.PullNever, "web@sha256:b", []plan.ImageRequest{{Image: "web:1", Pull: spec.PullNever, Hosts: []string{"hn1", "hn2"}}}},
		{"looked up in each pass", "web:1", spec.PullAlways, "web@sha256:b", []plan.ImageRequest{}},
		{"written with its digest", "web@sha256:b", spec.PullMissing, "web@sha256:b", []plan.ImageRequest{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			w.layer().Image, w.layer().Pull = tt.image, tt.pull
			w.hosts[0].Instances[0].Image, w.hosts[1].Instances[0].Image = "sha256:a", tt.from
			require.Equal(t, tt.want, drift.Tags(w.spec, fleet.Observed{Hosts: w.hosts}))
		})
	}
}
