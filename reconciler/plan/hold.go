package plan

import "slices"

// Hold returns a plan in which operations wait that can't be begun now: those for which why says a reason.
func Hold(p Plan, why func(Operation) string) Plan {
	layers := make([]Layer, len(p.Layers))
	for i := range p.Layers {
		l := p.Layers[i]
		l.Operations, l.Waiting = []Operation{}, slices.Clone(l.Waiting)
		for _, op := range p.Layers[i].Operations {
			if reason := why(op); reason != "" {
				l.Waiting = append(l.Waiting, Waiting{Node: op.Node, Reason: reason})
				continue
			}
			l.Operations = append(l.Operations, op)
		}
		slices.SortStableFunc(l.Waiting, func(a, b Waiting) int { return a.Node - b.Node })
		layers[i] = l
	}
	p.Layers = layers
	return p
}
