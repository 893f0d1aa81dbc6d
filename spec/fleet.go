package spec

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/schema"
)

// minMemory is the least memory that Docker gives a container.
const minMemory = 6 << 20

// readFleet reads the Fleet of a document and checks it by itself.
func readFleet(r *reader) *Fleet {
	root, s := r.doc.Root, r.doc.Root.Get("spec")
	f := &Fleet{
		Name:       text(root.At("metadata", "name"), ""),
		SelfHeal:   boolean(s.At("drift", "selfHeal"), true),
		Cloudlet:   r.cloudlet(s.Get("cloudlet")),
		Hosts:      r.hosts(s.Get("hosts")),
		Registries: r.registries(s.Get("registries")),
		Network:    r.network(s),
		Internal:   r.internalDNS(s.At("dns", "internal")),
		External:   r.externalZones(s.At("dns", "external")),
		Allow: Allow{
			Privileged:   r.allow(s.At("policy", "allow", "privileged")),
			HostPaths:    r.allow(s.At("policy", "allow", "hostPaths")),
			Capabilities: r.allow(s.At("policy", "allow", "capabilities")),
		},
		PruneMaxShare: 50,
	}
	if share, err := strconv.Atoi(strings.TrimSuffix(text(s.At("prune", "maxShare"), ""), "%")); err == nil {
		f.PruneMaxShare = share
	}
	r.addresses(s.Get("hosts"), f)
	if f.Network.Driver == NetworkVXLAN {
		r.joinable(s.Get("hosts"), f)
	}
	slices.SortFunc(f.Hosts, func(a, b Host) int { return cmp.Compare(a.Name, b.Name) })
	return f
}

func (r *reader) allow(n *schema.Node) []string {
	r.unique(n.List(), "environment", itself)
	names := texts(n)
	slices.Sort(names)
	return names
}

func (r *reader) cloudlet(n *schema.Node) Resources {
	c := Resources{
		Memory: r.memory(n.Get("memory"), 128<<20),
		CPU:    r.cpu(n.Get("cpu"), 200),
	}
	if c.Memory < minMemory {
		r.problem(n.Get("memory"), "is %s: must be at least 6Mi, the least that Docker gives a container", n.Get("memory").Raw)
	}
	if c.CPU < 1 {
		r.problem(n.Get("cpu"), "is %s: must be at least 1m", n.Get("cpu").Raw)
	}
	return c
}

func (r *reader) hosts(n *schema.Node) []Host {
	r.unique(n.List(), "host", name)
	var hosts []Host
	endpoints := map[string]*schema.Node{}
	for _, item := range n.List() {
		h := r.host(item)
		if e := item.Get("endpoint"); h.Endpoint != "" {
			same := strings.ToLower(h.Endpoint)
			if first, taken := endpoints[same]; taken {
				r.problem(e, "the endpoint %q is here twice, first at line %d: each host has its own", h.Endpoint, first.Line)
			} else {
				endpoints[same] = e
			}
		}
		hosts = append(hosts, h)
	}
	return hosts
}

func (r *reader) host(n *schema.Node) Host {
	h := Host{
		Name:     text(n.Get("name"), ""),
		Endpoint: text(n.Get("endpoint"), ""),
		Insecure: boolean(n.Get("insecure"), false),
		TLS: TLS{
			CA:   r.credentialsFile(n.At("tls", "ca")),
			Cert: r.credentialsFile(n.At("tls", "cert")),
			Key:  r.credentialsFile(n.At("tls", "key")),
		},
		SSH:    SSH{Key: r.credentialsFile(n.At("ssh", "key")), KnownHosts: r.credentialsFile(n.At("ssh", "knownHosts"))},
		Labels: textMap(n.Get("labels")),
		State:  HostState(text(n.Get("state"), string(HostActive))),
		Capacity: Resources{
			Memory: r.memory(n.At("capacity", "memory"), 0),
			CPU:    r.cpu(n.At("capacity", "cpu"), 0),
		},
		Reserve: Resources{
			Memory: r.memory(n.At("reserve", "memory"), 512<<20),
			CPU:    r.cpu(n.At("reserve", "cpu"), 200),
		},
	}
	if c := n.At("capacity", "memory"); c != nil && h.Capacity.Memory == 0 {
		r.problem(c, "is no memory at all: write how much, or remove the key to take what the engine reports")
	}
	if c := n.At("capacity", "cpu"); c != nil && h.Capacity.CPU == 0 {
		r.problem(c, "is no CPU at all: write how much, or remove the key to take what the engine reports")
	}
	if e := n.Get("endpoint"); h.Endpoint != "" {
		h.Address = r.endpoint(n, e, h)
	}
	if a := n.Get("address"); a != nil {
		h.Address = text(a, "")
		if _, err := netip.ParseAddr(h.Address); err != nil && !isHostname(h.Address) {
			r.problem(a, "%q is neither an IP address nor a host name: write one, such as 10.0.0.11", h.Address)
		}
	}
	return h
}

func isHostname(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(strings.ToLower(label)) {
			return false
		}
	}
	return true
}

