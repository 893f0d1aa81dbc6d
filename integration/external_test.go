package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/cloudflare"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

const comment = "evenkeel:%s/shop"

// namedWeb is an environment whose name leads to three nodes on hosts of their own. Proxied names are waited for five
// seconds, others a minute at least.
const namedWeb = `
    - name: web
      image: node:1
      replicas: 3
      placement: {antiAffinity: required}
      ports: [{name: http, port: 8080, publish: 0}]
      env: {VERSION: "%d"}
      stop: {grace: 2s}
      updatePolicy: {delay: 0s, minHealthy: 0s, drainTimeout: 1s}
  dns:
    - {name: shop.example.com, layer: web, proxied: true}
`

// provider is a Cloudflare of its own for a site, with a zone of others' records in it.
type provider struct {
	*cloudflare.Server
	mu   sync.Mutex
	past []recordMoment
}

// recordMoment is when a record was asked to be made or removed.
type recordMoment struct {
	at   time.Time
	what string // POST or DELETE of an address
}

// newProvided makes a site with one, and with public addresses of its hosts.
func newProvided(t *testing.T) (*site, *provider) {
	s := newSite(t, lab.Host(1), lab.Host(2), lab.Host(3))
	p, external := provide(s)
	s.extra = "  dns:\n" + external
	s.writeFleet()
	return s, p
}

// provide gives a site a provider and its hosts public addresses; external is the Fleet's part of it.
func provide(s *site) (p *provider, external string) {
	s.t.Helper()
	p = &provider{Server: cloudflare.New()}
	p.AddZone("example.com")
	for _, r := range []cloudflare.Record{
		{Name: "example.com", Type: "MX", Content: "mail.example.net", TTL: 300, Priority: new(10)},
		{Name: "www.example.com", Type: "CNAME", Content: "elsewhere.example.net", TTL: 1},
		{Name: "api.example.com", Type: "A", Content: "198.51.100.9", TTL: 120, Comment: new("evenkeel:another/shop")},
	} {
		p.Add("example.com", r)
	}
	p.Hook(p.note)
	server := httptest.NewServer(p)
	s.atEnd(server.Close) // after the site's own end, which speaks to it
	s.public = map[string]string{}
	for i, h := range s.hosts {
		s.public[h.Name()] = fmt.Sprintf("203.0.113.%d", i+1)
	}
	s.env = []string{"CLOUDFLARE_API_TOKEN=" + cloudflare.Token}
	return p, fmt.Sprintf("    external:\n      - {name: public, provider: cloudflare, zone: example.com, baseURL: %q, credentials: {tokenFrom: {env: CLOUDFLARE_API_TOKEN}}}\n",
		server.URL+cloudflare.BasePath)
}

