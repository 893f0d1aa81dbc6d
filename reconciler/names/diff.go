package names

import (
	"fmt"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// diff is what one name's records of ours lack.
type diff struct {
	wish                      *wish // nil: the name isn't wanted
	creates, updates, deletes []Change
}

func (d *diff) compare(ours []fleet.DNSRecord, wanted []Data) {
	there := map[Data]bool{}
	for i := range ours {
		was, data := ours[i], dataOf(ours[i])
		switch {
		case !slices.Contains(wanted, data):
			d.deletes = append(d.deletes, Change{Delete, was, was, d.whyGone(data)})
		case there[data]:
			d.deletes = append(d.deletes, Change{Delete, was, was, "it is there twice"})
		default:
			there[data] = true
			d.update(was, d.wish.record(data))
		}
	}
	for _, data := range wanted {
		if !there[data] {
			d.creates = append(d.creates, Change{Operation: Create, Record: d.wish.record(data), Why: d.whyMade(data)})
		}
	}
}

// update adds what makes a record of ours right, where anything is wrong with it.
func (d *diff) update(was, is fleet.DNSRecord) {
	is.ID = was.ID
	var why []string
	if is.TTL != was.TTL {
		why = append(why, fmt.Sprintf("ttl %s → %s", ttl(was), ttl(is)))
	}
	if is.Proxied != was.Proxied {
		why = append(why, fmt.Sprintf("proxied %t → %t", was.Proxied, is.Proxied))
	}
	if is.Owner != was.Owner {
		why = append(why, fmt.Sprintf("owner %s → %s", was.Owner, is.Owner))
	}
	if why != nil {
		d.updates = append(d.updates, Change{Update, is, was, strings.Join(why, ", ")})
	}
}

// ordered is how the name is never without a record: first what is new, then what goes. An alias changes in
// place; where one turns into addresses or back, the old has to go first.
func (d *diff) ordered() []Change {
	if len(d.creates) == 1 && len(d.deletes) == 1 && d.creates[0].Record.Type == fleet.TypeCNAME && d.deletes[0].Was.Type == fleet.TypeCNAME {
		is, was := d.creates[0].Record, d.deletes[0].Was
		is.ID = was.ID
		return []Change{{Update, is, was, fmt.Sprintf("content %s → %s", was.Content, is.Content)}}
	}
	if anyAlias(d.creates) != anyAlias(d.deletes) && len(d.creates) > 0 {
		return slices.Concat(d.deletes, d.creates, d.updates)
	}
	return slices.Concat(d.creates, d.updates, d.deletes)
}

func anyAlias(changes []Change) bool {
	return slices.ContainsFunc(changes, func(c Change) bool { return c.Record.Type == fleet.TypeCNAME })
}

func (d *diff) whyMade(data Data) string {
	if to := d.wish.to(data, false); to != "" {
		return "leads to " + to
	}
	return "leads to " + d.wish.to(data, true)
}

func (d *diff) whyGone(data Data) string {
	if d.wish == nil {
		return "no environment wants the name any more"
	}
	if out := d.wish.to(data, true); out != "" {
		return out + " is out"
	}
	return "leads to no node of it any more"
}

func ttl(r fleet.DNSRecord) string {
	if r.TTL == 0 {
		return "automatic"
	}
	return r.TTL.String()
}
