package cloudflare

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Record is a DNS record as the API shows it.
type Record struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Type       string    `json:"type"`
	Content    string    `json:"content"`
	Proxiable  bool      `json:"proxiable"`
	Proxied    bool      `json:"proxied"`
	TTL        int       `json:"ttl"` // seconds; 1: automatic
	Settings   struct{}  `json:"settings"`
	Meta       struct{}  `json:"meta"`
	Comment    *string   `json:"comment"`
	Tags       []string  `json:"tags"`
	Priority   *int      `json:"priority,omitempty"`
	Data       *SRV      `json:"data,omitempty"`
	CreatedOn  time.Time `json:"created_on"`
	ModifiedOn time.Time `json:"modified_on"`
}

// SRV is what an SRV record says.
type SRV struct {
	Priority int    `json:"priority"`
	Weight   int    `json:"weight"`
	Port     int    `json:"port"`
	Target   string `json:"target"`
}

// Records returns a zone's records, in the order in which they were made.
func (s *Server) Records(zone string) []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.byName(zone).records)
}

// Add adds a record to a zone as somebody else does, and returns it as the zone has it. It panics where the API
// would refuse it.
func (s *Server) Add(zone string, r Record) Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	z := s.byName(zone)
	added, errors := z.put(r, "", s.tags)
	if errors != nil {
		panic(fmt.Sprintf("adding %s %s %s: %v", r.Name, r.Type, r.Content, errors))
	}
	return added
}

// Change changes a record behind everybody's back, unchecked; it panics where there is none.
func (s *Server) Change(zone, id string, change func(*Record)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	z := s.byName(zone)
	change(&z.records[z.index(id)])
}

// Alter has a zone make something else of each record that it is given; nil: it doesn't any more.
func (s *Server) Alter(zone string, alter func(*Record)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byName(zone).alter = alter
}

// Remove removes a record as somebody else does.
func (s *Server) Remove(zone, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	z := s.byName(zone)
	z.records = slices.DeleteFunc(z.records, func(r Record) bool { return r.ID == id })
}

func (s *Server) byName(name string) *zone {
	for _, z := range s.zones {
		if z.name == name {
			return z
		}
	}
	panic("there is no zone " + name)
}

func (z *zone) index(id string) int {
	return slices.IndexFunc(z.records, func(r Record) bool { return r.ID == id })
}

// zoneRecords answers calls about the records of a zone, and about one of them.
func (s *Server) zoneRecords(r *http.Request, zoneID string, rest []string) answer {
	at := slices.IndexFunc(s.zones, func(z *zone) bool { return z.id == zoneID })
	switch {
	case len(zoneID) != 32 || len(rest) > 1:
		return refused(http.StatusNotFound, apiError{7003, "Could not route to " + strings.TrimPrefix(r.URL.Path, BasePath) + ", perhaps your object identifier is invalid?"})
	case at < 0:
		return refused(http.StatusNotFound, apiError{1001, "Invalid zone identifier"})
	case len(rest) == 1:
		return s.zones[at].oneRecord(r, rest[0], s.tags)
	case r.Method == http.MethodGet:
		return s.zones[at].listRecords(r.URL.Query(), s.page)
	case r.Method == http.MethodPost:
		return s.zones[at].create(r, s.tags)
	}
	return notAllowed(r)
}

func notAllowed(r *http.Request) answer {
	return refused(http.StatusMethodNotAllowed, apiError{7001, "Method " + r.Method + " not available for that URI."})
}

func (z *zone) oneRecord(r *http.Request, id string, tags int) answer {
	i := z.index(id)
	if i < 0 {
		return refused(http.StatusNotFound, apiError{81044, "Record does not exist."})
	}
	switch r.Method {
	case http.MethodGet:
		return answered(z.records[i])
	case http.MethodPatch:
		return z.update(r, z.records[i], tags)
	case http.MethodPut:
		return z.update(r, Record{ID: id, TTL: 1}, tags)
	case http.MethodDelete:
		z.records = slices.Delete(z.records, i, i+1)
		return answered(map[string]string{"id": id})
	}
	return notAllowed(r)
}

func (z *zone) create(r *http.Request, tags int) answer {
	record, a := read(r, Record{TTL: 1})
	if a != nil {
		return *a
	}
	added, errors := z.put(record, "", tags)
	if errors != nil {
		return refused(http.StatusBadRequest, errors...)
	}
	return answered(added)
}

// update writes what a call says over a record; what it doesn't say stays as in base.
func (z *zone) update(r *http.Request, base Record, tags int) answer {
	record, a := read(r, base)
	if a != nil {
		return *a
	}
	record.CreatedOn = z.records[z.index(record.ID)].CreatedOn
	changed, errors := z.put(record, record.ID, tags)
	if errors != nil {
		return refused(http.StatusBadRequest, errors...)
	}
	return answered(changed)
}

// read reads the record in a call's body over another one.
func read(r *http.Request, base Record) (Record, *answer) {
	var body struct {
		Type     *string         `json:"type"`
		Name     *string         `json:"name"`
		Content  *string         `json:"content"`
		TTL      *int            `json:"ttl"`
		Proxied  *bool           `json:"proxied"`
		Comment  json.RawMessage `json:"comment"`
		Tags     json.RawMessage `json:"tags"`
		Priority *int            `json:"priority"`
		Data     *SRV            `json:"data"`
	}
	fail := func(e apiError) (Record, *answer) {
		a := refused(http.StatusBadRequest, e)
		return base, &a
	}
	if r.Header.Get("Content-Type") != "application/json" {
		return fail(apiError{9207, "Content-type must be application/json."})
	}
	var wrong *json.UnmarshalTypeError
	switch err := json.NewDecoder(r.Body).Decode(&body); {
	case asError(err, &wrong):
		return fail(apiError{1004, "DNS Validation Error"})
	case err != nil:
		return fail(apiError{6007, "Malformed JSON in request body"})
	}
	set(&base.Type, body.Type)
	set(&base.Name, body.Name)
	set(&base.Content, body.Content)
	set(&base.TTL, body.TTL)
	set(&base.Proxied, body.Proxied)
	if body.Priority != nil {
		base.Priority = body.Priority
	}
	if body.Data != nil {
		base.Data = body.Data
	}
	if body.Comment != nil {
		base.Comment = nil
		if json.Unmarshal(body.Comment, &base.Comment) != nil {
			return fail(apiError{1004, "DNS Validation Error"})
		}
	}
	if body.Tags != nil {
		base.Tags = nil
		if json.Unmarshal(body.Tags, &base.Tags) != nil {
			return fail(apiError{1004, "DNS Validation Error"})
		}
	}
	return base, nil
}

func set[T any](to *T, value *T) {
	if value != nil {
		*to = *value
	}
}
