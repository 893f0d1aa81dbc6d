package fleet

import (
	"cmp"
	"slices"
	"time"
)

// Stranger is a container with the fleet's label that is nothing of ours.
type Stranger struct {
	ID        string
	Name      string
	State     State
	CreatedAt time.Time
}

// SortStrangers sorts by name.
func SortStrangers(s []Stranger) {
	slices.SortFunc(s, func(a, b Stranger) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
}

// PutAside tells nodes that were renamed from containers that only look like one, which it puts with the
// strangers. What it is given stays as it is.
//
//	a container with a node's labels | is
//	under that node's name           | the node
//	under another name
//	  there is one of that name      | a stranger
//	  the copy has it on another host | a stranger
//	  several are                    | the first one made is the node, the others are strangers
//	  none is                        | the node, renamed
func PutAside(o Observed) Observed {
	kept := keptInstances(o)
	if kept == nil {
		return o
	}
	o.Hosts = slices.Clone(o.Hosts)
	for h := range o.Hosts {
		st := &o.Hosts[h]
		instances := st.Instances
		st.Instances, st.Strangers = nil, slices.Clone(st.Strangers)
		for i := range instances {
			in := &instances[i]
			if in.Renamed == "" || kept[in.Renamed] == in {
				st.Instances = append(st.Instances, *in)
				continue
			}
			st.Strangers = append(st.Strangers, Stranger{ID: in.ID, Name: in.Name, State: in.State, CreatedAt: in.CreatedAt})
		}
		SortStrangers(st.Strangers)
	}
	return o
}

// keptInstances are those that count as nodes though they have another name, by the name that they should
// have; nil: none has another name.
func keptInstances(o Observed) map[string]*Instance {
	var kept map[string]*Instance
	each := func(f func(in *Instance)) {
		for h := range o.Hosts {
			for i := range o.Hosts[h].Instances {
				f(&o.Hosts[h].Instances[i])
			}
		}
	}
	each(func(in *Instance) {
		if in.Renamed == "" {
			return
		}
		if first := kept[in.Renamed]; first == nil || older(in, first) {
			if kept == nil {
				kept = map[string]*Instance{}
			}
			kept[in.Renamed] = in
		}
	})
	if kept == nil {
		return nil
	}
	each(func(in *Instance) {
		if in.Renamed == "" {
			delete(kept, in.Name)
		}
	})
	c := NewestCopy(o)
	for i := range c.Nodes {
		n := &c.Nodes[i]
		for name, in := range kept {
			if in.NodeID == n.NodeID && in.Generation == n.Generation && in.Host != n.Host {
				delete(kept, name)
			}
		}
	}
	return kept
}

func older(a, b *Instance) bool {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID)) < 0
}
