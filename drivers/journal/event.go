package journal

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Event is one thing that happened to a node, a layer or a host. What doesn't apply is left empty.
type Event struct {
	Time        time.Time `json:"time"`
	By          string    `json:"by,omitempty"` // who did it, for people: user@machine (pid)
	Revision    string    `json:"revision,omitempty"`
	Environment string    `json:"environment,omitempty"`
	Layer       string    `json:"layer,omitempty"`
	Node        int       `json:"node,omitempty"` // the ordinal, from 1
	Host        string    `json:"host,omitempty"`
	Operation   string    `json:"operation,omitempty"`
	Name        string    `json:"name,omitempty"` // of what was changed on a host beside nodes: a network's, a volume's
	Cause       string    `json:"cause,omitempty"`
	Phase       string    `json:"phase,omitempty"`
	Outcome     string    `json:"outcome,omitempty"`
	// Duration is written as text with units, such as "1.5s".
	Duration time.Duration `json:"-"`
	Message  string        `json:"message,omitempty"`
}

// bare is an Event without its methods.
type bare Event

type written struct {
	bare
	Duration string `json:"duration,omitempty"`
}

// MarshalJSON writes the event as it stands in the journal.
func (e Event) MarshalJSON() ([]byte, error) {
	w := written{bare: bare(e)}
	if e.Duration != 0 {
		w.Duration = e.Duration.String()
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON wrote; unknown keys are those of a newer version.
func (e *Event) UnmarshalJSON(b []byte) error {
	var w written
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*e = Event(w.bare)
	if w.Duration == "" {
		return nil
	}
	d, err := time.ParseDuration(w.Duration)
	if err != nil {
		return fmt.Errorf("duration of an event: %w", err)
	}
	e.Duration = d
	return nil
}

// maxText bounds a cause and a message: a program's endless last line is no history.
const maxText = 16 << 10

// line is the event as one line of the journal.
func (e Event) line() ([]byte, error) {
	e.Time = e.Time.UTC()
	e.Cause, e.Message = shortened(e.Cause), shortened(e.Message)
	b, err := json.Marshal(e)
	return append(b, '\n'), err
}

func shortened(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}
