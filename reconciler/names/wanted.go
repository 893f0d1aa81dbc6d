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
	fleet string
	owner string
	// standIns are those of Others that it leads to while none of Targets is in, and kept whose the records are that
	// lead to none of Targets: they stay the old owner's, which has to withdraw its nodes from them.
	standIns []Target
	kept     map[Data]string
}

// merge adds what the same environment wants of the same name elsewhere.
func (w *wish) merge(n Name) {
	if Lasts(fleet.DNSRecord{TTL: n.TTL}) < Lasts(fleet.DNSRecord{TTL: w.TTL}) {
		w.TTL = n.TTL
	}
	w.Proxied = w.Proxied && n.Proxied
	w.More = w.More || n.More
	w.None = w.None && n.None
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
// the first that serves. Only where the spec wants no node at all it says nothing in the end.
func (w *wish) data(ours, foreign []fleet.DNSRecord) ([]Data, []Held) {
	all := w.leading(func(*Target) bool { return true })
	w.standIns, w.kept = nil, nil
	if in := w.leading(func(t *Target) bool { return !t.Out }); len(in) > 0 {
		return single(w.more(in, all, ours), ours), nil
	}
	if w.None && !w.More {
		return nil, nil
	}
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
	stay := slices.DeleteFunc(slices.Clone(said), func(d Data) bool { return !slices.Contains(all, d) && !w.More })
	w.moved(ours, all)
	switch left := w.standing(said); {
	case len(said) == 0:
		return nil, nil
	case len(stay) > 0:
	case len(left) > 0:
		stay = left
	case len(all) > 0:
		stay = single(all, ours)
	default:
		stay = said
	}
	return stay, w.held(stay)
}

// moved finds the nodes that stand in, and notes whose the records are that lead to none of the targets.
func (w *wish) moved(ours []fleet.DNSRecord, all []Data) {
	w.kept = map[Data]string{}
	stands := func(o *Target) bool {
		owner := fleet.DNSOwner(w.fleet, o.Node.Environment)
		return slices.ContainsFunc(o.Data, func(d Data) bool { return w.kept[d] == owner })
	}
	for i := range ours {
		if d := dataOf(ours[i]); !slices.Contains(all, d) {
			w.kept[d] = ours[i].Owner
		}
	}
	if len(w.kept) == 0 {
		return
	}
	for i := range w.Others {
		if stands(&w.Others[i]) {
			w.standIns = append(w.standIns, w.Others[i])
		}
	}
	slices.SortFunc(w.standIns, func(a, b Target) int { return a.Node.Compare(b.Node) })
}

// standing is what a name says that leads to nodes that stand in and are in, and to nobody who is out; nothing, where
// all that stand in are out.
func (w *wish) standing(said []Data) []Data {
	leads := func(d Data, out bool) bool {
		return slices.ContainsFunc(w.standIns, func(o Target) bool { return o.Out == out && slices.Contains(o.Data, d) })
	}
	if !slices.ContainsFunc(said, func(d Data) bool { return leads(d, false) }) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(said), func(d Data) bool { return leads(d, true) && !leads(d, false) })
}

// more adds to what leads to nodes that are in what may lead to others that nobody knows of now.
func (w *wish) more(in, all []Data, ours []fleet.DNSRecord) []Data {
	if !w.More {
		return in
	}
	for i := range ours {
		if d := dataOf(ours[i]); !slices.Contains(all, d) {
			in = append(in, d)
		}
	}
	slices.SortFunc(in, compareData)
	return slices.Compact(in)
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
	for _, t := range slices.Concat(w.Targets, w.standIns) {
		if t.Out && slices.ContainsFunc(t.Data, func(d Data) bool { return slices.Contains(data, d) }) {
			held = append(held, Held{w.Name.Name, t.Node})
		}
	}
	return slices.Compact(held)
}

// to are the nodes that a record leads to, for people.
func (w *wish) to(d Data, out bool) string {
	var nodes []string
	for _, t := range slices.Concat(w.Targets, w.standIns) {
		if t.Out == out && slices.Contains(t.Data, d) {
			nodes = append(nodes, t.Node.String())
		}
	}
	return strings.Join(slices.Compact(nodes), ", ")
}

// record is a record of the name.
func (w *wish) record(d Data) fleet.DNSRecord {
	r := fleet.DNSRecord{Name: w.Name.Name, Type: d.Type, Content: d.Content, TTL: w.TTL, Owner: w.owner}
	if owner, ok := w.kept[d]; ok {
		r.Owner = owner
	}
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
