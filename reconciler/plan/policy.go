package plan

import "github.com/evenkeel/evenkeel/spec"

// RemovedPolicy is how a layer goes that isn't wanted any more, and so has no policy of its own: all of its
// nodes at once, each with the default time for its open connections to end.
func RemovedPolicy() spec.UpdatePolicy {
	return spec.UpdatePolicy{
		Strategy: spec.Simultaneous, RemoveFromDNS: true, MaxUnavailable: 1, FailureAction: spec.FailureContinue,
		DrainTimeout: spec.DefaultDrainTimeout,
	}
}

// policy is how the layer's operations of one kind are paced.
func (l *layer) policy(k Kind) spec.UpdatePolicy {
	if l.spec == nil {
		return RemovedPolicy()
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
