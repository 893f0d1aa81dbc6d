package cloudflare

import (
	"net/http"
	"time"
)

// Fault is something that goes wrong with calls.
type Fault struct {
	Method string // of which calls; empty: of any
	Times  int    // how often; 0: until Heal
	Done   bool   // the call is carried out all the same: only its answer is lost
	Status int    // what is answered instead; 0: the connection is cut
	Hang   bool   // nothing is answered for as long as the client waits
	// RetryAfter is what a 429 asks for, in whole seconds; 0: it asks for nothing.
	RetryAfter time.Duration
}

// Inject has calls fail; faults that were injected earlier come first.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Times == 0 {
		f.Times = -1
	}
	s.faults = append(s.faults, &f)
}

// Heal ends all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// fault is what goes wrong with a call, if anything does.
func (s *Server) fault(r *http.Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.Times != 0 && (f.Method == "" || f.Method == r.Method) {
			f.Times--
			return f
		}
	}
	return nil
}

func (f *Fault) answer() answer {
	switch {
	case f.Status == 0 || f.Hang:
		return answer{}
	case f.Status == http.StatusTooManyRequests:
		a := throttled(f.RetryAfter)
		if f.RetryAfter == 0 {
			a.header = nil
		}
		return a
	}
	// The edge answers for a server behind it, and not in JSON.
	return answer{status: f.Status, raw: "<html><body>" + http.StatusText(f.Status) + "</body></html>"}
}