// note keeps when a record of ours was made or removed.
func (p *provider) note(r *http.Request) {
	what := ""
	switch r.Method {
	case http.MethodDelete:
		for _, rec := range p.Records("example.com") {
			if strings.HasSuffix(r.URL.Path, "/"+rec.ID) {
				what = "DELETE " + rec.Content
			}
		}
	case http.MethodPost:
		body, _ := io.ReadAll(r.Body) // what can't be read the provider can't either
		r.Body = io.NopCloser(bytes.NewReader(body))
		var record cloudflare.Record
		if json.Unmarshal(body, &record) == nil {
			what = "POST " + record.Content
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.past = append(p.past, recordMoment{time.Now(), what})
}

// when is when something was asked for last.
func (p *provider) when(what string) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range slices.Backward(p.past) {
		if m.what == what {
			return m.at
		}
	}
	return time.Time{}
}

// said are the fleet's records and the others, as lines.
func (p *provider) said(s *site) (ours, others []string) {
	for _, r := range p.Records("example.com") {
		line := r.Name + " " + r.Type + " " + r.Content
		if r.Comment != nil && *r.Comment == fmt.Sprintf(comment, s.fleet) {
			ours = append(ours, line)
			continue
		}
		others = append(others, line)
	}
	slices.Sort(ours)
	slices.Sort(others)
	return ours, others
}

var allThree = []string{"shop.example.com A 203.0.113.1", "shop.example.com A 203.0.113.2", "shop.example.com A 203.0.113.3"}

// writes are the calls that change something.
func (p *provider) writes() int { return p.Count("") - p.Count(http.MethodGet) }

// served are the running nodes of the layer on all hosts, by host.
func (s *site) served(layer string) map[string]fleet.Instance {
	all := map[string]fleet.Instance{}
	for _, h := range s.hosts {
		for _, in := range s.nodesOf(h, layer) {
			if in.Running() {
				all[h.Name()] = in
			}
		}
	}
	return all
}

// TestNodesLeaveTheirExternalNames makes nodes with a name at a provider, changes them one by one, and looks after
// each record.
func TestNodesLeaveTheirExternalNames(t *testing.T) {
	t.Parallel()
	s, p := newProvided(t)
	s.environment("shop", fmt.Sprintf(namedWeb, 1))
	_, foreign := p.said(s)

	ahead := s.evenkeel("plan")
	for _, line := range allThree {
		require.Contains(t, ahead.stdout, line, "a plan looks ahead")
	}
	require.Zero(t, p.writes())
	s.apply()
	ours, others := p.said(s)
	require.Equal(t, allThree, ours)
	require.Equal(t, foreign, others)

	p.Forget()
	s.apply()
	require.Zero(t, p.writes(), "a second pass changes nothing")
	require.Equal(t, 2, p.Count(""), "the zone is looked up and read once: %v", p.Calls())
	require.Equal(t, 0, s.evenkeel("plan", "--exit-code").code)

	s.environment("shop", fmt.Sprintf(namedWeb, 2))
	before := s.served("web")
	s.apply()
	ours, others = p.said(s)
	require.Equal(t, allThree, ours)
	require.Equal(t, foreign, others)
	after, last, past := s.served("web"), time.Time{}, s.journal()
	for _, host := range slices.SortedFunc(maps.Keys(after), func(a, b string) int { return after[b].Node - after[a].Node }) {
		in, gone, back := after[host], p.when("DELETE "+s.public[host]), p.when("POST "+s.public[host])
		require.NotEqual(t, before[host].ID, in.ID)
		require.False(t, gone.IsZero(), "its record was taken away")
		require.GreaterOrEqual(t, in.StartedAt.Sub(gone), 5*time.Second, "the provider's edge had time to notice before %s was touched", host)
		require.True(t, back.After(in.StartedAt), "%s is back once it serves", in.NodeID)
		require.True(t, back.Before(past.at("web", in.Node, "done")), "%s isn't done before it is back", in.NodeID)
		require.True(t, gone.After(last), "%s leaves no earlier than the one before it is back", in.NodeID)
		last = back
	}

	o := s.evenkeel("history")
	require.Regexp(t, `shop\.example\.com A 203\.0\.113\.1 +delete record +done .* shop/web/1 is out`, o.stdout)

	o = s.evenkeel("uninstall")
	require.Equal(t, 0, o.code, "%s", o)
	require.Contains(t, o.stdout, "3 external records")
	ours, others = p.said(s)
	require.Empty(t, ours)
	require.Equal(t, foreign, others)
}

// sharedWeb is an environment whose name leads to two nodes of one host, and to one of another.
const sharedWeb = `
    - name: web
      image: node:1
      replicas: 2
      placement: {hosts: {part: web}}
      ports: [{name: http, port: 8080, publish: 0}]
      env: {VERSION: "%d"}
      stop: {grace: 2s}
      updatePolicy: {strategy: %s, delay: 0s, minHealthy: 0s, drainTimeout: 1s}
    - name: other
      image: node:1
      placement: {hosts: {part: other}}
      ports: [{name: http, port: 8080, publish: 0}]
  dns:
    - {name: shop.example.com, layer: web, proxied: true}
    - {name: shop.example.com, layer: other, proxied: true}
`

// TestNodesThatShareARecord: as long as one of the nodes of a host serves its record stays, and goes with the last.
func TestNodesThatShareARecord(t *testing.T) {
	t.Parallel()
	s, p := newProvided(t)
	s.write("fleet.yaml", strings.NewReplacer("{name: h1,", "{name: h1, labels: {part: web},", "{name: h2,", "{name: h2, labels: {part: other},").Replace(s.read("fleet.yaml")))
	s.environment("shop", fmt.Sprintf(sharedWeb, 1, "sequential"))
	s.apply()
	both := []string{allThree[0], allThree[1]}
	ours, _ := p.said(s)
	require.Equal(t, both, ours)

	p.Forget()
	s.environment("shop", fmt.Sprintf(sharedWeb, 2, "sequential"))
	s.apply()
	require.Zero(t, p.writes(), "another node of the host serves at all times")

	events := watched(t, s.hosts[0], s.fleet)
	s.environment("shop", fmt.Sprintf(sharedWeb, 3, "simultaneous"))
	s.apply()
	require.Equal(t, []int{1, 1}, []int{p.Count(http.MethodDelete), p.Count(http.MethodPost)})
	gone, back := p.when("DELETE 203.0.113.1"), p.when("POST 203.0.113.1")
	require.False(t, gone.IsZero(), "with the last of them it went")
	last := events.first("kill", fleet.ContainerName(s.fleet, fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}, 2))
	if other := events.first("kill", fleet.ContainerName(s.fleet, fleet.NodeID{Environment: "shop", Layer: "web", Node: 2}, 2)); other.After(last) {
		last = other
	}
	waited(t, "the provider's edge", gone, last, 5*time.Second)
	require.True(t, back.After(last))
	ours, _ = p.said(s)
	require.Equal(t, both, ours)
}

