package cloudflare

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	defaultPerPage = 100
	maxPerPage     = 5_000_000
	zonesPerPage   = 50
)

func (s *Server) listZones(q url.Values) answer {
	type shown struct {
		ID     string `json:"id"`
		Name   string `json:"name"`
		Status string `json:"status"`
	}
	found := []shown{}
	for _, z := range s.zones {
		if name := q.Get("name"); name == "" || canonicalName(name) == z.name {
			found = append(found, shown{z.id, z.name, "active"})
		}
	}
	return paged(q, found, zonesPerPage, zonesPerPage, zonesPerPage)
}

// listRecords lists the records that a query asks for. As the real one does, it passes over parameters
// that it doesn't know.
func (z *zone) listRecords(q url.Values, page int) answer {
	found := []Record{}
	for _, r := range z.records {
		if matches(r, q) {
			found = append(found, r)
		}
	}
	if key := sortKey(q.Get("order")); key != nil {
		slices.SortStableFunc(found, func(a, b Record) int { return cmp.Compare(key(a), key(b)) })
	}
	if q.Get("direction") == "desc" {
		slices.Reverse(found)
	}
	return paged(q, found, defaultPerPage, maxPerPage, page)
}

// matches says whether a record meets all of a query, or with match=any any of it.
func matches(r Record, q url.Values) bool {
	comment := ""
	if r.Comment != nil {
		comment = *r.Comment
	}
	asked, met := 0, 0
	for field, value := range map[string]string{"name": r.Name, "type": r.Type, "content": r.Content, "comment": comment} {
		for suffix, test := range map[string]func(s, part string) bool{
			"": strings.EqualFold, ".exact": strings.EqualFold,
			".contains":   func(s, part string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(part)) },
			".startswith": func(s, part string) bool { return strings.HasPrefix(strings.ToLower(s), strings.ToLower(part)) },
			".endswith":   func(s, part string) bool { return strings.HasSuffix(strings.ToLower(s), strings.ToLower(part)) },
		} {
			if want := q.Get(field + suffix); want != "" {
				asked++
				if test(value, want) {
					met++
				}
			}
		}
	}
	if q.Get("proxied") != "" {
		asked++
		if q.Get("proxied") == strconv.FormatBool(r.Proxied) {
			met++
		}
	}
	return met == asked || q.Get("match") == "any" && met > 0
}

func sortKey(order string) func(Record) string {
	switch order {
	case "name":
		return func(r Record) string { return r.Name }
	case "type":
		return func(r Record) string { return r.Type }
	case "content":
		return func(r Record) string { return r.Content }
	}
	return nil
}

// paged is the page that a query asks for. Most is how many may be asked for on one, and given how many it holds.
func paged[T any](q url.Values, all []T, perPage, most, given int) answer {
	page := 1
	for key, n := range map[string]*int{"page": &page, "per_page": &perPage} {
		if !q.Has(key) {
			continue
		}
		var err error
		if *n, err = strconv.Atoi(q.Get(key)); err != nil || *n < 1 || key == "per_page" && *n > most {
			return refused(http.StatusBadRequest, apiError{1003, "Invalid value for " + key})
		}
	}
	perPage = min(perPage, given)
	begin := min((page-1)*perPage, len(all))
	part := all[begin:min(begin+perPage, len(all))]
	a := answered(part)
	body := a.body.(envelope)
	body.Info = &pageInfo{Page: page, PerPage: perPage, Count: len(part), TotalCount: len(all), TotalPages: (len(all) + perPage - 1) / perPage}
	a.body = body
	return a
}
