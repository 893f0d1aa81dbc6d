package plan

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

func TestSweepImages(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	wanted := &spec.Spec{Environments: []spec.Environment{{Name: "shop", Layers: []spec.Layer{{Name: "web"}}}}}
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	image := func(id, layer string, unused time.Time) fleet.ImageRecord {
		return fleet.ImageRecord{ID: id, Environment: "shop", Layer: layer, UnusedSince: unused}
	}
	tests := []struct {
		name          string
		images        []fleet.ImageRecord
		used          []string
		noted, remove []string
	}{
		{"in use", []fleet.ImageRecord{image("a", "web", time.Time{})}, []string{"a"}, nil, nil},
		{"comes out of use", []fleet.ImageRecord{image("a", "web", time.Time{})}, nil, []string{"a"}, nil},
		{"comes into use again", []fleet.ImageRecord{image("a", "web", ago(2*time.Hour))}, []string{"a"}, []string{"a"}, nil},
		{"the one before the present stays", []fleet.ImageRecord{image("a", "web", ago(9*time.Hour)), image("b", "web", time.Time{})}, []string{"b"}, nil, nil},
		{"an older one goes", []fleet.ImageRecord{image("a", "web", ago(9*time.Hour)), image("b", "web", ago(2*time.Hour))}, nil, nil, []string{"a"}},
		{"an older one that isn't out of use for long stays", []fleet.ImageRecord{image("a", "web", ago(30*time.Minute)), image("b", "web", ago(time.Minute))}, nil, nil, nil},
		{"those of a layer that is gone go", []fleet.ImageRecord{image("a", "db", ago(2*time.Hour))}, nil, nil, []string{"a"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := fleet.HostState{Reachable: true, Keeper: &fleet.KeeperState{}}
			for _, r := range test.images {
				value, err := json.Marshal(r)
				require.NoError(t, err)
				h.Keeper.Records = fleet.WithRecord(h.Keeper.Records, fleet.Record{Key: fleet.ImageKey(r.ID), Value: value})
			}
			for _, id := range test.used {
				h.Instances = append(h.Instances, fleet.Instance{ImageID: id})
			}
			s := SweepImages(&h, wanted, now, time.Hour)
			require.Equal(t, test.noted, ids(s.Note))
			require.Equal(t, test.remove, ids(s.Remove))
		})
	}
}

func ids(records []fleet.ImageRecord) []string {
	var list []string
	for _, r := range records {
		list = append(list, r.ID)
	}
	return list
}

func TestSweepOfAHostThatIsNotReadRemovesNothing(t *testing.T) {
	require.Empty(t, SweepImages(&fleet.HostState{}, &spec.Spec{}, time.Now(), 0))
}
