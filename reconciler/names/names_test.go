package names_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
)

const (
	fleetName = "production"
	shop      = "shop.example.com"
)

var (
	host1 = names.Address(netip.MustParseAddr("203.0.113.1"))
	host2 = names.Address(netip.MustParseAddr("203.0.113.2"))
	host6 = names.Address(netip.MustParseAddr("2001:db8::1"))
)

func alias(to string) names.Data { return names.Data{Type: fleet.TypeCNAME, Content: to} }

func target(n int, out bool, data ...names.Data) names.Target {
	return names.Target{Node: fleet.NodeID{Environment: "shop", Layer: "web", Node: n}, Data: data, Out: out}
}

func name(targets ...names.Target) names.Name {
	return names.Name{Environment: "shop", Name: shop, TTL: time.Minute, Targets: targets}
}

// ours is a record as evenkeel makes it for the environment shop.
func ours(d names.Data, change ...func(*fleet.DNSRecord)) fleet.DNSRecord {
	r := fleet.DNSRecord{ID: "id " + d.Content, Name: shop, Type: d.Type, Content: d.Content, TTL: time.Minute, Owner: "production/shop"}
	for _, f := range change {
		f(&r)
	}
	return r
}

func owner(o string) func(*fleet.DNSRecord) { return func(r *fleet.DNSRecord) { r.Owner = o } }

func compute(records []fleet.DNSRecord, wanted ...names.Name) names.Result {
	return names.Compute(names.Zone{Fleet: fleetName, Name: "example.com", Records: records}, wanted)
}

// said is a result as people see it.
func said(r names.Result) []string {
	var lines []string
	for _, c := range r.Changes {
		lines = append(lines, string(c.Operation)+" "+c.Record.Type+" "+c.Record.Content+": "+c.Why)
	}
	for _, c := range r.Conflicts {
		lines = append(lines, "conflict "+c.Environment+" "+c.Name+": "+c.Message)
	}
	for _, h := range r.Held {
		lines = append(lines, "held "+h.Name+" "+h.Node.String())
	}
	return append(lines, r.Warnings...)
}

