package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/nameserver"
)

const corpWeb = `
    - name: web
      image: node:1
      replicas: 3
      placement: {antiAffinity: required}
      ports: [{name: http, port: 8080, publish: 0}]
      stop: {grace: 2s}
      updatePolicy: {delay: 0s, minHealthy: 0s, drainTimeout: 1s}
  dns:
    - {name: shop.corp.example, layer: web}
`

// TestRecordsAtANameServer has a fleet's names at a real BIND: they are made, left alone, put back, and removed.
func TestRecordsAtANameServer(t *testing.T) {
	t.Parallel()
	const zone = "corp.example"
	server := nameserver.Start(t, nameserver.BIND, zone) // it ends after the site, which speaks to it
	s := newSite(t, lab.Host(1), lab.Host(2), lab.Host(3))
	s.public = map[string]string{}
	for i, h := range s.hosts {
		s.public[h.Name()] = fmt.Sprintf("203.0.113.%d", i+1)
	}
	signedBy := func(key string) {
		s.env = []string{"TSIG_SECRET=" + server.Secrets[key]}
		s.extra = fmt.Sprintf("  dns:\n    external:\n      - {name: corp, provider: rfc2136, zone: %s, server: %q, tsig: {name: %s, secretFrom: {env: TSIG_SECRET}}}\n",
			zone, server.Address, key)
		s.writeFleet()
		s.environment("shop", corpWeb)
	}
	signedBy(nameserver.ReadOnly)
	requireSays(t, s.evenkeel("doctor"), "the right to change the zone, its TXT records included", "see that the key in `tsig` of the zone corp")
	signedBy(nameserver.Full)
	server.Change(zone, "@ MX 10 mail.example.net.", "www CNAME elsewhere.example.net.", "api 120 A 198.51.100.9", `_evenkeel.api TXT "evenkeel:another/shop" "A 198.51.100.9"`)
	foreign := server.Records(zone)
	var want []string
	for i := range s.hosts {
		address := fmt.Sprintf("203.0.113.%d", i+1)
		want = append(want, "shop.corp.example. 60 IN A "+address, fmt.Sprintf(`_evenkeel.shop.corp.example. 300 IN TXT "evenkeel:%s/shop" "A %s"`, s.fleet, address))
	}
	want = append(want, foreign...)
	slices.Sort(want)

	require.Contains(t, s.evenkeel("plan").stdout, "shop.corp.example A 203.0.113.2", "a plan looks ahead")
	require.Equal(t, foreign, server.Records(zone))
	s.apply()
	require.Equal(t, want, server.Records(zone))
	serial := server.Serial(zone)
	s.apply()
	require.Equal(t, serial, server.Serial(zone), "a second pass changes nothing")
	require.Equal(t, 0, s.evenkeel("plan", "--exit-code").code)

	server.Stop()
	s.environment("shop", corpWeb+"    - {name: new.corp.example, layer: web}\n")
	requireSays(t, s.evenkeel("apply"), "in the zone corp.example at "+server.Address+": nobody answers there (connection refused)")
	server.Resume()
	s.environment("shop", corpWeb)

	server.Change(zone, "-shop A 203.0.113.1")
	o := s.evenkeel("drift", "--exit-code")
	require.Equal(t, 2, o.code, "%s", o)
	require.Regexp(t, `corp +record shop.corp.example A 203.0.113.1 +record +there → missing .* evenkeel makes it again`, o.stdout)
	run := s.run("--interval", "1s")
	eventually(t, patience, func() error {
		if now := server.Records(zone); !slices.Equal(now, want) {
			return fmt.Errorf("%s", strings.Join(now, "\n"))
		}
		return nil
	})
	run.requireMetrics(`evenkeel_dns_zone_known{zone="corp"} 1`)
	_, metrics := run.get("/metrics")
	require.Regexp(t, `evenkeel_dns_calls_total\{method="AXFR",outcome="NOERROR",zone="corp"\} [1-9]`, metrics)
	run.kill()

	eventually(t, patience, func() error { // what was killed holds its leases for a moment
		if o = s.evenkeel("uninstall"); o.code != 0 {
			return fmt.Errorf("%s", o)
		}
		return nil
	})
	require.Contains(t, o.stdout, "3 external records")
	require.Equal(t, foreign, server.Records(zone))
}
