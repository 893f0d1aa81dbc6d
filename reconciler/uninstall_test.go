package reconciler

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// kept is a journal in memory.
type kept struct {
	mu    sync.Mutex
	lines []string
}

func (k *kept) Append(p rollout.Progress) error {
	if !p.Phase.Ended() {
		return nil
	}
	k.add(p.Host + " " + string(p.Operation) + " " + p.Environment + "/" + p.Layer + ": " + string(p.Phase) + p.Error)
	return nil
}

func (k *kept) AppendStep(s HostStep) error {
	k.add(s.Host + " " + s.String())
	return nil
}

func (k *kept) add(line string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lines = append(k.lines, line)
}

// all are the lines of one host.
func (k *kept) of(host string) (lines []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range k.lines {
		if l[:len(host)] == host {
			lines = append(lines, l)
		}
	}
	return lines
}

// journaled is a controller with a journal.
func journaled(t *testing.T, r *repo, engines ...*engine) (*Controller, *kept) {
	c, k := controller(t, r, engines...), &kept{}
	c.opts.Journal = k
	return c, k
}

func TestUninstallSaysWhatItRemoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		h2.state.Volumes = []fleet.Volume{{NodeID: fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}, Host: "h2", Name: "f_shop_web_1_data"}}
		c, journal := journaled(t, r, h1, h2)
		removed, err := c.Uninstall(t.Context(), false)
		require.NoError(t, err)
		require.Equal(t, Uninstalled{
			Fleet: "f", Hosts: 2, Nodes: 2, Networks: 4, Keepers: 2, Kept: []KeptVolume{{Host: "h2", Volume: "f_shop_web_1_data"}},
		}, removed)
		require.Equal(t, []string{
			"h2 remove shop/web: done",
			"h2 removed network evenkeel_f_shop: uninstall",
			"h2 removed keeper evenkeel-keeper-f: uninstall",
			"h2 removed network 0-evenkeel-f: uninstall",
			"h2 removed volume " + fleet.KeeperVolume("f") + ": uninstall",
		}, journal.of("h2"))
		require.NotContains(t, h2.removed, "volume f_shop_web_1_data")
		require.NotContains(t, h2.removed, "image ", "an image that isn't known isn't removed")
		require.Empty(t, h2.state.Networks)

		removed, err = c.Uninstall(t.Context(), true)
		require.NoError(t, err)
		require.Equal(t, 1, removed.Volumes)
		require.Empty(t, removed.Kept)
		require.Contains(t, h2.removed, "volume f_shop_web_1_data")
		require.NoError(t, c.Close())
	})
}

// Stopping a node can take longer than a lease lasts: whoever has it by then isn't disturbed.
func TestUninstallEndsWithItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		h2.stops = time.Minute
		c, _ := journaled(t, r, h1, h2)
		time.AfterFunc(time.Second, h2.keeper.hush)
		removed, err := c.Uninstall(t.Context(), true)
		require.ErrorContains(t, err, "host h2: removing shop/web/1: ")
		require.ErrorContains(t, err, "nothing more is removed: ")
		require.ErrorIs(t, err, fleet.ErrUnreachable)
		require.Empty(t, h2.removed)
		require.Len(t, h2.state.Networks, 2)
		require.Contains(t, h1.removed, "blog-web-1-g1", "the other host is done")
		require.Equal(t, Uninstalled{Fleet: "f", Hosts: 1, Nodes: 1, Networks: 2, Keepers: 1, Kept: []KeptVolume{}}, removed)
		require.NoError(t, c.Close())
	})
}

func TestUninstallTouchesNoHostWithoutItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h1, h2 := two(t)
		h2.keeper.broken = errors.New("its disk is full")
		c, journal := journaled(t, r, h1, h2)
		removed, err := c.Uninstall(t.Context(), true)
		require.ErrorContains(t, err, "host h2: the lease of h2: its disk is full")
		require.Empty(t, h2.removed)
		require.Empty(t, journal.of("h2"))
		require.Equal(t, 1, removed.Nodes, "the other host is done")

		h2.keeper.broken = nil
		h1.keeper.refuse("somebody@elsewhere (7)")
		h2.keeper.refuse("somebody@elsewhere (7)")
		_, err = c.Uninstall(t.Context(), true)
		require.ErrorContains(t, err, "somebody@elsewhere (7)")
		require.Empty(t, h2.removed)
		require.NoError(t, c.Close())
	})
}
