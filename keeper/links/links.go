package links

// Result is what became of what is wanted.
type Result struct {
	Changed []string `json:"changed,omitempty"`
	Waiting Waiting  `json:"waiting,omitempty"`
	Problem string   `json:"problem,omitempty"` // what could not be done; the rest is
}

// Waiting are the environments whose bridges aren't there: the engine has yet to make them.
type Waiting []string
