package names

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/publicsuffix"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Table is a zone, compiled for lookups. It never changes but for the health of its nodes, so that any
// number of lookups read it without a lock.
type Table struct {
	views map[netip.Addr]*View // by the keeper's own address on a network
	known
}

// known is what the whole fleet has, and what is therefore never forwarded.
type known struct {
	domain       string // with a trailing dot
	ttl          uint32
	serial       uint32
	pool         netip.Prefix
	environments map[string]bool
	bare         map[string]bool // last labels below which nothing is forwarded
	unqualified  map[string]bool // <layer>.<environment>, with a trailing dot: as people shorten names
}

// View is what the nodes of one network are told.
type View struct {
	*known
	environment string
	subnet      netip.Prefix
	layers      map[string]bool
	names       map[string]*entry // by lower-case name with a trailing dot
	reverse     map[netip.Addr]dns.RR
}

// entry is a name that exists. One without members exists for what is below it.
type entry struct {
	zone    string // owner of the SOA record
	members []member
	rrtype  uint16 // of its members
	node    bool   // a node's own name: answered whatever its state
}

type member struct {
	rr      dns.RR
	out     bool
	healthy *atomic.Bool
}

// Compile makes a table of a zone. Environments are those of the fleet that may be on other hosts only.
// The health of an instance is read at each lookup through what healthy returned for it.
func Compile(z *fleet.Zone, serial uint64, environments []string, healthy func(instance string) *atomic.Bool) *Table {
	t := &Table{views: make(map[netip.Addr]*View, len(z.Networks)), known: known{
		domain:       dns.CanonicalName(z.Domain),
		ttl:          seconds(z.TTL),
		serial:       uint32(serial),
		pool:         z.Pool,
		environments: make(map[string]bool),
		bare:         make(map[string]bool),
		unqualified:  make(map[string]bool),
	}}
	for _, e := range environments {
		t.know(z.Fleet, e)
	}
	byEnvironment := make(map[string]*View, len(z.Networks))
	for _, n := range z.Networks {
		t.know(z.Fleet, n.Environment)
		t.bare[strings.ToLower(n.Name)] = true
		v := &View{known: &t.known, environment: n.Environment, subnet: n.Subnet,
			layers: make(map[string]bool), names: make(map[string]*entry), reverse: make(map[netip.Addr]dns.RR)}
		for _, l := range n.Layers {
			v.layers[l] = true
			t.unqualified[l+"."+n.Environment+"."] = true
		}
		v.names[v.apex()] = &entry{zone: v.apex()}
		t.views[n.Address] = v
		byEnvironment[n.Environment] = v
	}
	for i := range z.Nodes {
		n := &z.Nodes[i]
		if v := byEnvironment[n.Environment]; v != nil && n.Address.Is4() && !n.Candidate {
			v.add(n, z.Domain, healthy(n.Instance))
		}
	}
	return t
}

func seconds(d time.Duration) uint32 {
	return uint32((d + time.Second - 1) / time.Second)
}

func (k *known) know(fleetName, environment string) {
	k.environments[environment] = true
	k.bare[strings.ToLower(fleet.NetworkName(fleetName, environment))] = true
	k.bare[strings.ToLower(fleet.UplinkName(fleetName))] = true
	if suffix, icann := publicsuffix.PublicSuffix(environment); !icann || suffix != environment {
		k.bare[environment] = true
	}
}

// apex is the name that the view's environment is authoritative for.
func (v *View) apex() string { return v.environment + "." + v.domain }

func (v *View) add(n *fleet.ZoneNode, domain string, healthy *atomic.Bool) {
	v.layers[n.Layer] = true
	v.unqualified[n.Layer+"."+n.Environment+"."] = true
	node, layer := fleet.NodeDomain(n.NodeID, domain)+".", fleet.LayerDomain(n.LayerID(), domain)+"."
	short := n.Layer + "."
	for _, name := range []struct {
		name, zone string
		node       bool
	}{
		{node, v.apex(), true}, {fleet.Hostname(n.NodeID) + "." + short, short, true},
		{layer, v.apex(), false}, {short, short, false},
	} {
		e := v.names[name.name]
		if e == nil {
			e = &entry{zone: name.zone, node: name.node, rrtype: dns.TypeA}
			v.names[name.name] = e
		}
		rr := &dns.A{Hdr: v.header(name.name, dns.TypeA), A: n.Address.AsSlice()}
		e.members = append(e.members, member{rr: rr, out: n.Out != "", healthy: healthy})
	}
	m := member{out: n.Out != "", healthy: healthy}
	for _, s := range n.Services {
		v.addService(s, layer, v.apex(), node, m)
		v.addService(s, short, short, node, m)
	}
	if reverse, err := dns.ReverseAddr(n.Address.String()); err == nil {
		v.reverse[n.Address] = &dns.PTR{Hdr: v.header(reverse, dns.TypePTR), Ptr: node}
	}
}

// addService adds a node's port under its service's name below a layer's, and the name between them.
func (v *View) addService(s fleet.ZoneService, layer, zone, node string, m member) {
	between := "_" + string(s.Protocol) + "." + layer
	name := "_" + strings.ToLower(s.Name) + "." + between
	if v.names[between] == nil {
		v.names[between] = &entry{zone: zone}
	}
	e := v.names[name]
	if e == nil {
		e = &entry{zone: zone, rrtype: dns.TypeSRV}
		v.names[name] = e
	}
	m.rr = &dns.SRV{Hdr: v.header(name, dns.TypeSRV), Weight: 1, Port: s.Port, Target: node}
	e.members = append(e.members, m)
}

func (k *known) header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: k.ttl}
}

func (k *known) soa(owner string) dns.RR {
	mbox := "hostmaster."
	if owner != "." {
		mbox += owner
	}
	return &dns.SOA{Hdr: k.header(owner, dns.TypeSOA), Ns: owner, Mbox: mbox, Serial: k.serial,
		Refresh: 60, Retry: 10, Expire: 3600, Minttl: k.ttl}
}

// answer returns what the entry is answered with now, in an order that spreads the load.
//
//	to be found, healthy   to be found   current   answered with
//	some                   -             -         those healthy
//	none                   some          -         those to be found
//	none                   none          some      all
func (e *entry) answer() []dns.RR {
	rrs := make([]dns.RR, 0, len(e.members))
	if !e.node {
		rrs = e.pick(rrs, func(m *member) bool { return !m.out && m.healthy.Load() })
		if len(rrs) == 0 {
			rrs = e.pick(rrs, func(m *member) bool { return !m.out })
		}
	}
	if len(rrs) == 0 {
		rrs = e.pick(rrs, func(*member) bool { return true })
	}
	if len(rrs) > 1 {
		rand.Shuffle(len(rrs), func(i, j int) { rrs[i], rrs[j] = rrs[j], rrs[i] })
	}
	return rrs
}

func (e *entry) pick(into []dns.RR, want func(*member) bool) []dns.RR {
	for i := range e.members {
		if want(&e.members[i]) {
			into = append(into, e.members[i].rr)
		}
	}
	return into
}
