package names

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// health is what the probes say of instances, by their IDs; all are healthy but those named.
func health(unhealthy ...string) func(string) *atomic.Bool {
	return func(instance string) *atomic.Bool {
		b := new(atomic.Bool)
		b.Store(!slices.Contains(unhealthy, instance))
		return b
	}
}

func zoneNode(environment, layer string, ordinal int, address string) fleet.ZoneNode {
	return fleet.ZoneNode{NodeID: fleet.NodeID{Environment: environment, Layer: layer, Node: ordinal},
		Generation: 1, Instance: fmt.Sprintf("%s-%s-%d", environment, layer, ordinal), Address: netip.MustParseAddr(address)}
}

// twoEnvironments is a host with `shop`, whose keeper is at 10.112.0.2, and `dev` at 10.112.4.2.
func twoEnvironments() *fleet.Zone {
	candidate := zoneNode("shop", "web", 1, "10.112.2.9")
	candidate.Instance, candidate.Candidate = "next", true
	out := zoneNode("shop", "web", 2, "10.112.2.2")
	out.Out = "withdrawn"
	first, third := zoneNode("shop", "web", 1, "10.112.2.1"), zoneNode("shop", "web", 3, "10.112.2.3")
	for _, n := range []*fleet.ZoneNode{&first, &candidate, &out, &third} {
		n.Services = []fleet.ZoneService{{Name: "dns", Protocol: spec.UDP, Port: 53}, {Name: "http", Protocol: spec.TCP, Port: 8080}}
	}
	only := zoneNode("shop", "cron", 1, "10.112.2.30")
	only.Candidate = true
	return &fleet.Zone{
		Fleet: "production", Host: "hn1", Domain: "internal", TTL: time.Second, Pool: netip.MustParsePrefix("10.112.0.0/12"),
		Networks: []fleet.ZoneNetwork{
			{Environment: "shop", Name: "evenkeel_production_shop", Subnet: netip.MustParsePrefix("10.112.0.0/22"),
				Address: netip.MustParseAddr("10.112.0.2"), Layers: []string{"web", "db", "mail", "cron"}},
			{Environment: "dev", Name: "evenkeel_production_dev", Subnet: netip.MustParsePrefix("10.112.4.0/22"),
				Address: netip.MustParseAddr("10.112.4.2"), Layers: []string{"api"}},
		},
		Nodes: []fleet.ZoneNode{
			first, candidate, out, third,
			zoneNode("shop", "db", 1, "10.112.2.20"), only,
			zoneNode("dev", "api", 1, "10.112.6.1"),
		},
	}
}

func view(t testing.TB, z *fleet.Zone, unhealthy ...string) *View {
	t.Helper()
	v := Compile(z, 7, []string{"billing"}, health(unhealthy...)).views[netip.MustParseAddr("10.112.0.2")]
	require.NotNil(t, v)
	return v
}

