package rollout

import (
	"time"

	"github.com/evenkeel/evenkeel/reconciler/plan"
)

// Phase is where an operation is.
type Phase string

// The phases of an operation, in their order.
const (
	PhasePrepare  Phase = "prepare"  // image pulled, container created
	PhaseQueued   Phase = "queued"   // prepared, waits for its turn
	PhaseGuard    Phase = "guard"    // waits until enough other nodes serve
	PhaseWithdraw Phase = "withdraw" // leaves the names
	PhaseDrain    Phase = "drain"    // the TTL passes, open connections end
	PhaseOperate  Phase = "operate"  // stopped, started, changed
	PhaseGate     Phase = "gate"     // has to be healthy
	PhaseRestore  Phase = "restore"  // gets its names back
	PhaseDelay    Phase = "delay"    // after it, before the next node
	PhaseDone     Phase = "done"
	PhaseFailed   Phase = "failed"
	PhaseGivenUp  Phase = "given up" // not touched: interrupted, or the guard's time is over
	// PhaseOvertaken: a newer revision changes the node, or what was to be started is gone; it is planned anew.
	PhaseOvertaken Phase = "overtaken"
)

// Ended says whether the operation is over.
func (p Phase) Ended() bool {
	return p == PhaseDone || p == PhaseFailed || p == PhaseGivenUp || p == PhaseOvertaken
}

// Progress is one step of one operation, as it happens.
type Progress struct {
	Time        time.Time    `json:"time"`
	Revision    string       `json:"revision"`
	Environment string       `json:"environment"`
	Layer       string       `json:"layer"`
	Node        int          `json:"node"`
	Host        string       `json:"host"`
	FromHost    string       `json:"fromHost,omitempty"`
	Operation   plan.Kind    `json:"operation"`
	Phase       Phase        `json:"phase"`
	Causes      []plan.Cause `json:"causes,omitempty"`
	// Message says more, for people: what is waited for, what the node said before it ended.
	Message string `json:"message,omitempty"`
	Error   string `json:"error,omitempty"`
	// Wait is how long the phase takes, where that is known (delay, TTL).
	Wait plan.Duration `json:"wait,omitempty"`
	// Took is how long the operation took, once it has ended.
	Took plan.Duration `json:"took,omitempty"`
	// Done and Total count the layer's nodes of this rollout.
	Done  int `json:"done"`
	Total int `json:"total"`
}
