package rollout

import (
	"fmt"

	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// guard says why a node may not be touched now; empty: it may.
//
//	node        | layer        | others serving | not serving, with it | may go
//	not serving | any          | any            | any                  | yes
//	any         | removed      | any            | any                  | yes
//	any         | one node     | any            | any                  | yes
//	serving     | two and more | none           | any                  | no
//	serving     | two and more | some           | > maxUnavailable     | no
//	serving     | two and more | some           | <= maxUnavailable    | yes
//
// Nodes at hand, and others of which it isn't known, count as not serving. What interrupts nothing isn't guarded.
func guard(v View, op plan.Operation, busy map[int]bool) string {
	if !guarded(v, op) {
		return ""
	}
	return weigh(v, op, busy)
}

// guarded says whether others have to serve for an operation's node to go.
func guarded(v View, op plan.Operation) bool {
	return guardable(v, op) && (v.Serving[op.Node] || v.Unknown[op.Node])
}

// guardable says whether others would have to if the node served.
func guardable(v View, op plan.Operation) bool {
	return op.Intrusive && !v.Plan.Removed && len(v.Serving) >= 2
}

// weigh says why too few others serve for a guarded node to go; empty: it may.
func weigh(v View, op plan.Operation, busy map[int]bool) string {
	others, down := 0, 1
	for node, serving := range v.Serving {
		switch {
		case node == op.Node:
		case serving && !busy[node]:
			others++
		default:
			down++
		}
	}
	most := policy(v.Plan, op).MaxUnavailable
	switch {
	case others == 0:
		return fmt.Sprintf("node %d is the only one that serves; waiting for another", op.Node)
	case down > most:
		return fmt.Sprintf("%d of %d nodes would not serve, at most %d may (maxUnavailable)", down, len(v.Serving), most)
	}
	return ""
}