func TestResolve(t *testing.T) {
	const a, aaaa, ptr, soa, srv = dns.TypeA, dns.TypeAAAA, dns.TypePTR, dns.TypeSOA, dns.TypeSRV
	for _, c := range []struct {
		name  string
		qtype uint16
		want  string
	}{
		{"web.shop.internal.", a, "exists 10.112.2.1 10.112.2.3"},
		{"WEB.Shop.INTERNAL.", a, "exists 10.112.2.1 10.112.2.3"},
		{"web.", a, "exists 10.112.2.1 10.112.2.3"},
		{"web.", dns.TypeANY, "exists 10.112.2.1 10.112.2.3"},
		{"web.shop.internal.", aaaa, "exists - shop.internal."},
		{"web.", aaaa, "exists - web."},
		{"web.", srv, "exists - web."},
		{"node1.web.shop.internal.", a, "exists 10.112.2.1"},
		{"node1.web.", a, "exists 10.112.2.1"},
		{"node2.web.", a, "exists 10.112.2.2"}, // withdrawn: its own name stays
		{"node2.web.", aaaa, "exists - web."},
		{"node1.db.", a, "exists 10.112.2.20"},
		// Ours, and not there.
		{"node4.web.shop.internal.", a, "denied shop.internal."},
		{"node4.web.", a, "denied web."},
		{"node4.mail.", aaaa, "denied mail."},
		{"nope.shop.internal.", a, "denied shop.internal."},
		{"a.b.web.shop.internal.", a, "denied shop.internal."},
		{"mail.", a, "denied ."}, // a layer without a node
		{"mail.shop.internal.", a, "denied shop.internal."},
		{"cron.", a, "denied ."}, // a candidate alone
		{"node1.cron.shop.internal.", a, "denied shop.internal."},
		{"shop.internal.", soa, "exists soa"},
		{"shop.internal.", a, "exists - shop.internal."},
		// Others' in the fleet.
		{"api.dev.internal.", a, "denied dev.internal."},
		{"dev.internal.", soa, "denied dev.internal."},
		{"web.billing.internal.", a, "denied billing.internal."},
		{"api.", a, "denied ."},
		{"node1.", a, "denied ."},
		{"production_shop_web_1_g1.", a, "denied ."},
		{"node1.evenkeel_production_shop.", a, "denied evenkeel_production_shop."},
		{"node1.evenkeel_production_dev.", a, "denied evenkeel_production_dev."},
		{"Node1.Evenkeel_Production_billing.", a, "denied evenkeel_production_billing."},
		{"evenkeel-keeper-production.0-evenkeel-production.", a, "denied 0-evenkeel-production."},
		{"web.shop.", a, "denied shop."},
		{"node1.web.shop.", a, "denied shop."},
		{"api.dev.", a, "denied dev."},
		{"x.billing.", a, "denied billing."},
		// Services.
		{"_http._tcp.web.shop.internal.", srv, "exists node1.web.shop.internal.:8080 node3.web.shop.internal.:8080"},
		{"_HTTP._tcp.web.", srv, "exists node1.web.shop.internal.:8080 node3.web.shop.internal.:8080"},
		{"_dns._udp.web.", dns.TypeANY, "exists node1.web.shop.internal.:53 node3.web.shop.internal.:53"},
		{"_http._tcp.web.shop.internal.", a, "exists - shop.internal."},
		{"_tcp.web.shop.internal.", srv, "exists - shop.internal."},
		{"_udp.web.", srv, "exists - web."},
		{"_http._udp.web.", srv, "denied web."},
		{"_ftp._tcp.web.shop.internal.", srv, "denied shop.internal."},
		{"_smtp._tcp.mail.", srv, "denied mail."},
		{"_smtp._tcp.example.com.", srv, "forward"},
		// Not ours.
		{"go.dev.", a, "forward"}, // an environment is called dev, and so is a public domain
		{"www.example.shop.", a, "forward"},
		{"node1.api.", a, "forward"},
		{"www.mail.", a, "forward"},
		{"vault.other.internal.", a, "forward"},
		{"internal.", soa, "exists - internal."}, // an empty non-terminal
		{"example.com.", a, "forward"},
		{"xinternal.com.", a, "forward"},
		{".", dns.TypeNS, "forward"},
		// In reverse.
		{"1.2.112.10.in-addr.arpa.", ptr, "exists node1.web.shop.internal."},
		{"2.2.112.10.in-addr.arpa.", ptr, "exists node2.web.shop.internal."},
		{"1.2.112.10.in-addr.arpa.", a, "exists - 1.2.112.10.in-addr.arpa."},
		{"9.2.112.10.in-addr.arpa.", ptr, "denied 9.2.112.10.in-addr.arpa."}, // the candidate
		{"1.6.112.10.in-addr.arpa.", ptr, "denied 1.6.112.10.in-addr.arpa."}, // dev's
		{"1.0.127.10.in-addr.arpa.", ptr, "denied 1.0.127.10.in-addr.arpa."}, // of the pool
		{"2.112.10.in-addr.arpa.", dns.TypeNS, "denied 2.112.10.in-addr.arpa."},
		{"112.10.in-addr.arpa.", dns.TypeSOA, "denied 112.10.in-addr.arpa."},
		{"x.1.2.112.10.in-addr.arpa.", ptr, "denied x.1.2.112.10.in-addr.arpa."},
		{"lb._dns-sd._udp.0.2.112.10.in-addr.arpa.", ptr, "denied lb._dns-sd._udp.0.2.112.10.in-addr.arpa."},
		{"10.in-addr.arpa.", dns.TypeNS, "forward"},
		{"1.0.128.10.in-addr.arpa.", ptr, "forward"},
		{"4.3.2.1.in-addr.arpa.", ptr, "forward"},
		{"300.2.112.10.in-addr.arpa.", ptr, "denied 300.2.112.10.in-addr.arpa."},
		{"in-addr.arpa.", dns.TypeNS, "forward"},
	} {
		t.Run(fmt.Sprintf("%s %s", c.name, dns.TypeToString[c.qtype]), func(t *testing.T) {
			v := view(t, twoEnvironments())
			rrs, owner, as := v.resolve(dns.Question{Name: c.name, Qtype: c.qtype, Qclass: dns.ClassINET})
			require.Equal(t, c.want, describe(rrs, owner, as))
		})
	}
}

