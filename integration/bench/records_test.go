package bench

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/cloudflare"
)

// Passes of a running evenkeel over a zone with 500 records of its own, two for each of 250 names, which are as they
// are wanted: how many calls each takes of the provider, an emulated Cloudflare.
func BenchmarkRecords(b *testing.B) {
	const names, perName, passes = 250, 2, 10
	p := cloudflare.New()
	p.AddZone("example.com")
	server := httptest.NewServer(p)
	defer server.Close()
	b.Setenv("CLOUDFLARE_API_TOKEN", cloudflare.Token)
	s := newSiteOver(b, plain()+`, publicAddresses: [203.0.113.1, "2001:db8::1"]`)
	plainFleet, err := os.ReadFile(filepath.Join(s.dir, "fleet.yaml"))
	require.NoError(b, err)
	s.write("fleet.yaml", string(plainFleet)+fmt.Sprintf(
		"  dns: {external: [{name: public, provider: cloudflare, zone: example.com, ttl: 60s, baseURL: %q, credentials: {tokenFrom: {env: CLOUDFLARE_API_TOKEN}}}]}\n",
		server.URL+cloudflare.BasePath))
	layers := strings.TrimSuffix(layer("web", 1, 1), "\n") + "\n      ports: [{name: http, port: 8080, publish: 0}]\n  dns:\n"
	for i := range names {
		name := fmt.Sprintf("n%d.example.com", i)
		layers += "    - {name: " + name + ", layer: web}\n"
		for kind, content := range map[string]string{"A": "203.0.113.1", "AAAA": "2001:db8::1"} {
			p.Add("example.com", cloudflare.Record{Name: name, Type: kind, Content: content, TTL: 60, Comment: new("evenkeel:" + s.name + "/shop")})
		}
	}
	s.environment(layers)
	b.Cleanup(func() { // what removes the site knows no provider
		s.write("fleet.yaml", string(plainFleet))
		s.environment(anchor)
	})
	out, err := s.process(b.Context(), "apply").CombinedOutput()
	require.NoError(b, err, "%s", out)
	p.Forget()

	cmd := s.process(b.Context(), "run", "--interval", "1s")
	require.NoError(b, cmd.Start())
	wait(b, func() bool { return p.Count(http.MethodGet) > passes })
	require.NoError(b, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(b, cmd.Wait())
	read, calls := 0, 0
	for _, c := range p.Calls() {
		require.Equal(b, http.MethodGet, c.Method, "nothing is to be changed")
		if !strings.HasSuffix(c.Path, "/dns_records") {
			continue // the zone is looked up by its name once
		}
		calls++
		query, err := url.ParseQuery(c.Query)
		require.NoError(b, err)
		if page := query.Get("page"); page == "" || page == "1" {
			read++
		}
	}
	require.Len(b, p.Records("example.com"), names*perName)
	each := float64(calls) / float64(read)
	b.ReportMetric(each, "calls/pass")
	note("500 records at Cloudflare: calls of a pass", fmt.Sprintf("%.1f", each), "1 page", fmt.Sprintf("%.1f", each), "≤ 1 a page", each <= 1)
}
