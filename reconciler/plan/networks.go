package plan

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// An environment's /22, as it is divided (offsets from its base):
//
//	1 … 255      gateways, one for each host by its index
//	257 … 511    keepers, likewise
//	513 … 959    nodes
//	960 … 1023   Docker's own, which nothing of ours uses
const (
	subnetBits  = 22
	subnetSize  = 1 << (32 - subnetBits)
	gatewayBase = 1
	keeperBase  = 257
	mostHosts   = 255
	nodeBase    = 513
	dockersBase = 960
	dockersBits = 26
)

// subnet is an environment's, and what is taken of it.
type subnet struct {
	prefix  netip.Prefix
	indexes map[string]int // by host
	taken   [mostHosts]bool
	nodes   [subnetSize]bool // addresses in use, by offset
	next    int              // below it no node's address is free
	// The environment's parts are plan.Networks[first:end].
	first, end int
	problem    string // why there is none
}

func (s *subnet) at(offset int) netip.Addr { return addrAt(s.prefix, offset) }

func addrAt(p netip.Prefix, offset int) netip.Addr {
	return fromNumber(toNumber(p.Addr()) + uint32(offset)) //nolint:gosec // offsets are within the prefix
}

func toNumber(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func fromNumber(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// offset is an address' place in a subnet, or -1.
func (s *subnet) offset(a netip.Addr) int {
	if !a.Is4() || !s.prefix.IsValid() || !s.prefix.Contains(a) {
		return -1
	}
	return int(toNumber(a) - toNumber(s.prefix.Addr()))
}

// chooseSubnets finds each environment's subnet: what a host carries for it, else what the copy says,
// else the first free one.
func (w *world) chooseSubnets() {
	w.carriedSubnets()
	for i := range w.copy.Environments {
		e := &w.copy.Environments[i]
		if w.subnets[e.Name] == nil && e.Subnet.IsValid() {
			w.subnets[e.Name] = newSubnet(e.Subnet)
		}
		w.keepIndexes(e)
	}
	pool := w.fleet.Network.Pool.Masked()
	var free *blocks
	for _, l := range w.layers {
		env := l.id.Environment
		if s := w.subnets[env]; s != nil {
			if l.env != nil && s.problem == "" && pool.IsValid() && !(pool.Contains(s.prefix.Addr()) && pool.Bits() <= s.prefix.Bits()) && !w.halted {
				w.halt(fmt.Sprintf("environment %s has the subnet %s, which is outside network.pool %s: put the pool back, or remove the environment before the pool changes", env, s.prefix, pool))
			}
			continue
		}
		if free == nil {
			free = w.freeBlocks(pool)
		}
		w.subnets[env] = w.newSubnetFor(env, pool, free)
	}
	w.takeAddresses()
}

// keepIndexes keeps the addresses of hosts that don't answer from others.
func (w *world) keepIndexes(e *fleet.CopyEnvironment) {
	s := w.subnets[e.Name]
	if s == nil || s.prefix != e.Subnet {
		return
	}
	for host, gateway := range e.Gateways {
		if h := w.byHost[host]; h != nil && h.up() {
			continue
		}
		if i := s.offset(gateway) - gatewayBase; i >= 0 && i < mostHosts && !s.taken[i] {
			s.indexes[host], s.taken[i] = i, true
		}
	}
}

func newSubnet(p netip.Prefix) *subnet {
	return &subnet{prefix: p, indexes: map[string]int{}, next: nodeBase}
}

// carriedSubnets reads the subnets and the hosts' indexes from the networks that are there.
func (w *world) carriedSubnets() {
	for _, h := range w.hosts {
		if !h.up() {
			continue
		}
		for i := range h.state.Networks {
			n := &h.state.Networks[i]
			if n.Fleet != w.fleet.Name || n.Environment == "" || n.Role != "" || !n.Subnet.IsValid() {
				continue
			}
			s := w.subnets[n.Environment]
			if s == nil {
				s = newSubnet(n.Subnet)
				w.subnets[n.Environment] = s
			}
			if s.prefix != n.Subnet {
				w.warn(fmt.Sprintf("network %s on %s has the subnet %s, elsewhere it is %s: remove it there once nothing is on it", n.Name, h.name, n.Subnet, s.prefix))
				continue
			}
			if i := s.offset(n.Gateway) - gatewayBase; i >= 0 && i < mostHosts && !s.taken[i] {
				s.indexes[h.name], s.taken[i] = i, true
			}
		}
	}
}

func (w *world) newSubnetFor(env string, pool netip.Prefix, free *blocks) *subnet {
	if !w.known && len(w.down) > 0 && w.traces {
		return &subnet{problem: fmt.Sprintf("no subnet can be chosen while %s %s answer", strings.Join(w.down, ", "), doesnt(len(w.down)))}
	}
	if n := free.first(env); n >= 0 {
		return newSubnet(netip.PrefixFrom(addrAt(pool, n*subnetSize), subnetBits))
	}
	return &subnet{problem: fmt.Sprintf("network.pool %s has no free /%d left: give it a larger one beside the present one", pool, subnetBits)}
}

// blocks are the /22s of the pool that are in use.
type blocks struct {
	pool netip.Prefix
	used []bool
}

// freeBlocks marks what overlaps an address, an endpoint or a network of any host, or another environment.
func (w *world) freeBlocks(pool netip.Prefix) *blocks {
	b := &blocks{pool: pool}
	if !pool.IsValid() || !pool.Addr().Is4() || pool.Bits() > subnetBits {
		return b
	}
	b.used = make([]bool, 1<<(subnetBits-pool.Bits()))
	for _, s := range w.subnets {
		b.use(s.prefix)
	}
	for _, h := range w.hosts {
		if h.spec != nil {
			b.useText(h.spec.Address)
			b.useText(endpointHost(h.spec.Endpoint))
		}
		if !h.up() {
			continue
		}
		for _, p := range h.state.Addresses {
			b.use(p)
		}
		for i := range h.state.Networks {
			b.use(h.state.Networks[i].Subnet)
		}
	}
	for i := range w.copy.Hosts {
		b.useText(w.copy.Hosts[i].Address)
		b.useText(endpointHost(w.copy.Hosts[i].Endpoint))
	}
	return b
}

func endpointHost(endpoint string) string {
	rest, ok := strings.CutPrefix(endpoint, "tcp://")
	if !ok {
		return ""
	}
	if a, err := netip.ParseAddrPort(rest); err == nil {
		return a.Addr().String()
	}
	return ""
}

func (b *blocks) useText(address string) {
	if a, err := netip.ParseAddr(address); err == nil {
		b.use(netip.PrefixFrom(a, a.BitLen()))
	}
}

func (b *blocks) use(p netip.Prefix) {
	if !p.IsValid() || !p.Addr().Is4() || p.Bits() == 0 || !p.Overlaps(b.pool) {
		return
	}
	p = p.Masked()
	base := uint64(toNumber(b.pool.Addr()))
	first := max(uint64(toNumber(p.Addr())), base)
	last := uint64(toNumber(p.Addr())) + 1<<(32-p.Bits()) - 1
	for n := (first - base) / subnetSize; n <= (last-base)/subnetSize && n < uint64(len(b.used)); n++ {
		b.used[n] = true
	}
}

// first takes the first free block from the name's hash on, or returns -1.
func (b *blocks) first(name string) int {
	if len(b.used) == 0 {
		return -1
	}
	h := fnv.New32a()
	h.Write([]byte(name))
	start := int(h.Sum32() % uint32(len(b.used))) //nolint:gosec // the pool is an IPv4 prefix
	for i := range b.used {
		n := (start + i) % len(b.used)
		if !b.used[n] {
			b.used[n] = true
			return n
		}
	}
	return -1
}

// part is a host's part of an environment's network.
type part struct {
	name  string // the network's
	index int    // in plan.Networks
}

// attachNetworks gives every host that has or gets nodes of an environment its part of the network.
func (w *world) attachNetworks() {
	type spread struct {
		environment string
		hosts       []*host
	}
	var spreads []spread
	parts := 0
	for start := 0; start < len(w.layers); {
		env := w.layers[start].id.Environment
		end := start + 1
		for end < len(w.layers) && w.layers[end].id.Environment == env {
			end++
		}
		if s := w.subnets[env]; s != nil && s.problem == "" {
			hosts := w.hostsOfAll(w.layers[start:end])
			spreads, parts = append(spreads, spread{env, hosts}), parts+len(hosts)
		}
		start = end
	}
	w.plan.Networks = slices.Grow(w.plan.Networks, parts) // once: of a large fleet they are many
	for _, p := range spreads {
		s, name := w.subnets[p.environment], fleet.NetworkName(w.fleet.Name, p.environment)
		s.first = len(w.plan.Networks)
		for _, h := range p.hosts {
			w.attach(p.environment, name, s, h)
		}
		s.end = len(w.plan.Networks)
	}
}

// hostsOfAll are the hosts in reach that have or get nodes of some layers, sorted.
func (w *world) hostsOfAll(layers []*layer) []*host {
	hosts := w.newSet()
	for _, l := range layers {
		for _, n := range l.nodes {
			hosts.add(w.byHost[n.place.Host])
			if n.seen == nil {
				continue
			}
			for i := range n.seen.Instances {
				if host := n.seen.Instances[i].Host; host != n.place.Host {
					hosts.add(w.byHost[host])
				}
			}
		}
	}
	slices.SortFunc(hosts.list, func(a, b *host) int { return cmp.Compare(a.name, b.name) })
	return hosts.list
}

func (w *world) attach(env, name string, s *subnet, h *host) {
	i, ok := s.index(h.name)
	if !ok {
		w.warn(fmt.Sprintf("environment %s has its network on %d hosts, which is the most: %s gets none", env, mostHosts, h.name))
		return
	}
	h.parts = append(h.parts, part{name, len(w.plan.Networks)})
	w.plan.Networks = append(w.plan.Networks, EnvironmentNetwork{
		Environment: env, Host: h.name, Subnet: s.prefix,
		Gateway: s.at(gatewayBase + i), Keeper: s.at(keeperBase + i),
		IPRange: netip.PrefixFrom(s.at(dockersBase), dockersBits),
	})
}

// index is the host's in the environment: that of its gateway, else the lowest free one.
func (s *subnet) index(host string) (int, bool) {
	if i, ok := s.indexes[host]; ok {
		return i, true
	}
	for i := range s.taken {
		if !s.taken[i] {
			s.indexes[host], s.taken[i] = i, true
			return i, true
		}
	}
	return 0, false
}

// network is the environment's part on a host, or nil.
func (w *world) network(env, host string) *EnvironmentNetwork {
	s := w.subnets[env]
	if s == nil {
		return nil
	}
	of := w.plan.Networks[s.first:s.end]
	i, ok := sort.Find(len(of), func(i int) int { return cmp.Compare(host, of[i].Host) })
	if !ok {
		return nil
	}
	return &of[i]
}
