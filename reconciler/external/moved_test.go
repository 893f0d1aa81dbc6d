package external_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/external"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
	"github.com/evenkeel/evenkeel/reconciler/names/memory"
)

// green is a node of another layer, which a name is to lead to now.
var green = fleet.NodeID{Environment: "shop", Layer: "green", Node: 1}

// moved is a name that led to node 1 of shop/web, and that another layer of its environment has now.
func moved(t *testing.T, kind, from, to string, as func(external.Zone) external.Zone) (*memory.Zone, *external.Names) {
	z := memory.New("example.com")
	require.NoError(t, z.Put(fleet.DNSRecord{Name: "shop.example.com", Type: kind, Content: from, TTL: time.Minute, Owner: "production/shop"}))
	wanted := []names.Name{{
		Environment: "shop", Name: "shop.example.com", TTL: time.Minute,
		Targets: []names.Target{{Node: green, Data: []names.Data{{Type: kind, Content: to}}}},
	}}
	return z, external.New(external.Options{
		Fleet: "production", May: func() error { return nil },
		Wanted:    func(string) external.Wanted { return external.Wanted{Names: wanted} },
		Leads:     func(fleet.NodeID) []names.Data { return []names.Data{{Type: kind, Content: from}} },
		Providers: []external.Provider{{Name: "public", Zone: "example.com", Records: as(z)}},
	})
}

// A commit gives a name to another layer, and removes or changes the nodes that it led to.
func TestANameThatAnotherLayerHasNow(t *testing.T) {
	for _, test := range []struct{ kind, from, to string }{
		{fleet.TypeA, "203.0.113.1", "203.0.113.2"},
		{fleet.TypeCNAME, "hn1.example.net", "hn2.example.net"},
	} {
		t.Run(test.kind, func(t *testing.T) {
			var watched *watchedZone
			z, n := moved(t, test.kind, test.from, test.to, func(z external.Zone) external.Zone {
				watched = &watchedZone{Zone: z}
				return watched
			})
			require.NoError(t, n.Read(t.Context()))
			leave, err := n.Withdraw(t.Context(), node(1))
			require.NoError(t, err)
			records, err := z.Records(t.Context())
			require.NoError(t, err)
			require.Len(t, records, 1)
			require.Equal(t, test.to, records[0].Content, "nobody is sent to the node any more")
			require.False(t, watched.empty, "the name is never without a record")
			require.Positive(t, leave.Lasts, "caches are waited for")
		})
	}
	t.Run("and a zone that lags", func(t *testing.T) {
		_, n := moved(t, fleet.TypeA, "203.0.113.1", "203.0.113.2", func(z external.Zone) external.Zone { return deaf{z.(*memory.Zone)} })
		require.NoError(t, n.Read(t.Context()))
		_, err := n.Withdraw(t.Context(), node(1))
		require.EqualError(t, err, "shop.example.com A 203.0.113.1 still leads to the host of shop/web/1 in the zone example.com")
	})
}

// watchedZone notes whether it was ever left without a record.
type watchedZone struct {
	external.Zone
	empty bool
}

func (z *watchedZone) Delete(ctx context.Context, r fleet.DNSRecord) error {
	err := z.Zone.Delete(ctx, r)
	left, _ := z.Records(ctx) // it is in memory
	z.empty = z.empty || len(left) == 0
	return err
}
