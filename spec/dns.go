package spec

import (
	"cmp"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/schema"
)

// The DNS providers.
const (
	ProviderCloudflare = "cloudflare"
	ProviderRFC2136    = "rfc2136" // any name server that takes dynamic updates
)

// ExternalZone is a zone at a DNS provider.
type ExternalZone struct {
	Name     string // what environments call it
	Provider string
	Zone     string // lower case, without a trailing dot
	TTL      time.Duration
	Token    From   // Cloudflare's
	BaseURL  string // another address of the provider's API; empty: its own
	Server   string // host:port of the zone's own server, with rfc2136
	TSIG     TSIG
}

// TSIG is the key that messages to a name server are signed with.
type TSIG struct {
	Name      string
	Algorithm string // hmac-sha256
	Secret    From   // base64
}

// RecordType is what an external name is served as.
type RecordType string

// The types of records that an external name can be.
const (
	RecordA     RecordType = "A" // with AAAA
	RecordCNAME RecordType = "CNAME"
	RecordSRV   RecordType = "SRV"
)

// ExternalName is a name that leads to the serving nodes of a layer.
type ExternalName struct {
	Name    string // lower case, without a trailing dot
	Type    RecordType
	Layer   string
	Zone    string // ExternalZone.Name
	Proxied bool
	Port    string // the layer's port whose published one an SRV record names
}

// ExternalZone returns the zone of that name, or nil.
func (f *Fleet) ExternalZone(name string) *ExternalZone {
	for i := range f.External {
		if f.External[i].Name == name {
			return &f.External[i]
		}
	}
	return nil
}

// Hostname is the name of a host that others can look up; empty: only an address is written.
func (h *Host) Hostname() string {
	if _, err := netip.ParseAddr(h.Address); err == nil {
		return ""
	}
	return strings.TrimSuffix(strings.ToLower(h.Address), ".")
}

func (r *reader) externalZones(n *schema.Node) []ExternalZone {
	r.unique(n.List(), "provider", name)
	// Each of two entries for one zone would remove what the other has made there.
	r.unique(n.List(), "zone", func(item *schema.Node) *schema.Node { return item.Get("zone") })
	var zones []ExternalZone
	for _, item := range n.List() {
		r.ofProvider(item)
		zones = append(zones, ExternalZone{
			Name:     text(item.Get("name"), ""),
			Provider: text(item.Get("provider"), ""),
			Zone:     text(item.Get("zone"), ""),
			TTL:      r.seconds(item.Get("ttl"), time.Minute, span{time.Minute, 24 * time.Hour}),
			Token:    r.from(item.At("credentials", "tokenFrom")),
			BaseURL:  r.baseURL(item.Get("baseURL")),
			Server:   r.nameserver(item.Get("server")),
			TSIG:     r.tsig(item.Get("tsig")),
		})
	}
	slices.SortFunc(zones, func(a, b ExternalZone) int { return cmp.Compare(a.Name, b.Name) })
	return zones
}

// ofProvider wants the keys of a zone's provider, and no other's.
func (r *reader) ofProvider(zone *schema.Node) {
	type key struct{ provider, name, example string }
	provider := text(zone.Get("provider"), "")
	if provider != ProviderCloudflare && provider != ProviderRFC2136 {
		return // the schema has said so
	}
	for _, k := range []key{
		{ProviderCloudflare, "credentials", "{tokenFrom: {env: CLOUDFLARE_API_TOKEN}}"}, {ProviderCloudflare, "baseURL", ""},
		{ProviderRFC2136, "server", "10.0.0.2:53"}, {ProviderRFC2136, "tsig", "{name: evenkeel, secretFrom: {file: tsig}}"},
	} {
		n := zone.Get(k.name)
		switch {
		case n != nil && k.provider != provider:
			r.problem(n, "is only for the provider %s, and this zone's is %s: remove it", k.provider, provider)
		case n == nil && k.provider == provider && k.example != "":
			r.missing(zone, k.name, "is missing, and the provider %s needs it: write one such as %s: %s", provider, k.name, k.example)
		}
	}
}

// nameserver reads where a zone's own server is; without a port it is DNS's.
func (r *reader) nameserver(n *schema.Node) string {
	written, ok := n.Text()
	if !ok {
		return ""
	}
	host, port := written, "53"
	if a, err := netip.ParseAddr(strings.Trim(written, "[]")); err == nil {
		host = a.String()
	} else if i := strings.LastIndexByte(written, ':'); i >= 0 {
		host, port = strings.Trim(written[:i], "[]"), written[i+1:]
	}
	if _, err := netip.ParseAddr(host); err != nil && !isHostname(host) || !isPort(port) {
		r.problem(n, "%q is no name server: write its address and port, such as 10.0.0.2:53", written)
	}
	return joinPort(host, port)
}

func (r *reader) tsig(n *schema.Node) TSIG {
	if n == nil {
		return TSIG{}
	}
	return TSIG{
		Name:      strings.TrimSuffix(text(n.Get("name"), ""), "."),
		Algorithm: text(n.Get("algorithm"), "hmac-sha256"),
		Secret:    r.from(n.Get("secretFrom")),
	}
}

