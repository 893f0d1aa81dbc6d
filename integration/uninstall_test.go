package integration

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What is removed is shown, counted and in the history; what is kept is named.
func TestUninstallLeavesNothingUnsaid(t *testing.T) {
	t.Parallel()
	h := lab.Host(2)
	s := newSite(t, h)
	s.environment("shop", "    - {name: db, image: \"node:1\", replicas: 2, volumes: [{name: data, path: /data}], updatePolicy: {minHealthy: 0s, delay: 0s}}\n")
	s.apply()
	volumes := s.observe(h).Volumes
	require.Len(t, volumes, 2)

	o := s.evenkeel("uninstall")
	require.Zero(t, o.code, "%s", o)
	require.Contains(t, o.stderr, "shop/db/2 on "+h.Name()+": remove done", "%s", o)
	require.Contains(t, o.stderr, "removed network "+s.network("shop"))
	require.Contains(t, o.stdout, "Removed of fleet "+s.fleet+": 2 nodes, 2 networks, 1 keeper, 0 volumes; 1 host cleared.\nVolumes kept")
	require.Contains(t, o.stdout, volumes[1].Name)
	st := s.observe(h)
	require.Empty(t, st.Instances)
	require.Empty(t, st.Keepers)
	require.Equal(t, volumes, st.Volumes)
	for _, n := range st.Networks {
		require.NotEqual(t, s.fleet, n.Fleet, "%s is still there", n.Name)
	}

	o = s.evenkeel("history")
	require.Regexp(t, `shop/db/1 +`+h.Name()+` +remove +done in .* uninstall`, o.stdout)
	require.Regexp(t, s.network("shop")+` +`+h.Name()+` +remove network +done`, o.stdout)

	o = s.evenkeel("uninstall", "--volumes")
	require.Contains(t, o.stdout, "0 nodes, 0 networks, 0 keepers, 2 volumes; 1 host cleared.", "%s", o)
	require.Empty(t, s.observe(h).Volumes)
}