// TestAProviderThatRefuses takes the right away in the middle of everyday life: no node is touched then.
func TestAProviderThatRefuses(t *testing.T) {
	t.Parallel()
	s, p := newProvided(t)
	s.environment("shop", fmt.Sprintf(namedWeb, 1))
	s.apply()
	before := s.served("web")
	untouched := func() {
		t.Helper()
		after := s.served("web")
		require.Len(t, after, 3)
		for host, in := range after {
			require.Equal(t, []string{before[host].ID, before[host].StartedAt.String()}, []string{in.ID, in.StartedAt.String()})
		}
		ours, _ := p.said(s)
		require.Equal(t, allThree, ours)
	}

	s.environment("shop", fmt.Sprintf(namedWeb, 2))
	p.SetToken("another-token-of-forty-characters-and-mor")
	o := s.evenkeel("apply")
	requireSays(t, o, "example.com", "Cloudflare refuses the token", "give it Zone Read and DNS Edit", "shop/web")
	untouched()

	p.SetToken(cloudflare.Token)
	p.SetReadOnly(true) // it may read, so that it only turns out when the first record is to go
	o = s.evenkeel("apply")
	requireSays(t, o, "Cloudflare refuses the token", "it was not touched")
	untouched()

	p.SetReadOnly(false)
	p.Inject(cloudflare.Fault{Method: http.MethodDelete, Times: 1, Done: true}) // an answer that was lost
	p.Inject(cloudflare.Fault{Method: http.MethodPost, Times: 1, Done: true})
	p.Inject(cloudflare.Fault{Method: http.MethodGet, Times: 1, Status: http.StatusTooManyRequests, RetryAfter: time.Second})
	s.apply()
	ours, _ := p.said(s)
	require.Equal(t, allThree, ours)
	require.Len(t, s.served("web"), 3)
	for host, in := range s.served("web") {
		require.NotEqual(t, before[host].ID, in.ID)
	}
}