// isLabel says whether a text is a DNS label.
func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// addresses fills in what hosts are reached by where nothing is written, and keeps the pool away from them.
func (r *reader) addresses(n *schema.Node, f *Fleet) {
	first := map[string]string{}
	for i, item := range n.List() {
		h := &f.Hosts[i]
		if h.Address == "" && strings.HasPrefix(h.Endpoint, "unix://") {
			if len(f.Hosts) > 1 {
				r.missing(item, "address", "is missing: with several hosts write what the others reach this one by, such as address: 10.0.0.11")
				continue
			}
			h.Address = "127.0.0.1"
		}
		h.PublicAddresses = r.publicAddresses(item.Get("publicAddresses"), h)
		r.apartFromPool(item, h, f.Network.Pool)
		if h.Address == "" {
			continue
		}
		if other, taken := first[h.Address]; taken && f.Network.Driver != NetworkVXLAN { // else it is refused
			r.warn(item, "the hosts %s and %s have the same address %s", other, h.Name, h.Address)
		}
		first[h.Address] = h.Name
	}
}

// apartFromPool refuses a pool that holds a host's address: Docker doesn't, and cuts the host off.
func (r *reader) apartFromPool(item *schema.Node, h *Host, pool netip.Prefix) {
	for _, place := range []struct {
		node    *schema.Node
		address string
	}{{item.Get("address"), h.Address}, {item.Get("endpoint"), endpointAddress(h.Endpoint)}} {
		address, err := netip.ParseAddr(place.address)
		if place.node == nil || err != nil || !pool.IsValid() || !pool.Contains(address.Unmap()) {
			continue
		}
		r.problem(place.node, "%s lies in the pool %s, from which environments get their networks, and the host would be cut off: "+
			"write another network.pool, such as %s", place.address, pool, otherPool(address))
		return
	}
}

// otherPool is a private range that an address isn't in.
func otherPool(address netip.Addr) netip.Prefix {
	if defaultPool.Contains(address.Unmap()) {
		return netip.MustParsePrefix("10.64.0.0/12")
	}
	return defaultPool
}

func (r *reader) network(s *schema.Node) Network {
	n, driver := s.Get("network"), NetworkBridge
	if len(s.Get("hosts").List()) > 1 {
		driver = NetworkVXLAN
	}
	return Network{Driver: NetworkDriver(text(n.Get("driver"), string(driver))), Pool: r.pool(n.Get("pool"))}
}

// joinable refuses addresses by which hosts can't be joined. The hosts are in the order in which they are written.
func (r *reader) joinable(n *schema.Node, f *Fleet) {
	const way = "write what the others reach it by, such as address: 10.0.0.11, or network: {driver: bridge}"
	first := map[netip.Addr]string{}
	for i, item := range n.List() {
		h, at := &f.Hosts[i], item
		a, err := netip.ParseAddr(h.Address)
		if err != nil && !isHostname(h.Address) {
			continue // told of already
		}
		for _, key := range []string{"endpoint", "address"} {
			if there := item.Get(key); there != nil {
				at = there
			}
		}
		switch a = a.Unmap(); {
		case err != nil || !a.Is4():
			r.problem(at, "%s is no IPv4 address, and network.driver vxlan joins hosts by those: %s", h.Address, way)
		case len(f.Hosts) > 1 && (a.IsLoopback() || a.IsUnspecified()):
			r.problem(at, "no other host reaches this one by %s, and network.driver vxlan joins them: %s", h.Address, way)
		case first[a] != "":
			r.problem(at, "the hosts %s and %s have the same address %s, and network.driver vxlan joins hosts by them: %s", first[a], h.Name, a, way)
		default:
			first[a] = h.Name
		}
	}
}

func (r *reader) pool(n *schema.Node) netip.Prefix {
	written, ok := n.Text()
	if !ok {
		return defaultPool
	}
	pool, err := netip.ParsePrefix(written)
	switch {
	case err != nil:
		r.problem(n, "%q is no range of addresses: write one such as %s", written, defaultPool)
	case !pool.Addr().Is4():
		r.problem(n, "%s is IPv6: write an IPv4 range such as %s", written, defaultPool)
	case pool.Masked() != pool:
		r.problem(n, "%s has bits set behind its mask: write %s", written, pool.Masked())
	case pool.Bits() < 8 || pool.Bits() > environmentBits:
		r.problem(n, "%s is a /%d: must be from /8 to /%d; each environment gets a /%d of it", written, pool.Bits(), environmentBits, environmentBits)
	case unusable(pool):
		r.problem(n, "%s holds addresses that can't be given to nodes (loopback, link-local, multicast or reserved): write a private range such as %s", written, defaultPool)
	default:
		if !private(pool) {
			r.warn(n, "%s isn't a private range: what is there on the internet can't be reached from the nodes", written)
		}
		return pool
	}
	return netip.Prefix{}
}

func unusable(pool netip.Prefix) bool {
	for _, taken := range []string{"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"} {
		if pool.Overlaps(netip.MustParsePrefix(taken)) {
			return true
		}
	}
	return false
}

func private(pool netip.Prefix) bool {
	for _, free := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15"} {
		p := netip.MustParsePrefix(free)
		if p.Contains(pool.Addr()) && p.Bits() <= pool.Bits() {
			return true
		}
	}
	return false
}

func (r *reader) internalDNS(n *schema.Node) InternalDNS {
	zone := text(n.Get("zone"), "internal")
	if zone == "localhost" || zone == "arpa" || strings.HasSuffix(zone, ".arpa") {
		r.problem(n.Get("zone"), "%q has a meaning of its own in DNS: write another zone, such as internal", zone)
	}
	return InternalDNS{
		Zone: zone,
		TTL:  r.seconds(n.Get("ttl"), time.Second, span{time.Second, 5 * time.Minute}),
	}
}