func describe(rrs []dns.RR, owner string, as verdict) string {
	text := map[verdict]string{forward: "forward", exists: "exists", denied: "denied"}[as]
	if as == forward {
		return text
	}
	if len(rrs) == 0 && as == exists {
		text += " -"
	}
	var values []string
	for _, rr := range rrs {
		switch rr := rr.(type) {
		case *dns.A:
			values = append(values, rr.A.String())
		case *dns.PTR:
			values = append(values, rr.Ptr)
		case *dns.SRV:
			values = append(values, fmt.Sprintf("%s:%d", rr.Target, rr.Port))
		case *dns.SOA:
			values = append(values, "soa")
		}
	}
	slices.Sort(values)
	for _, v := range values {
		text += " " + v
	}
	if len(rrs) == 0 {
		text += " " + owner
	}
	return text
}

// Who is told of a service is told at once where it is.
func TestServicesComeWithAddresses(t *testing.T) {
	v := view(t, twoEnvironments())
	r := new(dns.Msg)
	r.SetQuestion("_http._tcp.web.", dns.TypeSRV)
	rrs, owner, as := v.resolve(r.Question[0])
	m := v.reply(r, rrs, owner, as)
	require.Equal(t, "exists 10.112.2.1 10.112.2.3", describe(m.Extra, "", exists))
	fit(m, r, false)
	_, err := m.Pack()
	require.NoError(t, err)
}

func TestEachNetworkIsAnsweredForItsEnvironment(t *testing.T) {
	v := Compile(twoEnvironments(), 7, nil, health()).views[netip.MustParseAddr("10.112.4.2")]
	for name, want := range map[string]string{
		"api.":                "exists 10.112.6.1",
		"web.":                "denied .",
		"web.shop.internal.":  "denied shop.internal.",
		"node1.api.dev.":      "denied dev.",
		"api.dev.internal.":   "exists 10.112.6.1",
		"web.other.internal.": "forward",
	} {
		rrs, owner, as := v.resolve(dns.Question{Name: name, Qtype: dns.TypeA, Qclass: dns.ClassINET})
		require.Equal(t, want, describe(rrs, owner, as), name)
	}
}

// The rule of answers, against a model: never empty while a current node exists; none that is out while
// another is in; none that is unhealthy while another that is in is healthy.
func TestWhoIsAnswered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		z := twoEnvironments()
		z.Nodes = nil
		var in, well, current []string
		var unhealthy []string
		for i := range rapid.IntRange(0, 6).Draw(t, "nodes") {
			n := zoneNode("shop", "web", i+1, fmt.Sprintf("10.112.2.%d", i+1))
			n.Candidate = rapid.IntRange(0, 3).Draw(t, "candidate") == 0
			if rapid.Bool().Draw(t, "out") {
				n.Out = "withdrawn"
			}
			sick := rapid.Bool().Draw(t, "unhealthy")
			if sick {
				unhealthy = append(unhealthy, n.Instance)
			}
			z.Nodes = append(z.Nodes, n)
			if n.Candidate {
				continue
			}
			current = append(current, n.Address.String())
			if n.Out == "" {
				in = append(in, n.Address.String())
				if !sick {
					well = append(well, n.Address.String())
				}
			}
		}
		want := well
		if len(want) == 0 {
			want = in
		}
		if len(want) == 0 {
			want = current
		}
		v := Compile(z, 1, nil, health(unhealthy...)).views[netip.MustParseAddr("10.112.0.2")]
		for _, name := range []string{"web.", "web.shop.internal."} {
			rrs, _, as := v.resolve(dns.Question{Name: name, Qtype: dns.TypeA, Qclass: dns.ClassINET})
			var got []string
			for _, rr := range rrs {
				got = append(got, rr.(*dns.A).A.String())
			}
			slices.Sort(got)
			require.Equal(t, want, got)
			require.Equal(t, len(current) > 0, as == exists)
		}
	})
}

func TestHealthIsReadAtEachLookup(t *testing.T) {
	well := new(atomic.Bool)
	well.Store(true)
	z := twoEnvironments()
	v := Compile(z, 7, nil, func(instance string) *atomic.Bool {
		if instance == "shop-web-1" {
			return well
		}
		return health()("")
	}).views[netip.MustParseAddr("10.112.0.2")]
	q := dns.Question{Name: "web.", Qtype: dns.TypeA, Qclass: dns.ClassINET}
	rrs, _, _ := v.resolve(q)
	require.Len(t, rrs, 2)
	well.Store(false)
	rrs, _, _ = v.resolve(q)
	require.Len(t, rrs, 1)
	require.Equal(t, "10.112.2.3", rrs[0].(*dns.A).A.String())
}

func TestAnswersTakeTurns(t *testing.T) {
	v := view(t, twoEnvironments())
	first := map[string]int{}
	for range 400 {
		rrs, _, _ := v.resolve(dns.Question{Name: "web.", Qtype: dns.TypeA, Qclass: dns.ClassINET})
		first[rrs[0].(*dns.A).A.String()]++
	}
	require.Greater(t, first["10.112.2.1"], 100)
	require.Greater(t, first["10.112.2.3"], 100)
}