// baseURL wants an address that a token may be sent to.
func (r *reader) baseURL(n *schema.Node) string {
	written, ok := n.Text()
	if !ok {
		return ""
	}
	u, err := url.Parse(written)
	switch {
	case err != nil, u.Host == "", u.Scheme != "https" && u.Scheme != "http", u.User != nil, u.RawQuery != "", u.Fragment != "":
		r.problem(n, "%q is no address of an API: write one such as https://api.example.com/client/v4", written)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		r.problem(n, "%q would have the token sent in plain text: write https://", written)
	}
	return strings.TrimSuffix(written, "/")
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// publicAddresses reads what external names lead to; without any it is the host's address.
func (r *reader) publicAddresses(n *schema.Node, h *Host) []netip.Addr {
	r.unique(n.List(), "address", itself)
	var addresses []netip.Addr
	for _, item := range n.List() {
		written, ok := item.Text()
		if !ok {
			continue
		}
		a, err := netip.ParseAddr(written)
		switch {
		case err != nil:
			r.problem(item, "%q is no IP address: write one, such as 203.0.113.7", written)
		case a.Zone() != "", a.IsUnspecified(), a.IsMulticast(), a.IsLinkLocalUnicast():
			r.problem(item, "%s leads nobody to the host: write an address that others reach it by, such as 203.0.113.7", written)
		default:
			addresses = append(addresses, a.Unmap())
		}
	}
	if n == nil {
		if a, err := netip.ParseAddr(h.Address); err == nil {
			addresses = append(addresses, a.Unmap())
		}
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	return slices.Compact(addresses)
}

// names reads the environment's external names. Those that lead to the same are one.
func (e *environmentReader) names() {
	list := e.doc.Root.At("spec", "dns").List()
	for _, n := range list {
		x := ExternalName{
			Name:    text(n.Get("name"), ""),
			Type:    RecordType(text(n.Get("type"), string(RecordA))),
			Layer:   text(n.Get("layer"), ""),
			Zone:    text(n.Get("provider"), ""),
			Proxied: boolean(n.Get("proxied"), false),
		}
		e.externals = append(e.externals, &nameReader{e, n, x})
	}
	for i, x := range e.externals {
		x.layered()
		for _, earlier := range e.externals[:i] {
			if x.name.Name != "" && earlier.name.Name == x.name.Name {
				x.beside(earlier)
				break
			}
		}
	}
}

// nameReader is an external name with the place that it was read from.
type nameReader struct {
	*environmentReader
	node *schema.Node
	name ExternalName
}

// beside refuses two entries for a name that can't be served as one.
func (x *nameReader) beside(earlier *nameReader) {
	n, line := x.node.Get("name"), earlier.node.Line
	switch {
	case x.name.Layer == earlier.name.Layer:
		x.problem(n, "the name %q leads to the layer %s twice, first at line %d: remove one", x.name.Name, x.name.Layer, line)
	case x.name.Type != earlier.name.Type:
		x.problem(n, "the name %q is %s here and %s at line %d: it can only be one", x.name.Name, x.name.Type, earlier.name.Type, line)
	case x.name.Type == RecordCNAME:
		x.problem(n, "the name %q is a CNAME already, at line %d: a name can have only one; type A leads to several layers", x.name.Name, line)
	case x.name.Proxied != earlier.name.Proxied:
		x.problem(n, "the name %q is proxied in one entry and not in the other, at line %d: write the same in both", x.name.Name, line)
	}
}

// layered checks a name against the layer that it leads to.
func (x *nameReader) layered() {
	var layers []string
	var l *layerReader
	for _, other := range x.layers {
		layers = append(layers, other.layer.Name)
		if other.layer.Name == x.name.Layer {
			l = other
		}
	}
	n := x.node.Get("layer")
	if l == nil {
		if n != nil && n.Kind == schema.Text {
			x.problem(n, "there is no layer %q in this environment%s", x.name.Layer, didYouMean(x.name.Layer, layers))
		}
		return
	}
	var ports []string
	fixed := false
	for i := range l.layer.Ports {
		if p := &l.layer.Ports[i]; p.Publish != nil {
			ports = append(ports, p.Name)
			fixed = fixed || *p.Publish != 0
		}
	}
	switch {
	case x.name.Name == "": // the schema has said so
	case len(ports) == 0:
		x.problem(n, "the layer %s publishes no port of its hosts, so nobody could reach it there: give one of its ports `publish`, 0 for any free one", x.name.Layer)
	case x.name.Type == RecordSRV:
		x.service(&l.layer, ports)
	case !fixed:
		x.warn(n, "the layer %s publishes any free ports, which nobody can know who looks up %s: publish a port with a number, or use type SRV", x.name.Layer, x.name.Type)
	}
}

// service finds the port that an SRV record names: _http._tcp.shop.example.com is the layer's port http.
func (x *nameReader) service(l *Layer, published []string) {
	n := x.node.Get("name")
	if x.name.Proxied {
		x.problem(x.node.Get("proxied"), "an SRV record can't be proxied: remove it")
	}
	labels := strings.SplitN(x.name.Name, ".", 3)
	if len(labels) < 3 || !strings.HasPrefix(labels[0], "_") || labels[1] != "_tcp" && labels[1] != "_udp" {
		x.problem(n, "%q is no name of an SRV record: write _port._tcp or _port._udp before it, such as _%s._tcp.%s", x.name.Name, published[0], strings.TrimLeft(x.name.Name, "_"))
		return
	}
	service, protocol := labels[0][1:], Protocol(labels[1][1:])
	p := l.Port(service)
	switch {
	case p == nil || p.Publish == nil:
		x.problem(n, "the layer %s publishes no port %q%s; there are %s", l.Name, service, didYouMean(service, published), list(published))
	case p.Protocol != protocol:
		x.problem(n, "the port %q is %s: write _%s._%s", service, p.Protocol, service, p.Protocol)
	}
	x.name.Port = service
}

// against finds the zone of a name, and checks that its hosts have what it is to lead to.
func (x *nameReader) against(f *Fleet) {
	z := x.zone(f)
	if z == nil {
		return
	}
	if x.name.Proxied && z.Provider == ProviderRFC2136 {
		x.problem(x.node.Get("proxied"), "the zone %s is at a name server of its own (provider rfc2136), which proxies nothing: remove it", z.Zone)
	}
	var l *layerReader
	for _, other := range x.layers {
		if other.layer.Name == x.name.Layer {
			l = other
		}
	}
	if l == nil {
		return
	}
	for i := range f.Hosts {
		if h := &f.Hosts[i]; h.Carries(l.layer.Placement.Hosts) && !x.leads(h) {
			return
		}
	}
}

// zone finds the zone that a name lies in.
func (x *nameReader) zone(f *Fleet) *ExternalZone {
	n := x.node.Get("name")
	var names, zones []string
	var found *ExternalZone
	for i := range f.External {
		z := &f.External[i]
		names, zones = append(names, z.Name), append(zones, z.Zone)
		if x.name.Zone == "" && z.has(x.name.Name) && (found == nil || len(z.Zone) > len(found.Zone)) {
			found = z
		}
	}
	p := x.node.Get("provider")
	if x.name.Zone != "" {
		found = f.ExternalZone(x.name.Zone)
	}
	switch {
	case x.name.Name == "":
	case len(names) == 0:
		x.problem(n, "the Fleet has no zone for it: write one in its dns.external")
	case found == nil && x.name.Zone != "":
		x.problem(p, "the Fleet's dns.external has no %q%s; there are %s", x.name.Zone, didYouMean(x.name.Zone, names), list(names))
	case found == nil, !found.has(x.name.Name):
		if found != nil {
			zones = []string{found.Zone}
		}
		x.problem(n, "%q lies in no zone of the Fleet's dns.external: write a name that ends in .%s", x.name.Name, strings.Join(zones, " or ."))
	default:
		x.name.Zone = found.Name
		return found
	}
	return nil
}

func (z *ExternalZone) has(name string) bool {
	return name == z.Zone || strings.HasSuffix(name, "."+z.Zone)
}

// leads says whether a host has what a name is to lead to there.
func (x *nameReader) leads(h *Host) bool {
	n := x.node.Get("name")
	if x.name.Type != RecordA {
		if h.Hostname() == "" {
			x.problem(x.node.Get("type"), "%s leads to names of hosts, and %s has none: write one as its `address`, or use type A", x.name.Type, h.Name)
			return false
		}
		if h.Hostname() == x.name.Name {
			x.problem(n, "%q is the name of the host %s itself: write another", x.name.Name, h.Name)
			return false
		}
		return true
	}
	if len(h.PublicAddresses) == 0 {
		x.problem(n, "the host %s, where nodes of %s may be, has no IP address to lead to: give it `publicAddresses`", h.Name, x.name.Layer)
		return false
	}
	for _, a := range h.PublicAddresses {
		switch {
		case a.IsLoopback():
			x.problem(n, "the host %s, where nodes of %s may be, would be found at %s, which leads everybody to themselves: give it `publicAddresses`", h.Name, x.name.Layer, a)
			return false
		case x.name.Proxied && a.IsPrivate():
			x.problem(x.node.Get("proxied"), "%s of the host %s is private, and nothing can be proxied to it: give it `publicAddresses`, or remove `proxied`", a, h.Name)
			return false
		}
	}
	return true
}

// externalClashes refuses a name that two environments want.
func (l *loader) externalClashes() {
	first := map[string]*nameReader{}
	for _, e := range l.environments {
		for _, x := range e.externals {
			earlier := first[x.name.Name]
			if earlier == nil {
				first[x.name.Name] = x
				continue
			}
			if earlier.environmentReader != e {
				x.problem(x.node.Get("name"), "the name %q is the environment %s's already (%s:%d): a name leads to one environment",
					x.name.Name, earlier.env.Name, earlier.doc.File, earlier.node.Line)
			}
		}
	}
}