func TestCompute(t *testing.T) {
	const in, out = false, true
	type records = []fleet.DNSRecord
	cases := []struct {
		name   string
		wanted []names.Name
		found  records
		want   []string
	}{
		{"made for the nodes that serve", []names.Name{name(target(1, in, host1, host6), target(2, out, host2))}, nil,
			[]string{"create A 203.0.113.1: leads to shop/web/1", "create AAAA 2001:db8::1: leads to shop/web/1"}},
		{"waits for the first that serves", []names.Name{name(target(1, out, host1))}, nil, nil},
		{"as it is wanted", []names.Name{name(target(1, in, host1))}, records{ours(host1)}, nil},
		{"withdrawn", []names.Name{name(target(1, in, host1), target(2, out, host2))}, records{ours(host1), ours(host2)},
			[]string{"delete A 203.0.113.2: shop/web/2 is out"}},
		{"a shared record goes with the last", []names.Name{name(target(1, in, host1), target(2, out, host1), target(3, in, host2))}, records{ours(host1), ours(host2)}, nil},
		{"the last of a shared record", []names.Name{name(target(1, out, host1), target(2, out, host1), target(3, in, host2))}, records{ours(host1), ours(host2)},
			[]string{"delete A 203.0.113.1: shop/web/1, shop/web/2 is out"}},
		{"the last one stays", []names.Name{name(target(1, out, host1))}, records{ours(host1)}, []string{"held shop.example.com shop/web/1"}},
		{"only what was there stays", []names.Name{name(target(1, out, host1), target(2, out, host2))}, records{ours(host2)}, []string{"held shop.example.com shop/web/2"}},
		{"what leads nowhere gives way, the name stays", []names.Name{name(target(1, out, host1))}, records{ours(host2)},
			[]string{"create A 203.0.113.1: leads to shop/web/1", "delete A 203.0.113.2: leads to no node of it any more", "held shop.example.com shop/web/1"}},
		{"no node is known", []names.Name{name()}, records{ours(host2)}, nil},
		{"a node has moved", []names.Name{name(target(1, in, host1))}, records{ours(host2)},
			[]string{"create A 203.0.113.1: leads to shop/web/1", "delete A 203.0.113.2: leads to no node of it any more"}},
		{"the name isn't wanted any more", nil, records{ours(host1)}, []string{"delete A 203.0.113.1: no environment wants the name any more"}},
		{"its environment is gone, its name hashed", nil, records{ours(host1, owner("production/~abc"))}, []string{"delete A 203.0.113.1: no environment wants the name any more"}},
		{"an address is there twice", []names.Name{name(target(1, in, host1))}, records{ours(host1, func(r *fleet.DNSRecord) { r.ID = "2" }), ours(host1)},
			[]string{"delete A 203.0.113.1: it is there twice"}},
		{"ttl", []names.Name{name(target(1, in, host1))}, records{ours(host1, func(r *fleet.DNSRecord) { r.TTL = 0 })},
			[]string{"update A 203.0.113.1: ttl automatic → 1m0s"}},
		{"no longer proxied", []names.Name{name(target(1, in, host1))}, records{ours(host1, func(r *fleet.DNSRecord) { r.Proxied, r.TTL = true, 0 })},
			[]string{"update A 203.0.113.1: ttl automatic → 1m0s, proxied true → false"}},
		{"the environment was renamed", []names.Name{name(target(1, in, host1))}, records{ours(host1, owner("production/store"))},
			[]string{"update A 203.0.113.1: owner production/store → production/shop"}},
		{"an alias changes in place", []names.Name{name(target(1, in, alias("hn2.example.net.")))}, records{ours(alias("hn1.example.net"))},
			[]string{"update CNAME hn2.example.net: content hn1.example.net → hn2.example.net"}},
		{"there is one alias at a time, the one that is there", []names.Name{name(target(1, in, alias("hn1.example.net")), target(2, in, alias("hn2.example.net")))},
			records{ours(alias("hn2.example.net"))}, nil},
		{"an alias becomes addresses", []names.Name{name(target(1, in, host1))}, records{ours(alias("hn1.example.net"))},
			[]string{"delete CNAME hn1.example.net: leads to no node of it any more", "create A 203.0.113.1: leads to shop/web/1"}},
		{"addresses become an alias", []names.Name{name(target(1, in, alias("hn1.example.net")))}, records{ours(host1)},
			[]string{"delete A 203.0.113.1: leads to no node of it any more", "create CNAME hn1.example.net: leads to shop/web/1"}},
		{"a foreign alias", []names.Name{name(target(1, in, host1, host6))}, records{ours(alias("x.example.net"), owner(""))},
			[]string{"conflict shop shop.example.com: CNAME x.example.net, which isn't evenkeel's, leaves no room for A 203.0.113.1 and 1 more: remove it, or use another name"}},
		{"foreign addresses where an alias is wanted", []names.Name{name(target(1, in, alias("x.example.net")))}, records{ours(host2, owner("other/shop"))},
			[]string{"conflict shop shop.example.com: A 203.0.113.2, which belongs to the fleet other, leaves no room for CNAME x.example.net: remove it, or use another name"}},
		{"an identical foreign record", []names.Name{name(target(1, in, host1), target(2, in, host2))}, records{ours(host1, owner(""))},
			[]string{"create A 203.0.113.2: leads to shop/web/2",
				"conflict shop shop.example.com: A 203.0.113.1 is there already and isn't evenkeel's: remove it, and it is made anew as the fleet's own; as long as it is there the name can't be withdrawn from it"}},
		{"a foreign address beside ours", []names.Name{name(target(1, in, host1))}, records{ours(host1), ours(host2, owner("")), ours(host6, owner("other/shop"))},
			[]string{"shop.example.com also leads to A 203.0.113.2 (isn't evenkeel's), AAAA 2001:db8::1 (belongs to the fleet other): " +
				"clients are sent there too, also while nodes change; remove what isn't meant to be there"}},
		{"a foreign address beside an alias that waits", []names.Name{name(target(1, out, alias("x.example.net")))}, records{ours(host2, owner(""))}, nil},
		{"foreign text beside ours", []names.Name{name(target(1, in, host1))}, records{ours(host1), ours(names.Data{Type: "TXT", Content: "x"}, owner(""))}, nil},
		{"a delegated name", []names.Name{name(target(1, in, host1))}, records{ours(names.Data{Type: "NS", Content: "ns.example.net"}, owner(""))},
			[]string{"conflict shop shop.example.com: NS ns.example.net, which isn't evenkeel's, leaves no room for A 203.0.113.1: remove it, or use another name"}},
		{"foreign records where nothing is wanted", nil, records{ours(host1, owner("")), ours(alias("x"), owner("other/shop"))}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, said(compute(c.found, c.wanted...)))
		})
	}
}

