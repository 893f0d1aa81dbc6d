package reconciler

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
)

func TestWhatIsLeftIsSaidOnce(t *testing.T) {
	p := plan.Plan{
		Refused: []string{"hn1 has a network that isn't this fleet's"},
		Layers: []plan.Layer{
			{Environment: "shop", Layer: "db", Waiting: []plan.Waiting{{Node: 1, Reason: "no room"}}},
			{Environment: "shop", Layer: "web", Waiting: []plan.Waiting{
				{Node: 1, Reason: "no room"}, {Node: 2, Reason: "is elsewhere"}, {Node: 4, Reason: "no room"},
			}},
			{Environment: "shop", Layer: "jobs", Paused: "node 1 failed", Waiting: []plan.Waiting{{Node: 1, Reason: "failed"}}},
		},
	}
	require.Equal(t, []string{
		"hn1 has a network that isn't this fleet's",
		"shop/db/1 waits: no room",
		"shop/web/1, 4 wait: no room",
		"shop/web/2 waits: is elsewhere",
		"shop/jobs is paused: node 1 failed; commit a change of the layer (a new text in its redeploy tries the same again), or mend the node",
	}, left(p))
}

func TestNodesThatWaitSayWhyInTheirRows(t *testing.T) {
	db := fleet.LayerID{Environment: "shop", Layer: "db"}
	l := LayerStatus{Nodes: []NodeStatus{
		{Node: 1, Host: "h1", Serving: true}, {Node: 2, Host: "h1", Reason: "is exited"}, {Node: 5, Host: "h2", Reason: "doesn't answer"},
	}}
	l.addWaiting(&plan.Layer{
		Waiting: []plan.Waiting{{Node: 1, Reason: "no image"}, {Node: 2, Reason: "no image"}, {Node: 4, Reason: "no room"}, {Node: 5, Reason: "doesn't answer"}},
		Operations: []plan.Operation{
			{Node: 3, Kind: plan.Create, After: []fleet.LayerID{db}},
			{Node: 6, Kind: plan.Create, After: []fleet.LayerID{db, {Environment: "shop", Layer: "cache"}}},
			{Node: 7, Kind: plan.Create},
		},
	})
	require.Equal(t, []NodeStatus{
		{Node: 1, Host: "h1", Serving: true, Waits: "no image"},
		{Node: 2, Host: "h1", Reason: "is exited", Waits: "no image"},
		{Node: 3, Reason: "waits until shop/db runs"},
		{Node: 4, Reason: "no room"},
		{Node: 5, Host: "h2", Reason: "doesn't answer"},
		{Node: 6, Reason: "waits until shop/db, shop/cache run"},
	}, l.Nodes)
}

func TestANodeThatServesSaysWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1, r := newEngine("h1"), newRepo("h1")
		r.write("shop.yaml", environment("shop", "app:1", "h1"))
		c := controller(t, r, h1)
		defer func() { require.NoError(t, c.Close()) }()
		_, err := c.Apply(t.Context(), nil)
		require.NoError(t, err)
		row := func() NodeStatus {
			s, err := c.Status(t.Context())
			require.NoError(t, err)
			require.Len(t, s.Environments[0].Layers[0].Nodes, 1)
			return s.Environments[0].Layers[0].Nodes[0]
		}
		require.Empty(t, row().Waits)
		h1.resolve, _ = failing(errNowhere)
		r.write("shop.yaml", environment("shop", "registry.example.com/app:2", "h1"))
		require.True(t, row().Serving)
		require.Empty(t, row().Reason)
		require.Equal(t, "image registry.example.com/app:2 isn't on h1 and can't be fetched: manifest unknown: in no registry; check the name and the registry, or load it there", row().Waits)
	})
}
