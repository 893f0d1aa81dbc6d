package drift

import (
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// files are those of ours in a node. They are compared with what was last read of them, whatever became of the
// node since: what can't be read isn't over.
func (f *finder) files(n *fleet.Node, l *spec.Layer, add func(field, wanted, found, remedy string, since time.Time)) {
	in := n.CurrentInstance()
	read := f.in.Observed.Host(in.Host).Files[in.ID]
	if read.Problem != "" {
		f.report.Unknown = append(f.report.Unknown, "the files of "+in.NodeID.String()+": "+read.Problem)
	}
	for _, c := range plan.FileChanges(f.in.Desired.Fleet.Name, l, in, read) {
		var since time.Time
		if c.Told {
			since = c.At
		}
		remedy := f.healed("makes the node anew, at the layer's pace")
		if f.selfHeal && c.GivenUp(in) {
			remedy = "left as it is: it was changed again each time the node was made anew, by a program in it"
		}
		add(c.Field, c.To, c.From, remedy, since)
	}
}
