package plan

import "github.com/evenkeel/evenkeel/spec"

// policy is how the layer's operations of one kind are paced. A layer that is removed has no policy any
// more and needs no care: all of its nodes go at once.
func (l *layer) policy(k Kind) spec.UpdatePolicy {
	if l.spec == nil {
		return spec.UpdatePolicy{Strategy: spec.Simultaneous, RemoveFromDNS: true, MaxUnavailable: 1, FailureAction: spec.FailureContinue}
	}
	p := l.spec.Update.For(string(k))
	p.MaxUnavailable = max(1, p.MaxUnavailable)
	return p
}

// paced says whether an operation waits for its turn: creates and starts never do.
func paced(op *Operation) bool { return op.Kind != Create && op.Kind != Start }

// sequential says whether an operation waits for those before it.
func (l *layer) sequential(op *Operation) bool {
	return paced(op) && l.policy(op.Kind).Strategy == spec.Sequential
}
