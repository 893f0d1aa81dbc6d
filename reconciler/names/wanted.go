package names

import (
	"cmp"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// wish is a name with all that one environment wants of it.
type wish struct {
	Name
	owner string
}

// merge adds what the same environment wants of the same name elsewhere.
func (w *wish) merge(n Name) {
	if Lasts(fleet.DNSRecord{TTL: n.TTL}) < Lasts(fleet.DNSRecord{TTL: w.TTL}) {
		w.TTL = n.TTL
	}
	w.Proxied = w.Proxied && n.Proxied
	w.Targets = append(w.Targets, n.Targets...)
}

// sort makes the order of what was given not matter.
func (w *wish) sort() {
	w.Targets = slices.Clone(w.Targets)
	for i := range w.Targets {
		t := &w.Targets[i]
		t.Data = slices.Clone(t.Data)
		for j := range t.Data {
			t.Data[j] = t.Data[j].canonical()
		}
		slices.SortFunc(t.Data, compareData)
	}
	slices.SortFunc(w.Targets, func(a, b Target) int {
		return cmp.Or(a.Node.Compare(b.Node), slices.CompareFunc(a.Data, b.Data, compareData), compareBool(a.Out, b.Out))
	})
}

// data is what the name is to say, sorted, and the nodes that are out and found all the same.
//
// While any target is in, it is what leads to those. With all of them out, the name goes on saying what it
// says (what leads to none of them any more gives way to what does); one that says nothing yet waits for
// the first that serves.
func (w *wish) data(ours, foreign []fleet.DNSRecord) ([]Data, []Held) {
	if in := w.leading(func(t *Target) bool { return !t.Out }); len(in) > 0 {
		return single(in, ours), nil
	}
	all := w.leading(func(*Target) bool { return true })
	var said []Data
	for i := range ours {
		said = append(said, dataOf(ours[i]))
	}
	for i := range foreign {
		if d := dataOf(foreign[i]); slices.Contains(all, d) {
			said = append(said, d)
		}
	}
	slices.SortFunc(said, compareData)
	said = slices.Compact(said)
	stay := slices.DeleteFunc(slices.Clone(said), func(d Data) bool { return !slices.Contains(all, d) })
	switch {
	case len(said) == 0:
		return nil, nil
	case len(stay) > 0:
	case len(all) > 0:
		stay = single(all, ours)
	default:
		stay = said
	}
	return stay, w.held(stay)
}

// leading is what leads to some of the targets.
func (w *wish) leading(some func(*Target) bool) []Data {
	var data []Data
	for i := range w.Targets {
		if some(&w.Targets[i]) {
			data = append(data, w.Targets[i].Data...)
		}
	}
	slices.SortFunc(data, compareData)
	return slices.Compact(data)
}

func (w *wish) held(data []Data) []Held {
	var held []Held
	for i := range w.Targets {
		t := &w.Targets[i]
		if slices.ContainsFunc(t.Data, func(d Data) bool { return slices.Contains(data, d) }) {
			held = append(held, Held{w.Name.Name, t.Node})
		}
	}
	return slices.Compact(held)
}

// to are the nodes that a record leads to, for people.
func (w *wish) to(d Data, out bool) string {
	var nodes []string
	for i := range w.Targets {
		if t := &w.Targets[i]; t.Out == out && slices.Contains(t.Data, d) {
			nodes = append(nodes, t.Node.String())
		}
	}
	return strings.Join(slices.Compact(nodes), ", ")
}

// record is a record of the name.
func (w *wish) record(d Data) fleet.DNSRecord {
	r := fleet.DNSRecord{Name: w.Name.Name, Type: d.Type, Content: d.Content, TTL: w.TTL, Owner: w.owner}
	if w.Proxied && proxiable(d.Type) {
		r.Proxied, r.TTL = true, 0
	}
	return r
}

// single leaves one alias where there are any: it excludes everything else. The one that is there stays.
func single(data []Data, ours []fleet.DNSRecord) []Data {
	aliases := slices.DeleteFunc(slices.Clone(data), func(d Data) bool { return d.Type != fleet.TypeCNAME })
	for i := range ours {
		if slices.Contains(aliases, dataOf(ours[i])) {
			return []Data{dataOf(ours[i])}
		}
	}
	if len(aliases) > 0 {
		return aliases[:1]
	}
	return data
}

func compareData(a, b Data) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Content, b.Content))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
