package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/cloudflare"
	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler/doctor"
	"github.com/evenkeel/evenkeel/spec"
)

// doctor runs `evenkeel doctor` and reads what it found.
func (s *site) doctor() (doctor.Report, outcome) {
	s.t.Helper()
	o := s.evenkeel("doctor", "-o", "json")
	var r doctor.Report
	require.NoError(s.t, json.Unmarshal([]byte(o.stdout), &r), "%s", o)
	require.Equal(s.t, r.Well, o.code == 0, "%s", o)
	require.Empty(s.t, o.stderr, "all is in the report")
	return r, o
}

// diagnosed requires a finding of an area on a host.
func diagnosed(t *testing.T, r doctor.Report, want doctor.Finding) {
	t.Helper()
	for _, f := range r.Findings {
		if f.Severity == want.Severity && f.Area == want.Area && f.Host == want.Host && f.Subject == want.Subject && strings.Contains(f.What, want.What) {
			require.Contains(t, f.Remedy, want.Remedy)
			return
		}
	}
	text, _ := json.MarshalIndent(r, "", "  ")
	require.Failf(t, "not found", "%+v in\n%s", want, text)
}

// late is an engine behind a proxy that puts its clock back by an hour.
func late(t *testing.T, h *hosts.Host) (endpoint string) {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: strings.TrimPrefix(h.Endpoint(), "tcp://")})
	proxy.FlushInterval = -1
	proxy.ModifyResponse = func(r *http.Response) error {
		if path.Base(r.Request.URL.Path) != "info" {
			return nil
		}
		info := map[string]any{}
		if err := json.NewDecoder(r.Body).Decode(&info); err != nil {
			return err
		}
		r.Body.Close()
		info["SystemTime"] = time.Now().Add(-time.Hour).Format(time.RFC3339Nano)
		text, err := json.Marshal(info)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
		r.Header.Set("Content-Length", strconv.Itoa(len(text)))
		return err
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return "tcp://" + server.Listener.Addr().String()
}

// TestDoctorOnAWellFleet: over ssh alone, before anything is on the hosts and after.
func TestDoctorOnAWellFleet(t *testing.T) {
	t.Parallel()
	own := hosts.Start(t, 2)
	require.NoError(t, loadImages(t.Context(), own))
	site := newSite(t, own.Hosts()...)
	site.reach = map[string]spec.Host{}
	for _, h := range own.Hosts() {
		f, err := h.StartSSH(t.Context())
		require.NoError(t, err)
		site.reach[h.Name()] = spec.Host{Name: h.Name(), Endpoint: f.Endpoint, SSH: spec.SSH{Key: f.Key, KnownHosts: f.KnownHosts}}
	}
	site.writeFleet()
	site.environment("shop", `    - {name: web, image: "node:1", pull: never, replicas: 2, ports: [{name: http, port: 8080, publish: 18080}],
       placement: {antiAffinity: required}, updatePolicy: {delay: 0s, minHealthy: 0s}}
`)
	r, o := site.doctor()
	require.True(t, r.Well, "%s", o)
	require.Equal(t, doctor.Checked{Hosts: 2, Reached: 2, Environments: 1}, r.Checked)
	diagnosed(t, r, doctor.Finding{Severity: doctor.Advice, Area: doctor.Keeper, Host: "h1", What: "nothing of the fleet is on it yet", Remedy: "evenkeel apply"})

	site.apply()
	r, o = site.doctor()
	require.True(t, r.Well, "%s", o)
	require.Equal(t, 2, r.Checked.Keepers)
	for _, f := range r.Findings {
		require.NotContains(t, []doctor.Area{doctor.Keeper, doctor.Clock, doctor.Disk, doctor.Port, doctor.Fleet}, f.Area, "%+v", f)
	}
	o = site.evenkeel("doctor")
	require.Equal(t, 0, o.code, "%s", o)
	require.Contains(t, o.stdout, "is well")
	require.LessOrEqual(t, strings.Count(o.stdout, "\n"), 8, "%s", o)
	require.NotContains(t, o.stdout, "problem")
	require.Equal(t, 0, site.evenkeel("plan", "--exit-code").code, "it changed nothing")
}