// TestRecordsThatOthersChange changes records behind evenkeel's back, and puts others' in its way.
func TestRecordsThatOthersChange(t *testing.T) {
	t.Parallel()
	s, p := newProvided(t)
	s.environment("shop", fmt.Sprintf(namedWeb, 1))
	s.apply()
	record := func(content string) cloudflare.Record {
		for _, r := range p.Records("example.com") {
			if r.Content == content {
				return r
			}
		}
		t.Fatalf("there is no record of %s", content)
		return cloudflare.Record{}
	}

	p.Remove("example.com", record("203.0.113.1").ID)
	p.Change("example.com", record("203.0.113.2").ID, func(r *cloudflare.Record) { r.Proxied, r.TTL = false, 3600 })
	p.Change("example.com", record("203.0.113.3").ID, func(r *cloudflare.Record) { r.Content = "198.51.100.3" })
	p.Add("example.com", cloudflare.Record{Name: "shop.example.com", Type: "A", Content: "198.51.100.4", TTL: 60})
	o := s.evenkeel("plan", "--exit-code")
	require.Equal(t, 2, o.code, "%s", o)
	require.Contains(t, o.stdout, "shop.example.com also leads to A 198.51.100.4")
	o = s.evenkeel("drift", "--exit-code")
	require.Equal(t, 2, o.code, "%s", o)
	for _, line := range []string{
		`public +record shop.example.com A 203.0.113.1 +record +there → missing .* evenkeel makes it again`,
		`public +record shop.example.com A 203.0.113.2 +proxied +true → false .* evenkeel sets it back`,
		`public +record shop.example.com A 198.51.100.3 +record +.*there .* evenkeel removes it`,
	} {
		require.Regexp(t, line, o.stdout)
	}
	s.apply()
	ours, others := p.said(s)
	require.Equal(t, allThree, ours)
	require.Contains(t, others, "shop.example.com A 198.51.100.4")
	require.True(t, record("203.0.113.2").Proxied)

	run := s.run("--interval", "1s")
	p.Remove("example.com", record("203.0.113.1").ID)
	eventually(t, patience, func() error {
		if ours, _ := p.said(s); !slices.Equal(ours, allThree) {
			return fmt.Errorf("%v", ours)
		}
		return nil
	})
	run.requireMetrics(
		`evenkeel_dns_calls_total{method="POST",outcome="200",zone="public"} 1`, `evenkeel_dns_zone_known{zone="public"} 1`,
	)
	run.kill()

	// A CNAME of others' under another name that is wanted: said, and everything else goes on.
	s.environment("shop", fmt.Sprintf(namedWeb, 1)+"    - {name: www.example.com, layer: web, proxied: true}\n    - {name: new.example.com, layer: web, proxied: true}\n")
	eventually(t, patience, func() error { // what was killed holds its leases for a moment
		o = s.evenkeel("apply")
		if strings.Contains(o.stderr, "is at work on this fleet") {
			return fmt.Errorf("%s", o)
		}
		return nil
	})
	requireSays(t, o, "www.example.com", "CNAME elsewhere.example.net, which isn't evenkeel's, leaves no room", "remove it, or use another name")
	ours, others = p.said(s)
	require.Contains(t, ours, "new.example.com A 203.0.113.1")
	require.Contains(t, others, "www.example.com CNAME elsewhere.example.net")
}

// TestRecordsThatAreOnlyReported has a fleet that heals nothing by itself: what somebody else does to its records is told
// of and stays, what evenkeel has to change for its own work it does.
func TestRecordsThatAreOnlyReported(t *testing.T) {
	t.Parallel()
	s, p := newProvided(t)
	s.extra += "  drift: {selfHeal: false}\n"
	s.writeFleet()
	s.environment("shop", fmt.Sprintf(namedWeb, 1))
	s.apply()
	ours, _ := p.said(s)
	require.Equal(t, allThree, ours)
	for _, r := range p.Records("example.com") {
		if r.Content == "203.0.113.1" {
			p.Remove("example.com", r.ID)
		}
	}
	p.Forget()
	s.apply()
	require.Zero(t, p.writes(), "it is only reported")
	o := s.evenkeel("drift")
	require.Regexp(t, `record shop.example.com A 203.0.113.1 +record +there → missing .* only reported, since drift.selfHeal is false`, o.stdout)
	require.Contains(t, s.evenkeel("plan").stdout, "drift, only reported since drift.selfHeal is false: create shop.example.com A 203.0.113.1")

	// A crash with a node out of its names is nobody else's doing: it is put back.
	s.environment("shop", fmt.Sprintf(namedWeb, 2))
	p.Forget()
	killed := s.command(t.Context(), "apply")
	eventually(t, patience, func() error { return enough(p.Count(http.MethodDelete), 1) })
	killed.kill()
	eventually(t, patience, func() error { // what was killed holds its leases for a moment
		if o = s.evenkeel("apply"); o.code != 0 {
			return fmt.Errorf("%s", o)
		}
		return nil
	})
	ours, _ = p.said(s)
	require.Equal(t, allThree, ours)
}
