package integration

import (
	"bufio"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
)

// recorder is a proxy in front of an engine that notes the calls that are made, and that can hold back, repeat and
// make up what the engine tells of events.
type recorder struct {
	mu     sync.Mutex
	writes []string
	reads  []string
	told   []string                 // the events that the engine told of, one JSON object each
	held   bool                     // they aren't passed on for now
	late   []string                 // those that are to be passed on
	out    map[chan<- string]func() // who listens, and how to end it
}

func record(t *testing.T, h *hosts.Host) (*recorder, string) {
	t.Helper()
	r := &recorder{out: map[chan<- string]func(){}}
	target, err := url.Parse("http://" + h.Address().String() + ":2375")
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog = log.New(io.Discard, "", 0) // what was given up isn't worth a word
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasSuffix(q.URL.Path, "/events") {
			r.events(w, q, target)
			return
		}
		r.note(q)
		proxy.ServeHTTP(w, q)
	}))
	t.Cleanup(func() {
		r.hangUp()
		server.Close()
	})
	return r, "tcp://" + strings.TrimPrefix(server.URL, "http://")
}

// newRecordedSite is newSite with a recorder in front of each host, through which evenkeel alone reaches it.
func newRecordedSite(t *testing.T, extra string, on ...*hosts.Host) (*site, []*recorder) {
	t.Helper()
	var all []*recorder
	var endpoints []string // first, since they are needed until the site is cleared
	for _, h := range on {
		r, endpoint := record(t, h)
		all = append(all, r)
		endpoints = append(endpoints, h.Endpoint(), endpoint)
	}
	s := newSite(t, on...)
	s.extra = extra
	s.writeFleet()
	s.write("fleet.yaml", strings.NewReplacer(endpoints...).Replace(s.read("fleet.yaml")))
	return s, all
}

// note keeps calls, reads and writes apart. The exec session to the keeper is how it is spoken to; it changes nothing.
func (r *recorder) note(q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case strings.Contains(q.URL.Path, "/exec"):
	case q.Method == http.MethodGet || q.Method == http.MethodHead:
		r.reads = append(r.reads, q.Method+" "+q.URL.Path)
	default:
		r.writes = append(r.writes, q.Method+" "+q.URL.Path)
	}
}

// taken are the writes since it was asked the last time.
func (r *recorder) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.writes
	r.writes = nil
	return w
}

// looked says how often what a path ends with has been read since it was asked the last time, for whatever.
func (r *recorder) looked(path string) (times int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, read := range r.reads {
		if strings.HasSuffix(read, path) {
			times++
		}
	}
	r.reads = nil
	return times
}

// events passes the engine's events on as it is asked to.
func (r *recorder) events(w http.ResponseWriter, q *http.Request, target *url.URL) {
	ctx, cancel := context.WithCancel(q.Context())
	defer cancel()
	up := q.Clone(ctx)
	up.RequestURI, up.URL.Scheme, up.URL.Host, up.Host = "", target.Scheme, target.Host, target.Host
	resp, err := http.DefaultTransport.RoundTrip(up)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	w.WriteHeader(resp.StatusCode)
	lines := make(chan string, 1<<16)
	r.mu.Lock()
	r.out[lines] = cancel
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.out, lines)
		r.mu.Unlock()
	}()
	go func() {
		defer cancel()
		r.hear(bufio.NewReader(resp.Body))
	}()
	flush := http.NewResponseController(w)
	for {
		if err := flush.Flush(); err != nil {
			return
		}
		select {
		case line := <-lines:
			if _, err := io.WriteString(w, line+"\n"); err != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// hear takes what the engine tells.
func (r *recorder) hear(engine *bufio.Reader) {
	for {
		line, err := engine.ReadString('\n')
		if line = strings.TrimSpace(line); line != "" {
			r.mu.Lock()
			r.told = append(r.told, line)
			if r.held {
				r.late = append(r.late, line)
			} else {
				r.pass(line)
			}
			r.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// pass tells everybody who listens. r.mu is held.
func (r *recorder) pass(lines ...string) {
	for out := range r.out {
		for _, l := range lines {
			out <- l
		}
	}
}

// tell passes events on that the engine doesn't tell of now.
func (r *recorder) tell(lines ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pass(lines...)
}

// holdBack keeps events from being passed on, until what it returns is called.
func (r *recorder) holdBack() (passOn func() (late []string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = true
	return func() []string {
		r.mu.Lock()
		defer r.mu.Unlock()
		late := r.late
		r.pass(late...)
		r.held, r.late = false, nil
		return late
	}
}

// past are all events that the engine has told of.
func (r *recorder) past() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.told...)
}

func (r *recorder) hangUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, end := range r.out {
		end()
	}
}
