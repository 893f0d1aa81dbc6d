package drift_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/drift"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

func TestRecordsAtProviders(t *testing.T) {
	w := newWorld()
	w.spec.Fleet.External = []spec.ExternalZone{{Name: "public", Zone: "example.com", TTL: time.Minute}}
	for i := range w.spec.Fleet.Hosts {
		w.spec.Fleet.Hosts[i].PublicAddresses = []netip.Addr{netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)})}
	}
	w.spec.Environments[0].DNS = []spec.ExternalName{{Name: "shop.example.com", Type: spec.RecordA, Layer: "web", Zone: "public"}}
	record := func(content string, ttl time.Duration) fleet.DNSRecord {
		return fleet.DNSRecord{ID: content, Name: "shop.example.com", Type: "A", Content: content, TTL: ttl, Owner: "production/shop"}
	}
	made := []fleet.DNSRecord{record("203.0.113.1", time.Minute), record("203.0.113.2", time.Minute)}
	in := drift.Input{
		Revision: "r1", Desired: w.spec, Observed: fleet.Observed{Hosts: w.hosts}, Now: noon,
		Zones: []plan.Zone{{Name: "public", Records: made}},
		Said:  map[string]string{fleet.SaidKey("public", "shop.example.com"): fleet.SaidDigest(made)},
	}
	require.Empty(t, drift.Compute(in).Drift)

	in.Zones[0].Records = []fleet.DNSRecord{record("203.0.113.2", time.Hour), record("198.51.100.9", time.Minute)}
	var got []string
	r := drift.Compute(in)
	for _, f := range r.Drift {
		require.Equal(t, []string{"record", "public", "shop", ""}, []string{f.What, f.Zone, f.Environment, f.Host})
		got = append(got, f.Name+" "+f.Field+": "+f.Wanted+" > "+f.Found+", "+f.Remedy)
	}
	require.ElementsMatch(t, []string{
		"shop.example.com A 198.51.100.9 record:  > there, evenkeel removes it",
		"shop.example.com A 203.0.113.1 record: there > missing, evenkeel makes it again",
		"shop.example.com A 203.0.113.2 ttl: 1m0s > 1h0m0s, evenkeel sets it back",
	}, got)

	foreign := func(typ, content string) fleet.DNSRecord {
		return fleet.DNSRecord{ID: "f" + content, Name: "shop.example.com", Type: typ, Content: content, TTL: time.Minute}
	}
	const beside = ", it is left alone, and clients are sent there too: remove it if it isn't meant to be there"
	others := made[0]
	others.Owner = ""
	neighbours := foreign("A", "198.51.100.9")
	neighbours.Owner = "staging/shop"
	for name, c := range map[string]struct {
		records []fleet.DNSRecord
		want    string
	}{
		"a record of others' beside ours": {append(made[:2:2], foreign("A", "198.51.100.9")), "shop.example.com A 198.51.100.9 record:  > there, and not evenkeel's" + beside},
		"another fleet's beside ours":     {append(made[:2:2], neighbours), "shop.example.com A 198.51.100.9 record:  > there, and the fleet staging's" + beside},
		"an alias of others' instead of ours": {[]fleet.DNSRecord{foreign("CNAME", "example.net")},
			"shop.example.com record: A 203.0.113.1 and 1 more > CNAME example.net, it isn't evenkeel's and is left alone: remove it, or use another name"},
		"a comment of ours taken off": {[]fleet.DNSRecord{others, made[1]}, "shop.example.com A 203.0.113.1 comment: " + fleet.DNSMark("production/shop") +
			" > none of this fleet, without it the record isn't evenkeel's and is left alone: put the comment back, or remove the record, and it is made anew"},
	} {
		in.Zones[0].Records = c.records
		found := drift.Compute(in).Drift
		require.Len(t, found, 1, name)
		f := found[0]
		require.Equal(t, []string{"record", "public", "shop"}, []string{f.What, f.Zone, f.Environment}, name)
		require.Equal(t, c.want, f.Name+" "+f.Field+": "+f.Wanted+" > "+f.Found+", "+f.Remedy, name)
	}

	in.Desired.Fleet.External[0].Provider = spec.ProviderRFC2136
	in.Zones[0].Records = []fleet.DNSRecord{others, made[1]}
	require.Equal(t, "TXT record", drift.Compute(in).Drift[0].Field)
	require.Contains(t, drift.Compute(in).Drift[0].Remedy, "put the TXT record back")

	in.Zones[0].Records = []fleet.DNSRecord{foreign("CNAME", "example.net")}
	in.Said = map[string]string{}
	require.Empty(t, drift.Compute(in).Drift, "what it was to say isn't known: that is still to be done, and no drift")

	in.Zones[0].Problem = "no answer"
	require.Equal(t, []string{"the zone example.com: no answer"}, drift.Compute(in).Unknown)
}
