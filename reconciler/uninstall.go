package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Uninstalled is what was removed of a fleet, and what was kept.
type Uninstalled struct {
	Fleet    string       `json:"fleet"`
	Hosts    int          `json:"hosts"` // on which nothing is left but what was to be kept
	Nodes    int          `json:"nodes"`
	Networks int          `json:"networks"`
	Keepers  int          `json:"keepers"`
	Volumes  int          `json:"volumes"` // of nodes
	Records  int          `json:"records"` // external ones
	Kept     []KeptVolume `json:"kept"`
}

// KeptVolume is a node's volume that is still there.
type KeptVolume struct {
	Host   string `json:"host"`
	Volume string `json:"volume"`
}

// Uninstall removes all of a fleet from its hosts: nodes, networks, keepers; volumes only if asked to.
// What isn't the fleet's is left alone. A host that can't be reached fails, the others are done: what
// was removed is told also with an error.
func (c *Controller) Uninstall(ctx context.Context, volumes bool) (Uninstalled, error) {
	if _, err := c.Fetch(ctx); err != nil {
		return Uninstalled{}, err
	}
	c.lookAtAll(ctx)
	c.openGone(ctx)
	hosts := c.allHosts()
	clearings := make([]*clearing, len(hosts))
	for i, h := range hosts {
		clearings[i] = &clearing{Controller: c, h: h, volumes: volumes}
	}
	defer c.letGo(ctx)
	if err := c.leaseThere(ctx, clearings); err != nil {
		return Uninstalled{Fleet: c.fleetName()}, err
	}
	records, outside := c.clearOutside(ctx)
	observed := c.observed() // with what only looks like a node put aside: it isn't ours
	sizes := layerSizes(observed)
	done := &counter{of: map[fleet.LayerID]int{}}
	var wg sync.WaitGroup
	for _, u := range clearings {
		u.sizes, u.counted = sizes, done
		wg.Go(func() { u.clear(ctx, *observed.Host(u.h.name)) })
	}
	wg.Wait()
	all, err := c.uninstalled(clearings)
	all.Records = records
	return all, errors.Join(outside, err)
}

// uninstalled sums up.
func (c *Controller) uninstalled(clearings []*clearing) (Uninstalled, error) {
	all := Uninstalled{Fleet: c.fleetName(), Kept: []KeptVolume{}}
	var errs []error
	for _, u := range clearings {
		all.Nodes += u.out.Nodes
		all.Networks += u.out.Networks
		all.Keepers += u.out.Keepers
		all.Volumes += u.out.Volumes
		all.Kept = append(all.Kept, u.out.Kept...)
		if len(u.errs) == 0 {
			all.Hosts++
			continue
		}
		errs = append(errs, fmt.Errorf("host %s: %w", u.h.name, errors.Join(u.errs...)))
	}
	return all, errors.Join(errs...)
}

// layerSizes are how many nodes each layer has, counting one on each host that has an instance of it.
func layerSizes(o fleet.Observed) map[fleet.LayerID]int {
	sizes := map[fleet.LayerID]int{}
	for i := range o.Hosts {
		for _, node := range byNode(o.Hosts[i].Instances) {
			sizes[node[0].LayerID()]++
		}
	}
	return sizes
}

// byNode puts the instances of each node together.
func byNode(instances []fleet.Instance) [][]fleet.Instance {
	sorted := slices.Clone(instances)
	slices.SortStableFunc(sorted, func(a, b fleet.Instance) int {
		return cmp.Or(a.LayerID().Compare(b.LayerID()), cmp.Compare(a.Node, b.Node))
	})
	var nodes [][]fleet.Instance
	for _, in := range sorted {
		if n := len(nodes); n > 0 && nodes[n-1][0].NodeID == in.NodeID {
			nodes[n-1] = append(nodes[n-1], in)
		} else {
			nodes = append(nodes, []fleet.Instance{in})
		}
	}
	return nodes
}

// leaseThere takes the leases of the keepers that are there; none is made for the purpose. Where one is held by
// somebody else nothing is removed anywhere; where one can't be had, nothing on its host.
func (c *Controller) leaseThere(ctx context.Context, clearings []*clearing) error {
	for _, u := range clearings {
		if u.h.keeper() == nil {
			if problem := u.h.problem(); problem != "" {
				c.notice("warning", u.h.name, problem+": whether another evenkeel is at work there can't be told")
			}
			continue
		}
		err := c.lease(ctx, u.h)
		if isHeld(err) {
			return err
		}
		u.leased = err == nil
		u.fail(err)
	}
	return nil
}
