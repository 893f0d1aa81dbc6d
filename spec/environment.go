package spec

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/schema"
)

// maxNodes is how many nodes an environment's network has addresses for.
const maxNodes = 447

// maxDomain is the longest domain name that Linux keeps for a container; of a longer one the engine sets
// the first 64 characters, without a word.
const maxDomain = 64

// environmentReader reads one Environment; its layers are beside those of env until they are sorted.
type environmentReader struct {
	*reader
	env       *Environment
	layers    []*layerReader
	externals []*nameReader
}

// layerReader is a layer with the place that it was read from.
type layerReader struct {
	*environmentReader
	node  *schema.Node
	layer Layer
}

func (l *loader) readEnvironment(doc document) *environmentReader {
	e := &environmentReader{reader: newReader(doc), env: &Environment{
		Name:   text(doc.Root.At("metadata", "name"), ""),
		Source: fmt.Sprintf("%s:%d", doc.File, doc.Root.Line),
	}}
	cloudlet, fleet := Resources{Memory: 128 << 20, CPU: 200}, ""
	if l.fleet != nil {
		cloudlet, fleet = l.fleet.Cloudlet, l.fleet.Name
	}
	list := doc.Root.At("spec", "layers").List()
	e.unique(list, "layer", name)
	for _, n := range list {
		lr := &layerReader{environmentReader: e, node: n}
		lr.read(l, cloudlet)
		lr.canonical(fleet)
		e.layers = append(e.layers, lr)
	}
	e.dependencies()
	e.names()
	e.size()
	for _, lr := range e.layers {
		e.env.Layers = append(e.env.Layers, lr.layer)
	}
	slices.SortFunc(e.env.Layers, func(a, b Layer) int { return cmp.Compare(a.Name, b.Name) })
	return e
}

var nodeName = regexp.MustCompile(`^node[0-9]+$`)

// dependencies checks that they exist and don't go round.
func (e *environmentReader) dependencies() {
	var names []string
	byName := map[string]*layerReader{}
	for _, l := range e.layers {
		names = append(names, l.layer.Name)
		byName[l.layer.Name] = l
	}
	for _, l := range e.layers {
		e.unique(l.node.Get("dependsOn").List(), "layer", itself)
		for _, n := range l.node.Get("dependsOn").List() {
			on := text(n, l.layer.Name)
			switch {
			case n.Kind != schema.Text:
			case on == l.layer.Name:
				e.problem(n, "the layer depends on itself: remove it")
			case byName[on] == nil:
				e.problem(n, "there is no layer %q in this environment%s", on, didYouMean(on, names))
			}
		}
	}
	e.cycles(byName)
}

// cycles reports each layer that is first, in the file's order, of a ring of dependencies.
func (e *environmentReader) cycles(byName map[string]*layerReader) {
	const under, done = 1, 2
	state := map[string]int{}
	var visit func(l *layerReader, way []string)
	visit = func(l *layerReader, way []string) {
		name := l.layer.Name
		state[name] = under
		way = append(way, name)
		for _, n := range l.node.Get("dependsOn").List() {
			on := byName[text(n, "")]
			switch {
			case on == nil || on.layer.Name == name:
			case state[on.layer.Name] == under:
				ring := append(slices.Clone(way[slices.Index(way, on.layer.Name):]), on.layer.Name)
				e.problem(n, "the layers depend on each other in a ring (%s), so none could ever start: remove one of these", strings.Join(ring, " → "))
			case state[on.layer.Name] != done:
				visit(on, way)
			}
		}
		state[name] = done
	}
	for _, l := range e.layers {
		if l.layer.Name != "" && state[l.layer.Name] != done {
			visit(l, nil)
		}
	}
}

// size refuses more nodes than an environment's network has addresses for.
func (e *environmentReader) size() {
	total := 0
	for _, l := range e.layers {
		total += l.layer.Replicas
	}
	if total > maxNodes {
		e.problem(e.doc.Root.At("spec", "layers"), "the layers have %d nodes together, and an environment has addresses for %d: "+
			"write fewer replicas, or make it two environments", total, maxNodes)
	}
}

