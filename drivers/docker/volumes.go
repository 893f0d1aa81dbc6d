package docker

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/volume"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// ensureVolumes creates the volumes that aren't there. The engine answers a create of an existing one with
// that one, whoever made it: its labels tell.
func (h *Host) ensureVolumes(ctx context.Context, s *session, mounts []fleet.Mount, fleetName string) error {
	for _, m := range mounts {
		v, err := s.VolumeCreate(ctx, volume.CreateOptions{Name: m.Name, Labels: m.Labels})
		if err != nil {
			return fmt.Errorf("creating volume %s: %w", m.Name, err)
		}
		if v.Labels[fleet.LabelFleet] == fleetName {
			continue
		}
		// Since the engine was restarted it may have answered without them [M: 20.10, of a volume that nobody has
		// asked for since].
		if v, err = s.VolumeInspect(ctx, m.Name); err != nil {
			return fmt.Errorf("looking at volume %s: %w", m.Name, err)
		}
		if v.Labels[fleet.LabelFleet] != fleetName {
			return h.conflict("volume", m.Name, m.Name, "", v.Labels)
		}
	}
	return nil
}

// RemoveVolume removes a volume with all that is in it. One that is gone is done, one without a label of
// evenkeel's is left alone, which is an error, as is one that a container has.
func (h *Host) RemoveVolume(ctx context.Context, name string) error {
	return h.do(ctx, h.write("removing volume "+name), func(ctx context.Context, s *session) error {
		v, err := s.VolumeInspect(ctx, name)
		if errdefs.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if v.Labels[fleet.LabelFleet] == "" {
			return h.conflict("volume", name, name, "", v.Labels)
		}
		if err := s.VolumeRemove(ctx, name, false); !errdefs.IsNotFound(err) {
			return err
		}
		return nil
	})
}
