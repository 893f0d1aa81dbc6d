// Package cloudflare is a server that behaves as Cloudflare's API (version 4) does where DNS records are concerned:
// tokens, zones, records with their validation, pages, filters, limits and errors. Tests look into it, count the
// calls made, and have it fail as the real one does.
//
// It is strict rather than complete: what it doesn't know it refuses. Codes and messages are those that the real
// one was seen to answer with. A zone is one on the free plan, with comments of at most 100 characters and no tags.
package cloudflare

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Token is what the server accepts at first.
const Token = "v1_0-the-token-of-a-test-40-characters-lo"

// BasePath is where the API is below a server's address.
const BasePath = "/client/v4"

// Server is Cloudflare. It is an http.Handler and safe for concurrent use.
type Server struct {
	mu       sync.Mutex
	token    string
	readOnly bool
	zones    []*zone
	calls    []Call
	faults   []*Fault
	hook     func(*http.Request)
	limit    limit
	page     int // the most records on a page
	tags     int // the most tags of a record
}

type zone struct {
	id, name string
	records  []Record
	alter    func(*Record) // what it makes of what it is given; nil: what the real one does
}

// Call is a call that was answered, or would have been.
type Call struct {
	Method string
	Path   string // below BasePath
	Query  string
	Status int // 0: the connection was cut, or nobody waited for the answer
}

// New returns a server that knows no zone and accepts Token.
func New() *Server { return &Server{token: Token, page: maxPerPage} }

// SetPage has pages hold fewer records than are asked for.
func (s *Server) SetPage(most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.page = most
}

// SetTags lets records have tags, as those of a paid zone.
func (s *Server) SetTags(most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tags = most
}

// SetToken has the server accept another token only.
func (s *Server) SetToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

// SetReadOnly takes the token's right to change records, or gives it back.
func (s *Server) SetReadOnly(readOnly bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readOnly = readOnly
}

// AddZone adds a zone, also one of a name that is there already, in another account.
func (s *Server) AddZone(name string) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id = newID()
	s.zones = append(s.zones, &zone{id: id, name: name})
	return id
}

// RemoveZone removes all zones of a name.
func (s *Server) RemoveZone(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zones = slices.DeleteFunc(s.zones, func(z *zone) bool { return z.name == name })
}

// Calls returns the calls so far.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Count returns how many calls with a method there were; an empty one stands for all.
func (s *Server) Count(method string) int {
	n := 0
	for _, c := range s.Calls() {
		if method == "" || c.Method == method {
			n++
		}
	}
	return n
}

// Forget forgets the calls so far.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
}

// Hook has a function called before each call is looked at: what somebody else does meanwhile. Nil: none.
func (s *Server) Hook(f func(*http.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = f
}

// ServeHTTP answers a call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	hook := s.hook
	s.mu.Unlock()
	if hook != nil {
		hook(r)
	}
	f := s.fault(r)
	a := s.answer(r, f)
	call := Call{Method: r.Method, Path: strings.TrimPrefix(r.URL.Path, BasePath), Query: r.URL.RawQuery, Status: a.status}
	s.mu.Lock()
	s.calls = append(s.calls, call)
	s.mu.Unlock()
	switch {
	case f != nil && f.Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case a.status == 0:
		panic(http.ErrAbortHandler)
	}
	a.write(w)
}

// answer is what is answered, with a fault or without.
func (s *Server) answer(r *http.Request, f *Fault) answer {
	if f == nil {
		if a, limited := s.limited(); limited {
			return a
		}
		return s.handle(r)
	}
	if f.Done {
		s.handle(r)
	}
	return f.answer()
}