// against checks an environment against its fleet.
func (e *environmentReader) against(f *Fleet) {
	for _, l := range e.layers {
		l.domain(f)
		l.placeable(f)
		l.permitted(f)
	}
	for _, x := range e.externals {
		x.against(f)
		e.env.DNS = append(e.env.DNS, x.name)
	}
	slices.SortFunc(e.env.DNS, func(a, b ExternalName) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Layer, b.Layer))
	})
}

// domain refuses names that don't fit into what Linux and DNS have room for.
func (l *layerReader) domain(f *Fleet) {
	domain := l.layer.Name + "." + l.env.Name + "." + f.Internal.Zone
	if n := l.node.Get("name"); n != nil && len(domain) > maxDomain {
		l.problem(n, "the nodes' domain %s has %d characters, and Linux has room for %d: shorten the name of the layer, the environment or the zone", domain, len(domain), maxDomain)
	}
}

// placeable refuses labels that no host carries.
func (l *layerReader) placeable(f *Fleet) {
	n := l.node.At("placement", "hosts")
	if len(l.layer.Placement.Hosts) == 0 {
		return
	}
	fits := 0
	for i := range f.Hosts {
		if f.Hosts[i].Carries(l.layer.Placement.Hosts) {
			fits++
		}
	}
	if fits > 0 {
		if l.layer.Placement.AntiAffinity == AntiAffinityRequired && l.layer.Replicas > fits {
			l.warn(n, "with antiAffinity: required %d replicas need as many hosts; hosts with these labels: %d", l.layer.Replicas, fits)
		}
		return
	}
	before := len(l.problems)
	for _, e := range n.Map() {
		l.labelCarried(f, e)
	}
	if len(l.problems) == before {
		l.problem(n, "no host carries all of these labels: write labels that one host has")
	}
}

// labelCarried refuses a label that not even one host carries.
func (l *layerReader) labelCarried(f *Fleet, e schema.Entry) {
	var keys, values []string
	for _, h := range f.Hosts {
		for key, value := range h.Labels {
			keys = append(keys, key)
			if key == e.Key {
				values = append(values, value)
			}
		}
	}
	slices.Sort(keys)
	slices.Sort(values)
	keys, values = slices.Compact(keys), slices.Compact(values)
	value := text(e.Value, "")
	switch {
	case len(keys) == 0:
		l.keyProblem(e, "no host carries any label: give the hosts labels, or remove this")
	case len(values) == 0:
		l.keyProblem(e, "no host carries a label %q%s; there are %s", e.Key, didYouMean(e.Key, keys), list(keys))
	case !slices.Contains(values, value):
		l.problem(e.Value, "no host carries %s: %s%s; there are %s", e.Key, value, didYouMean(value, values), list(values))
	}
}

// Carries says whether a host has all of these labels.
func (h *Host) Carries(labels map[string]string) bool {
	for key, value := range labels {
		if have, ok := h.Labels[key]; !ok || have != value {
			return false
		}
	}
	return true
}

// permitted refuses what goes beyond the safe default where the fleet doesn't allow it.
func (l *layerReader) permitted(f *Fleet) {
	s := l.node.Get("security")
	need := func(n *schema.Node, allowed []string, what, key string) {
		if slices.Contains(allowed, l.env.Name) {
			return
		}
		l.problem(n, "%s beyond the safe default, and the Fleet doesn't allow it: remove it, or add %s to policy.allow.%s there", what, l.env.Name, key)
	}
	if l.layer.Security.Privileged {
		need(s.Get("privileged"), f.Allow.Privileged, "privileged is", "privileged")
	}
	if len(l.layer.Security.HostPaths) > 0 {
		need(s.Get("hostPaths"), f.Allow.HostPaths, "paths of the host are", "hostPaths")
	}
	for _, n := range s.Get("capabilities").List() {
		if c := text(n, ""); isCapability(capability(c)) && !slices.Contains(DefaultCapabilities, capability(c)) {
			need(n, f.Allow.Capabilities, "the capability "+capability(c)+" is", "capabilities")
		}
	}
}