func TestANameThatCannotBeHad(t *testing.T) {
	second := name(target(1, false, host2))
	second.Environment = "blog"
	elsewhere := name(target(1, false, host1))
	elsewhere.Name = "shop.example.org"
	require.Equal(t, []string{
		"create A 203.0.113.2: leads to shop/web/1",
		"conflict shop shop.example.com: the environment blog has it already: a name leads to one environment; remove it from one of the two",
		"conflict shop shop.example.org: it isn't in the zone example.com: write a name that ends in .example.com, or another provider",
	}, said(compute(nil, name(target(1, false, host1)), elsewhere, second)))
}

func TestNormalisationIsNoChange(t *testing.T) {
	n := name(target(1, false, names.Data{Type: fleet.TypeAAAA, Content: "2001:DB8:0::1"}, names.Data{Type: fleet.TypeA, Content: "::ffff:203.0.113.1"}))
	n.Name, n.Proxied = "SHOP.Example.com.", true
	auto := func(r *fleet.DNSRecord) { r.TTL, r.Proxied = 0, true }
	require.Empty(t, said(compute([]fleet.DNSRecord{ours(host6, auto), ours(host1, auto)}, n)))

	n = name(target(1, false, alias("Bücher.Example.net.")))
	n.Name, n.Proxied = "ü.example.com", true
	r := ours(alias("xn--bcher-kva.example.net"), auto)
	r.Name = "xn--tda.example.com"
	require.Empty(t, said(compute([]fleet.DNSRecord{r}, n)))

	n = name(target(1, false, names.Data{Type: fleet.TypeSRV, Content: "1  10 8080 HN1.example.net."}))
	n.Name, n.Proxied = "_http._tcp.example.com", true
	r = ours(names.Data{Type: fleet.TypeSRV, Content: "1 10 8080 hn1.example.net"})
	r.Name = n.Name
	require.Empty(t, said(compute([]fleet.DNSRecord{r}, n)), "what can't be proxied isn't asked to be")
}

func TestOneEnvironmentWantsANameTwice(t *testing.T) {
	a, b := name(target(1, false, host1)), name(target(2, false, host2))
	a.Proxied, a.TTL, b.TTL = true, 0, time.Hour
	r := compute(nil, a, b)
	require.Len(t, r.Changes, 2)
	for _, c := range r.Changes {
		require.False(t, c.Record.Proxied)
		require.Equal(t, time.Duration(0), c.Record.TTL, "automatic is shorter than an hour")
	}
	b.TTL = time.Minute
	require.Equal(t, time.Minute, compute(nil, a, b).Changes[0].Record.TTL, "and longer than a minute")
}