func (s *Server) handle(r *http.Request) answer {
	path, ok := strings.CutPrefix(r.URL.Path, BasePath)
	if !ok {
		return refused(http.StatusNotFound, apiError{7000, "No route for that URI"})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.authenticate(r, path); a != nil {
		return *a
	}
	switch parts := strings.Split(strings.Trim(path, "/"), "/"); {
	case path == "/user/tokens/verify" && r.Method == http.MethodGet:
		return answered(map[string]string{"id": strings.Repeat("0", 32), "status": "active"})
	case path == "/zones" && r.Method == http.MethodGet:
		return s.listZones(r.URL.Query())
	case len(parts) >= 3 && parts[0] == "zones" && parts[2] == "dns_records":
		return s.zoneRecords(r, parts[1], parts[3:])
	}
	return refused(http.StatusNotFound, apiError{7000, "No route for that URI"})
}

var tokenForm = regexp.MustCompile(`^[A-Za-z0-9_-]{30,}$`)

// authenticate refuses who has no right to a call; nil: they have.
func (s *Server) authenticate(r *http.Request, path string) *answer {
	header := r.Header.Get("Authorization")
	token, bearer := strings.CutPrefix(header, "Bearer ")
	var a answer
	switch {
	case header == "":
		a = refused(http.StatusBadRequest, apiError{9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers"})
	case !bearer || !tokenForm.MatchString(token):
		a = refused(http.StatusBadRequest, apiError{6003, "Invalid request headers"})
	case token != s.token && path == "/user/tokens/verify":
		a = refused(http.StatusUnauthorized, apiError{1000, "Invalid API Token"})
	case token != s.token:
		a = refused(http.StatusForbidden, apiError{9109, "Invalid access token"})
	case s.readOnly && r.Method != http.MethodGet:
		a = refused(http.StatusForbidden, apiError{10000, "Authentication error"})
	default:
		return nil
	}
	return &a
}

// answer is an answer before it is written; status 0: the connection is cut.
type answer struct {
	status int
	header http.Header
	body   any
	raw    string // instead of a body
}

type apiError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

type pageInfo struct {
	Page       int `json:"page"`
	PerPage    int `json:"per_page"`
	Count      int `json:"count"`
	TotalCount int `json:"total_count"`
	TotalPages int `json:"total_pages"`
}

type envelope struct {
	Result   any        `json:"result"`
	Success  bool       `json:"success"`
	Errors   []apiError `json:"errors"`
	Messages []apiError `json:"messages"`
	Info     *pageInfo  `json:"result_info,omitempty"`
}

func answered(result any) answer {
	return answer{status: http.StatusOK, body: envelope{Result: result, Success: true, Errors: []apiError{}, Messages: []apiError{}}}
}

func refused(status int, errors ...apiError) answer {
	return answer{status: status, body: envelope{Errors: errors, Messages: []apiError{}}}
}

func (a answer) write(w http.ResponseWriter) {
	for key, values := range a.header {
		w.Header()[key] = values
	}
	if a.raw != "" {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(a.status)
		_, _ = w.Write([]byte(a.raw))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.body)
}

// limit is how many calls are answered in a window of time; 0: any number.
type limit struct {
	calls, done int
	window      time.Duration
	ends        time.Time
}

// SetLimit has the server refuse what comes beyond a number of calls in a window of time.
func (s *Server) SetLimit(calls int, window time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit{calls: calls, window: window}
}

func (s *Server) limited() (answer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.limit
	if l.calls == 0 {
		return answer{}, false
	}
	if now := time.Now(); !now.Before(l.ends) {
		l.done, l.ends = 0, now.Add(l.window)
	}
	l.done++
	if l.done <= l.calls {
		return answer{}, false
	}
	return throttled(time.Until(l.ends)), true
}

// throttled is what is answered to those who ask too often; it names whole seconds, rounded up.
func throttled(wait time.Duration) answer {
	a := refused(http.StatusTooManyRequests, apiError{10100, "More than 1200 requests per 300 seconds reached. Please wait and consider throttling your request speed"})
	seconds := int((wait + time.Second - 1) / time.Second)
	a.header = http.Header{"Retry-After": {strconv.Itoa(seconds)}}
	return a
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// RoundTrip makes a call without a network, so that a test may have a time of its own (testing/synctest).
func (s *Server) RoundTrip(r *http.Request) (res *http.Response, err error) {
	defer func() {
		switch cut := recover(); {
		case cut == nil:
		case r.Context().Err() != nil:
			err = r.Context().Err()
		default:
			err = io.ErrUnexpectedEOF
		}
	}()
	if r.Body == nil {
		r = r.Clone(r.Context())
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	res = w.Result()
	res.Request = r
	return res, nil
}