// TestDoctorFindsAllFaultsAtOnce: each of several hosts has its own, and none hides another.
func TestDoctorFindsAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	own := hosts.Start(t, 4)
	require.NoError(t, loadImages(t.Context(), own))
	down, changed, slow, crowded := own.Host(1), own.Host(2), own.Host(3), own.Host(4)
	site := newSite(t, own.Hosts()...)
	f, err := changed.StartSSH(t.Context())
	require.NoError(t, err)
	wrong := filepath.Join(t.TempDir(), "known_hosts")
	known, err := os.ReadFile(f.KnownHosts)
	require.NoError(t, err)
	name, _, _ := strings.Cut(string(known), " ")
	const otherKey = " ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"
	require.NoError(t, os.WriteFile(wrong, []byte(name+otherKey), 0o600))
	right := map[string]spec.Host{}
	site.reach = map[string]spec.Host{
		"h2": {Name: "h2", Endpoint: f.Endpoint, SSH: spec.SSH{Key: f.Key, KnownHosts: wrong}},
		"h3": {Name: "h3", Endpoint: late(t, slow), Insecure: true, Address: slow.Address().String()},
	}
	dns := cloudflare.New()
	dns.AddZone("example.com")
	dns.Add("example.com", cloudflare.Record{Name: "shop.example.com", Type: "CNAME", Content: "elsewhere.example.net", TTL: 1})
	dns.SetReadOnly(true)
	server := httptest.NewServer(dns)
	defer server.Close()
	site.env = []string{"CLOUDFLARE_API_TOKEN=" + cloudflare.Token}
	const zone = "      - {name: %s, provider: cloudflare, zone: %s, baseURL: %q, credentials: {tokenFrom: {env: CLOUDFLARE_API_TOKEN}}}\n"
	site.extra = "  dns:\n    external:\n" + fmt.Sprintf(zone, "public", "example.com", server.URL+cloudflare.BasePath) +
		fmt.Sprintf(zone, "lost", "example.org", server.URL+cloudflare.BasePath)
	site.writeFleet()
	site.write("registry.yaml", `apiVersion: evenkeel.dev/v1
kind: Environment
metadata: {name: far}
spec:
  layers: [{name: app, image: "127.0.0.1:1/app:1"}]
`)
	site.environment("shop", `    - {name: web, image: "node:1", pull: never, replicas: 2, ports: [{name: http, port: 8080, publish: 18080}, {name: more, port: 8081, publish: 18081}],
       placement: {antiAffinity: required}, updatePolicy: {delay: 0s, minHealthy: 0s}}
  dns:
    - {name: shop.example.com, layer: web, provider: public}
`)
	byHand(t, crowded, "run", "-d", "--name", "squatter", "-p", "18080:8080", "node:1")
	byHand(t, crowded, "run", "-d", "--name", "evenkeel-keeper-old", "--label", "dev.evenkeel.fleet=old", "--label", "dev.evenkeel.role=keeper", "node:1")
	byHand(t, crowded, "volume", "create", "--label", "dev.evenkeel.fleet=old", "old_shop_db_1_data")
	l, err := slow.Listen(t.Context(), "tcp", slow.Address().String()+":18081")
	require.NoError(t, err)
	defer l.Close()
	require.NoError(t, down.StopEngine(t.Context()))
	t.Cleanup(func() { // for the end of the test to find nothing of the fleet there
		require.NoError(t, down.StartEngine(context.Background()))
		site.reach, site.extra = right, ""
		site.environment("shop", "    - {name: web, image: \"node:1\", pull: never}\n")
		site.writeFleet()
		site.commit()
	})

	r, o := site.doctor()
	require.Equal(t, doctor.Checked{Hosts: 4, Reached: 2, Environments: 2, Images: 1, Zones: 2}, r.Checked, "%s", o)
	for _, want := range []doctor.Finding{
		{Severity: doctor.Problem, Area: doctor.Host, Host: "h1", What: "out of reach", Remedy: "docker -H " + down.Endpoint()},
		{Severity: doctor.Problem, Area: doctor.Host, Host: "h2", What: "is another than the one in " + wrong, Remedy: "ssh root@"},
		{Severity: doctor.Problem, Area: doctor.Clock, Host: "h3", What: "behind this machine's", Remedy: "timedatectl"},
		{Severity: doctor.Problem, Area: doctor.Port, Host: "h3", Subject: "18081/tcp", What: "something that is no container"},
		{Severity: doctor.Problem, Area: doctor.Port, Host: "h4", Subject: "18080/tcp", What: "container squatter, which isn't evenkeel's", Remedy: "stop that one"},
		{Severity: doctor.Warning, Area: doctor.Fleet, Host: "h4", Subject: "old", What: "1 keeper, 1 volume of fleet", Remedy: "evenkeel uninstall"},
		{Severity: doctor.Problem, Area: doctor.Registry, Subject: "127.0.0.1:1/app:1"},
		{Severity: doctor.Warning, Area: doctor.Host, Host: "h4", What: "in plain text", Remedy: "ssh://"},
		{Severity: doctor.Problem, Area: doctor.DNS, Subject: "example.com", What: "it may read the records, and not edit them", Remedy: "Zone.DNS: Edit"},
		{Severity: doctor.Problem, Area: doctor.DNS, Subject: "example.com", What: "shop.example.com of shop: ", Remedy: "only its own records"},
		{Severity: doctor.Problem, Area: doctor.DNS, Subject: "example.org", What: "it may not see the zone, or there is none of that name", Remedy: "of the zone lost"},
	} {
		diagnosed(t, r, want)
	}
	o = site.evenkeel("doctor")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stdout, fmt.Sprintf("isn't well: %d problems", r.Count(doctor.Problem)))
	o = site.evenkeel("doctor", "-o", "markdown")
	require.Contains(t, o.stdout, "container squatter")
	require.Empty(t, site.observe(crowded).Instances, "nothing was changed")
	require.Empty(t, site.observe(crowded).Keepers)
	require.Len(t, dns.Records("example.com"), 1)
}
