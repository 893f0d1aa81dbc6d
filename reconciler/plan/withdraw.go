package plan

import (
	"fmt"
	"slices"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// withdraw lists the records that are gone while each node is touched. A name's last record stays, in the
// view of each keeper, which with the bridge driver is that of its own host's nodes; so a node's own name
// stays, except when the node is removed.
func (w *world) withdraw(l *layer) {
	if !slices.ContainsFunc(l.out.Operations, func(op Operation) bool { return op.Intrusive && l.policy(op.Kind).RemoveFromDNS }) {
		return
	}
	inView := map[string]int{} // nodes in the names by host
	for _, n := range l.nodes {
		if n.seen != nil && fleet.Named(w.in.Observed, n.seen) {
			inView[n.current().Host]++
		}
	}
	out := newBatch(inView)
	for i := range l.out.Operations {
		op := &l.out.Operations[i]
		if !op.Intrusive || !l.policy(op.Kind).RemoveFromDNS {
			continue
		}
		if !op.Serving {
			w.withdrawUndecided(l, op, out.left)
			continue
		}
		if l.sequential(op) && out.size >= l.policy(op.Kind).MaxUnavailable {
			out.end()
		}
		host := op.Instance.Host
		last := out.left[host] <= 1
		out.touch(host, op.Kind == Remove)
		var records []string
		if op.Kind == Remove {
			records = append(records, record(fleet.NodeDomain(op.ID, w.fleet.Internal.Zone), op.Instance))
		}
		if !last {
			records = append(records, record(fleet.LayerDomain(l.id, w.fleet.Internal.Zone), op.Instance))
		} else if op.Kind != Remove && len(w.fleet.Hosts) > 1 && w.fleet.Network.Driver == spec.NetworkBridge && l.wantedNodes() > 1 {
			w.warn(fmt.Sprintf("%s is not withdrawn from the names on %s while it is touched: no other node of its layer would be left in them there", op.ID, host))
		}
		if records != nil {
			op.DNS, op.Lasts = &Withdrawal{Withdraw: records}, w.fleet.Internal.TTL
		}
	}
}

// withdrawUndecided is for a node that runs and of whose health nothing has been heard yet: it may be in the names,
// and another one may be left in them without it.
func (w *world) withdrawUndecided(l *layer, op *Operation, left map[string]int) {
	if op.Instance == nil || op.Kind == Remove || left[op.Instance.Host] <= 1 {
		return
	}
	n := w.find(op.ID)
	if n == nil || n.seen == nil || !fleet.Undecided(w.in.Observed, n.seen) {
		return
	}
	op.DNS = &Withdrawal{Withdraw: []string{record(fleet.LayerDomain(l.id, w.fleet.Internal.Zone), op.Instance)}}
	op.Lasts = w.fleet.Internal.TTL
}

func record(name string, in *fleet.Instance) string { return name + " A " + in.Address.String() }

func (l *layer) wantedNodes() int {
	if l.spec == nil {
		return 0
	}
	return l.spec.Replicas
}

// batch are the nodes that are out at the same time.
type batch struct {
	left map[string]int // nodes in the names, by host
	back []string       // hosts of those that come back when the batch ends
	size int
}

func newBatch(left map[string]int) *batch { return &batch{left: left} }

func (b *batch) touch(host string, forGood bool) {
	b.size++
	b.left[host]--
	if !forGood {
		b.back = append(b.back, host)
	}
}

func (b *batch) end() {
	for _, h := range b.back {
		b.left[h]++
	}
	b.back, b.size = nil, 0
}
