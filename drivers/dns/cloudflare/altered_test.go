package cloudflare_test

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/dns/cloudflare"
	emulator "github.com/evenkeel/evenkeel/integration/lab/cloudflare"
	"github.com/evenkeel/evenkeel/reconciler/external"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
)

// TestARecordThatIsKeptOtherwise: what the provider makes of a record is told in each pass, and written again only when
// somebody changes the record, or the spec.
func TestARecordThatIsKeptOtherwise(t *testing.T) {
	inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
		wanted := names.Name{Environment: "shop", Name: "a.example.com", TTL: time.Minute, Targets: []names.Target{
			{Node: fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}, Data: []names.Data{names.Address(netip.MustParseAddr("203.0.113.1"))}},
		}}
		n := external.New(external.Options{
			Fleet: "production", May: func() error { return nil }, Providers: []external.Provider{{Name: "public", Zone: zoneName, Records: z}},
			Wanted: func(string) external.Wanted { return external.Wanted{Names: []names.Name{wanted}} },
		})
		passes := func(what string, posts, patches int, warned bool) {
			t.Helper()
			s.Forget()
			for range 10 {
				require.NoError(t, n.Settle(t.Context()))
				time.Sleep(30 * time.Second)
			}
			require.Equal(t, []int{posts, patches}, []int{s.Count(http.MethodPost), s.Count(http.MethodPatch)}, what)
			v := n.Views()[0]
			r := names.Compute(names.Zone{Fleet: "production", Name: zoneName, Records: v.Records, Altered: v.Altered}, []names.Name{wanted})
			require.Empty(t, r.Changes, what)
			require.Equal(t, warned, len(r.Warnings) > 0, "%s: %v", what, r.Warnings)
			for _, w := range r.Warnings {
				require.Regexp(t, `^a\.example\.com A 203\.0\.113\.1 isn't as the spec has it, since its provider keeps it otherwise .*\(ttl 5m0s → .*isn't asked again`, w)
			}
		}
		longer := func(r *emulator.Record) { r.TTL = max(r.TTL, 300) }
		s.Alter(zoneName, longer)
		passes("it is made", 1, 0, true)
		wanted.TTL = 2 * time.Minute
		passes("the spec changes", 0, 1, true)
		s.Change(zoneName, s.Records(zoneName)[0].ID, func(r *emulator.Record) { r.TTL = 600 })
		passes("somebody changes it", 0, 1, true)
		wanted.TTL = 5 * time.Minute
		passes("the spec has what is kept", 0, 0, false)
		wanted.TTL = time.Minute
		s.Alter(zoneName, nil)
		passes("it is kept as it was asked for", 0, 1, false)
	})
}
