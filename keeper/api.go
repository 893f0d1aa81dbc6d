package keeper

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/evenkeel/evenkeel/keeper/lease"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// The times that both sides of a session rely on.
const (
	// SessionSilence is after how long without a byte from the client a keeper closes a session.
	SessionSilence = 15 * time.Second
	// PingInterval is how often a client asks for something, for as long as its session is open.
	PingInterval = 3 * time.Second
	// HeartbeatInterval is how often a watch says that nothing happened.
	HeartbeatInterval = 2 * time.Second
	// HelloTimeout is how long a keeper may take to say what it is.
	HelloTimeout = 2 * time.Second
	// CallTimeout is the deadline of a call whose context has none that is earlier.
	CallTimeout = 5 * time.Second
	// StandbyPoll is how often a keeper on standby looks whether its predecessor is gone.
	StandbyPoll = 50 * time.Millisecond
)

// Hello is what a keeper says of itself at once.
type Hello struct {
	Product string           `json:"product"` // always "evenkeel-keeper"
	Version int              `json:"version"`
	Fleet   string           `json:"fleet"`
	Host    string           `json:"host"`
	Mode    fleet.KeeperMode `json:"mode"`
	Token   uint64           `json:"token,omitempty"` // of the lease in force
}

const product = "evenkeel-keeper"

// Event is what a watch tells: health that changed (in the first event, all that is known), or nothing,
// which says that the keeper lives.
type Event struct {
	Health []fleet.ProbeResult `json:"health,omitempty"`
	Serial uint64              `json:"serial"` // of the zone in effect
}

// HeldError says who holds a lease that was asked for in vain.
type HeldError = lease.HeldError

type acquireRequest struct {
	Holder string `json:"holder"`
	Client string `json:"client"`
}

type acquireReply struct {
	Token uint64 `json:"token"`
}

type zoneReply struct {
	Serial uint64 `json:"serial"`
}

type recordsRequest struct {
	Put    []fleet.Record `json:"put,omitempty"`
	Delete []string       `json:"delete,omitempty"`
}

// tokenHeader carries the fencing number of calls that change something.
const tokenHeader = "Evenkeel-Lease"

// The kinds of refusals.
const (
	kindInvalid = "invalid"
	kindFenced  = "fenced"
	kindHeld    = "held"
	kindStale   = "stale"
	kindMode    = "mode" // on standby, or retired
	kindFailed  = "failed"
)

// refusal is the body of every answer that isn't a success.
type refusal struct {
	Kind    string           `json:"kind"`
	Message string           `json:"message"`
	Holder  string           `json:"holder,omitempty"`
	Token   uint64           `json:"token,omitempty"`
	Mode    fleet.KeeperMode `json:"mode,omitempty"`
}

func decodeRefusal(body []byte) refusal {
	var r refusal
	if err := json.Unmarshal(body, &r); err != nil || r.Message == "" {
		r.Message = "the keeper refused without saying why"
	}
	return r
}

// marshal leaves text as it is: a record's value comes back as the bytes that it was given in.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}
