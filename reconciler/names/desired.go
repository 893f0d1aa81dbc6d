package names

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// Wishes is what names are worked out from.
type Wishes struct {
	Desired  *spec.Spec
	Observed fleet.Observed
	// Out says which nodes are kept out of their names though they may well serve; nil: none is.
	Out func(fleet.NodeID) bool
	// Coming are nodes that will be there, with their hosts, and Going those that won't: for a look ahead.
	Coming map[fleet.NodeID]string
	Going  map[fleet.NodeID]bool
}

// Desired are the names that environments want of each zone, by its name in the Fleet.
//
// A node leads to where its current instance is. One that is on a host out of reach goes on being found there: it may
// well serve, and unknown isn't absent; but for a host that a commit has taken out, which says that it is gone. So does one of whose health nothing is known, if it was ever healthy.
func Desired(w Wishes) map[string][]Name {
	if !slices.ContainsFunc(w.Desired.Environments, func(e spec.Environment) bool { return len(e.DNS) > 0 }) {
		return nil
	}
	d := newDesire(w)
	names := map[string][]Name{}
	for i := range w.Desired.Environments {
		env := &w.Desired.Environments[i]
		for j := range env.DNS {
			x := &env.DNS[j]
			if z := w.Desired.Fleet.ExternalZone(x.Zone); z != nil {
				names[z.Name] = append(names[z.Name], d.name(env, x, z))
			}
		}
	}
	return names
}

// Leads is the data of all that may lead to a node's host, whatever name it is under.
func Leads(desired *spec.Spec, observed fleet.Observed, node fleet.NodeID) []Data {
	d := newDesire(Wishes{Desired: desired, Observed: observed})
	host := HostLeads(desired, d.copy)
	var data []Data
	for _, p := range d.places[node.LayerID()] {
		if p.node == node {
			data = append(data, host(p.host)...)
		}
	}
	return data
}

// desire is what names are made of.
type desire struct {
	Wishes
	copy   fleet.Copy
	more   bool // there are hosts out of reach, and no keeper that knows what is there
	places map[fleet.LayerID][]place
	all    map[spec.RecordType][]Target // nodes of all layers, by what leads to them
}

func newDesire(w Wishes) *desire {
	d := &desire{Wishes: w, copy: fleet.NewestCopy(w.Observed), places: map[fleet.LayerID][]place{}, all: map[spec.RecordType][]Target{}}
	if w.Out == nil {
		d.Out = func(fleet.NodeID) bool { return false }
	}
	d.locate()
	return d
}

// place is where a node is, or is known to have been.
type place struct {
	node      fleet.NodeID
	host      string
	published []fleet.Published
	out       bool
}

// locate finds where the nodes are.
func (d *desire) locate() {
	for i := range d.Desired.Fleet.Hosts {
		h := d.Observed.Host(d.Desired.Fleet.Hosts[i].Name)
		d.more = d.more || d.copy.Serial == 0 && (h == nil || !h.Reachable)
	}
	far := d.far()
	nodes := fleet.Nodes(d.Observed)
	for i := range nodes {
		n := &nodes[i]
		in := n.CurrentInstance()
		if in == nil || d.Going[n.NodeID] || d.Coming[n.NodeID] != "" {
			continue
		}
		if f, ok := far[n.NodeID]; ok {
			if in.Generation < f.Generation || n.Recorded < in.Generation {
				continue // the one out of reach is the newer one, or the only one that was ever healthy
			}
			delete(far, n.NodeID)
		}
		if n.Unproven {
			continue // what a name says already is better than a node that has never been healthy
		}
		l := n.LayerID()
		d.places[l] = append(d.places[l], place{
			node: n.NodeID, host: in.Host, published: in.Published,
			out: d.Out(n.NodeID) || n.Unfit(in) != "" || fleet.Unhealthy(d.Observed, n),
		})
	}
	for id, host := range d.Coming {
		delete(far, id)
		d.places[id.LayerID()] = append(d.places[id.LayerID()], place{node: id, host: host})
	}
	for id, n := range far {
		if n.Unproven {
			continue // see above
		}
		d.places[id.LayerID()] = append(d.places[id.LayerID()], place{node: id, host: n.Host, published: n.Published, out: d.Out(id) || d.Desired.Fleet.Host(n.Host) == nil})
	}
	for _, places := range d.places {
		slices.SortFunc(places, func(a, b place) int { return a.node.Compare(b.node) })
	}
}

// far are the nodes on hosts out of reach, as far as keepers know of them.
func (d *desire) far() map[fleet.NodeID]fleet.CopyNode {
	far := map[fleet.NodeID]fleet.CopyNode{}
	for _, n := range d.copy.Nodes {
		if h := d.Observed.Host(n.Host); h == nil || !h.Reachable {
			far[n.NodeID] = n
		}
	}
	return far
}

func (d *desire) name(env *spec.Environment, x *spec.ExternalName, z *spec.ExternalZone) Name {
	n := Name{Environment: env.Name, Name: x.Name, TTL: z.TTL, Proxied: x.Proxied, More: d.more}
	var port *spec.Port
	if l := env.Layer(x.Layer); l != nil {
		port, n.None = l.Port(x.Port), l.Replicas == 0
	}
	for _, p := range d.places[fleet.LayerID{Environment: env.Name, Layer: x.Layer}] {
		n.Targets = append(n.Targets, Target{Node: p.node, Data: d.data(x, port, &p), Out: p.out})
	}
	n.Others = d.others(x)
	return n
}

// others are the nodes of all layers: a name may have led to any of them before it was given to another.
func (d *desire) others(x *spec.ExternalName) []Target {
	if all, ok := d.all[x.Type]; ok {
		return all
	}
	var all []Target
	for _, places := range d.places {
		for i := range places {
			p := &places[i]
			t := Target{Node: p.node, Out: p.out}
			addresses, hostname := d.host(p.host)
			switch {
			case x.Type == spec.RecordA:
				t.Data = addressData(addresses)
			case x.Type == spec.RecordCNAME && hostname != "":
				t.Data = []Data{{fleet.TypeCNAME, hostname}}
			case hostname != "":
				for _, pub := range p.published {
					t.Data = append(t.Data, service(pub.HostPort, hostname))
				}
			}
			all = append(all, t)
		}
	}
	d.all[x.Type] = all
	return all
}

// data is what leads to a node.
func (d *desire) data(x *spec.ExternalName, port *spec.Port, p *place) []Data {
	addresses, hostname := d.host(p.host)
	switch {
	case x.Type == spec.RecordA:
		return addressData(addresses)
	case hostname == "":
		return nil
	case x.Type == spec.RecordCNAME:
		return []Data{{fleet.TypeCNAME, hostname}}
	case port == nil:
		return nil
	}
	for _, pub := range p.published {
		if pub.Port == port.Port && pub.Protocol == port.Protocol && pub.HostPort != 0 {
			return []Data{service(pub.HostPort, hostname)}
		}
	}
	if port.Publish != nil && *port.Publish != 0 {
		return []Data{service(*port.Publish, hostname)}
	}
	return nil
}

// host is what leads to a host.
func (d *desire) host(name string) (addresses []netip.Addr, hostname string) {
	return leadsTo(d.Desired, &d.copy, name)
}

func service(port uint16, hostname string) Data {
	return Data{fleet.TypeSRV, fmt.Sprintf("0 1 %d %s", port, hostname)}
}

func addressData(addresses []netip.Addr) []Data {
	data := make([]Data, len(addresses))
	for i, a := range addresses {
		data[i] = Address(a)
	}
	return data
}
