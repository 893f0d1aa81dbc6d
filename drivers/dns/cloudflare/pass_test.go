package cloudflare_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/dns/cloudflare"
	emulator "github.com/evenkeel/evenkeel/integration/lab/cloudflare"
	"github.com/evenkeel/evenkeel/reconciler/external"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
)

// TestPasses: 500 records are made within the limit of calls, and read and compared with one call a pass; a node that
// leaves meanwhile doesn't wait for them.
func TestPasses(t *testing.T) {
	inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
		s.SetLimit(1205, 5*time.Minute)
		leaver := fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}
		var out atomic.Bool
		wanted := []names.Name{{Environment: "shop", Name: "a.example.com", TTL: time.Minute, Targets: []names.Target{
			{Node: leaver, Data: []names.Data{names.Address(netip.MustParseAddr("203.0.113.1"))}},
			{Node: fleet.NodeID{Environment: "shop", Layer: "web", Node: 2}, Data: []names.Data{names.Address(netip.MustParseAddr("203.0.113.2"))}},
		}}}
		for i := range 498 {
			wanted = append(wanted, names.Name{Environment: "shop", Name: fmt.Sprintf("Name%d.example.com.", i), Proxied: i%2 == 0, TTL: time.Hour, Targets: wanted[0].Targets[1:]})
		}
		n := external.New(external.Options{
			Fleet: "production", May: func() error { return nil }, Providers: []external.Provider{{Name: "public", Zone: zoneName, Records: z}},
			Wanted: func(string) external.Wanted {
				now := append([]names.Name(nil), wanted...)
				now[0].Targets = append([]names.Target(nil), wanted[0].Targets...)
				now[0].Targets[0].Out = out.Load()
				return external.Wanted{Names: now}
			},
		})
		done := make(chan error, 1)
		go func() { done <- n.Settle(t.Context()) }()
		time.Sleep(30 * time.Second)
		require.Less(t, len(s.Records(zoneName)), 200, "it is at work")
		out.Store(true)
		began := time.Now()
		_, err := n.Withdraw(t.Context(), leaver)
		require.NoError(t, err)
		require.Less(t, time.Since(began), 15*time.Second)
		require.NoError(t, <-done)
		require.Len(t, s.Records(zoneName), 499)

		s.Forget()
		require.NoError(t, n.Settle(t.Context()))
		require.Equal(t, 1, s.Count(""), "a second pass reads one page and changes nothing")
		require.Equal(t, http.MethodGet, s.Calls()[0].Method)
	})
}