func TestTheZoneItselfMayHaveAName(t *testing.T) {
	n := name(target(1, false, host1))
	n.Name = "example.com"
	ns := ours(names.Data{Type: "NS", Content: "ns.example.net"}, owner(""))
	ns.Name = n.Name
	require.Equal(t, []string{"create A 203.0.113.1: leads to shop/web/1"}, said(compute([]fleet.DNSRecord{ns}, n)))
}

func TestOnly(t *testing.T) {
	blog := name(target(1, true, host2))
	blog.Environment, blog.Name = "blog", "blog.example.com"
	blog.Targets[0].Node.Environment = "blog"
	inTheWay := ours(alias("x"), owner(""))
	inTheWay.Name = "x.example.com"
	taken := name(target(1, false, host1))
	taken.Environment, taken.Name = "blog", inTheWay.Name
	last := ours(host2, owner("production/blog"))
	last.Name = blog.Name
	r := compute([]fleet.DNSRecord{inTheWay, last}, name(target(1, false, host1)), blog, taken)
	require.Len(t, said(r), 3)
	require.Equal(t, []string{"create A 203.0.113.1: leads to shop/web/1"}, said(names.Only(r, fleetName, "shop")))
	require.Len(t, said(names.Only(r, fleetName, "blog")), 2)
	require.Len(t, said(r), 3, "what was given stays as it is")
}

func TestLasts(t *testing.T) {
	require.Equal(t, time.Minute, names.Lasts(ours(host1)))
	require.Equal(t, 5*time.Minute, names.Lasts(fleet.DNSRecord{}))
	require.Equal(t, 5*time.Second, names.Lasts(fleet.DNSRecord{Proxied: true}))
}

func TestLeaving(t *testing.T) {
	node := fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}
	leaving := func(records []fleet.DNSRecord, wanted ...names.Name) names.Leave {
		return names.Leaving(names.Zone{Fleet: fleetName, Name: "example.com", Records: records}, wanted, node)
	}
	two := name(target(1, false, host1, host6), target(2, false, host2))

	t.Run("its records are there", func(t *testing.T) {
		l := leaving([]fleet.DNSRecord{ours(host1), ours(host2), ours(host6)}, two)
		require.Equal(t, names.Leave{Records: []fleet.DNSRecord{ours(host1), ours(host6)}, Lasts: time.Minute}, l)
		require.False(t, l.Gone())
	})
	t.Run("its records are gone, and caches still have them", func(t *testing.T) {
		l := leaving([]fleet.DNSRecord{ours(host2)}, two)
		require.Len(t, l.Records, 2)
		require.True(t, l.Gone())
		require.Equal(t, time.Minute, l.Lasts)
	})
	t.Run("the zone says longer than is wanted", func(t *testing.T) {
		l := leaving([]fleet.DNSRecord{ours(host1, func(r *fleet.DNSRecord) { r.TTL = 0 })}, two)
		require.Equal(t, 5*time.Minute, l.Lasts)
	})
	t.Run("proxied", func(t *testing.T) {
		n := two
		n.Proxied = true
		require.Equal(t, 5*time.Second, leaving(nil, n).Lasts)
	})
	t.Run("shared with a node that stays", func(t *testing.T) {
		require.Equal(t, names.Leave{}, leaving([]fleet.DNSRecord{ours(host1)}, name(target(1, false, host1), target(2, false, host1))))
	})
	t.Run("shared with one that is out", func(t *testing.T) {
		l := leaving([]fleet.DNSRecord{ours(host1), ours(host2)}, name(target(1, false, host1), target(2, true, host1), target(3, false, host2)))
		require.Equal(t, []fleet.DNSRecord{ours(host1)}, l.Records)
	})
	t.Run("the last", func(t *testing.T) {
		require.Equal(t, names.Leave{Held: []string{shop}}, leaving([]fleet.DNSRecord{ours(host1)}, name(target(1, false, host1), target(2, true, host2))))
	})
	t.Run("a foreign record leads there too", func(t *testing.T) {
		theirs := ours(host1, owner(""))
		l := leaving([]fleet.DNSRecord{theirs, ours(host2)}, name(target(1, false, host1), target(2, false, host2)))
		require.Equal(t, []fleet.DNSRecord{theirs}, l.Foreign)
		require.True(t, l.Gone())
	})
	t.Run("it has no name", func(t *testing.T) {
		require.Equal(t, names.Leave{}, leaving([]fleet.DNSRecord{ours(host2)}, name(target(2, false, host2))))
	})
	t.Run("in two zones", func(t *testing.T) {
		a, b := names.Leave{Held: []string{"a"}, Lasts: time.Hour}, names.Leave{Records: []fleet.DNSRecord{ours(host1)}, Foreign: []fleet.DNSRecord{ours(host2)}, Lasts: time.Minute}
		both := names.Leave{Records: b.Records, Held: a.Held, Foreign: b.Foreign, Lasts: time.Hour}
		require.Equal(t, both, a.And(b))
		require.Equal(t, both, b.And(a))
	})
	require.False(t, two.Targets[0].Out, "what was given stays as it is")
}

