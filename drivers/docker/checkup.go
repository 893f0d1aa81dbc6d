package docker

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/api/types/volume"
	"golang.org/x/sync/errgroup"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Checkup reads what an engine says of itself, anew, and what is on it of other fleets. Without an error all
// of it was read.
func (h *Host) Checkup(ctx context.Context, fleetName string) (fleet.Checkup, error) {
	var containers, volumes map[string][]string
	var occupants []fleet.Occupant
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { occupants, err = h.Occupants(gctx); return err })
	g.Go(func() (err error) { volumes, err = h.allVolumes(gctx); return err })
	g.Go(func() (err error) { containers, err = h.otherContainers(gctx, fleetName); return err })
	if err := g.Wait(); err != nil {
		return fleet.Checkup{}, err
	}
	// By itself, so that nothing but the way there and back is between its clock and ours.
	c, err := call(ctx, h, h.read("reading how the engine is"), func(ctx context.Context, s *session) (fleet.Checkup, error) {
		asked := time.Now()
		info, err := s.Info(ctx)
		if err != nil {
			return fleet.Checkup{}, err
		}
		return checkup(info, asked, time.Now()), nil
	})
	c.Occupants, c.Volumes, c.Containers = occupants, volumes, containers
	return c, err
}

// checkup is what an engine answered that was asked at one time and had answered at another.
func checkup(info system.Info, asked, answered time.Time) fleet.Checkup {
	c := fleet.Checkup{
		RootDir: info.DockerRootDir, LogDriver: info.LoggingDriver, CgroupDriver: info.CgroupDriver,
		LiveRestore: info.LiveRestoreEnabled, Forwarding: info.IPv4Forwarding,
		MemoryLimit: info.MemoryLimit, SwapLimit: info.SwapLimit, CPUQuota: info.CPUCfsQuota, PidsLimit: info.PidsLimit,
		Rootless: slices.Contains(info.SecurityOptions, "name=rootless"),
		Warnings: slices.Clone(info.Warnings),
	}
	for _, s := range info.DriverStatus {
		if s[0] == "Backing Filesystem" {
			c.BackingFilesystem = s[1]
		}
	}
	if theirs, err := time.Parse(time.RFC3339Nano, info.SystemTime); err == nil {
		c.Within = answered.Sub(asked) / 2
		c.Skew = theirs.Sub(asked.Add(c.Within))
	}
	return c
}

// allVolumes are the names of all volumes that are a fleet's, by that fleet.
func (h *Host) allVolumes(ctx context.Context) (map[string][]string, error) {
	list, err := call(ctx, h, h.read("listing volumes"), func(ctx context.Context, s *session) (volume.ListResponse, error) {
		return s.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(filters.Arg("label", fleet.LabelFleet))})
	})
	if err != nil {
		return nil, err
	}
	names := map[string][]string{}
	for _, v := range list.Volumes {
		of := v.Labels[fleet.LabelFleet]
		names[of] = append(names[of], v.Name)
	}
	return sortedNames(names), nil
}

// otherContainers are the names of all containers of fleets but one, by their fleet.
func (h *Host) otherContainers(ctx context.Context, fleetName string) (map[string][]string, error) {
	list, err := call(ctx, h, h.read("listing containers"), func(ctx context.Context, s *session) ([]container.Summary, error) {
		return s.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", fleet.LabelFleet))})
	})
	if err != nil {
		return nil, err
	}
	names := map[string][]string{}
	for i := range list {
		if of := list[i].Labels[fleet.LabelFleet]; of != fleetName && len(list[i].Names) > 0 {
			names[of] = append(names[of], strings.TrimPrefix(list[i].Names[0], "/"))
		}
	}
	return sortedNames(names), nil
}

func sortedNames(names map[string][]string) map[string][]string {
	for of := range maps.Keys(names) {
		slices.Sort(names[of])
	}
	return names
}

// Certificates are those with which the host is spoken to, those in files read anew; none: it isn't spoken to over TLS.
func (h *Host) Certificates() []fleet.Certificate {
	if h.way.certificates == nil {
		return nil
	}
	return h.way.certificates()
}