// A name that was given to another environment, none of whose nodes serves yet, goes on leading to nodes of the old one,
// whose its records stay: they leave it before they are touched, but for the last.
func TestANameThatHasMoved(t *testing.T) {
	const in, out = false, true
	node := func(layer string, n int) fleet.NodeID {
		return fleet.NodeID{Environment: "shop", Layer: layer, Node: n}
	}
	moved := func(first, second bool, targets ...names.Target) names.Name {
		n := name(targets...)
		n.Environment = "store"
		n.Others = []names.Target{
			{Node: node("web", 2), Data: []names.Data{host2}, Out: second}, {Node: node("web", 1), Data: []names.Data{host1}, Out: first},
			{Node: fleet.NodeID{Environment: "blog", Layer: "web", Node: 1}, Data: []names.Data{host1}, Out: out},
		}
		return n
	}
	both := []fleet.DNSRecord{ours(host1), ours(host2)}
	sick := names.Target{Node: fleet.NodeID{Environment: "store", Layer: "web", Node: 1}, Data: []names.Data{host6}, Out: out}
	serves := sick
	serves.Out = in
	cases := []struct {
		name   string
		wanted names.Name
		want   []string
	}{
		{"all of the old ones serve", moved(in, in), nil},
		{"one is out", moved(in, out), []string{"delete A 203.0.113.2: shop/web/2 is out"}},
		{"all are out", moved(out, out), []string{"held shop.example.com shop/web/1", "held shop.example.com shop/web/2"}},
		{"one that is out is no better than another", moved(in, in, sick), nil},
		{"one serves", moved(in, in, serves), []string{"create AAAA 2001:db8::1: leads to store/web/1",
			"delete A 203.0.113.1: leads to no node of it any more", "delete A 203.0.113.2: leads to no node of it any more"}},
	}
	none := moved(in, in, sick)
	none.None = true
	cases = append(cases, struct {
		name   string
		wanted names.Name
		want   []string
	}{"the new one has no nodes", none, []string{"delete A 203.0.113.1: leads to no node of it any more", "delete A 203.0.113.2: leads to no node of it any more"}})
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) { require.Equal(t, tc.want, said(compute(both, tc.wanted))) })
	}
	zone := names.Zone{Fleet: fleetName, Name: "example.com", Records: both}
	l := names.Leaving(zone, []names.Name{moved(in, in)}, node("web", 2))
	require.Equal(t, []fleet.DNSRecord{both[1]}, l.Records)
	require.Equal(t, time.Minute, l.Lasts)
	zone.Records = both[:1]
	l = names.Leaving(zone, []names.Name{moved(in, in)}, node("web", 1))
	require.Empty(t, l.Records)
	require.Equal(t, []string{shop}, l.Held, "the last one stays")
}
