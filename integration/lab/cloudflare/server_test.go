package cloudflare_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/cloudflare"
)

const zoneName = "example.com"

// client speaks to a server as curl would.
type client struct {
	t             *testing.T
	server        *cloudflare.Server
	url, zone     string
	authorization string
}

func newClient(t *testing.T) *client {
	s := cloudflare.New()
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return &client{t, s, h.URL + cloudflare.BasePath, s.AddZone(zoneName), "Bearer " + cloudflare.Token}
}

type reply struct {
	status  int
	header  http.Header
	Success bool
	Errors  []struct {
		Code    int
		Message string
	}
	Result json.RawMessage
	Info   struct {
		Page, Count int
		PerPage     int `json:"per_page"`
		TotalCount  int `json:"total_count"`
		TotalPages  int `json:"total_pages"`
	} `json:"result_info"`
	raw string
}

func (r reply) codes() []int {
	codes := []int{}
	for _, e := range r.Errors {
		codes = append(codes, e.Code)
	}
	return codes
}

func (r reply) record(t *testing.T) cloudflare.Record {
	var record cloudflare.Record
	require.NoError(t, json.Unmarshal(r.Result, &record), r.raw)
	return record
}

func (c *client) try(method, path, body string) (reply, error) {
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	require.NoError(c.t, err)
	req.Header.Set("Content-Type", "application/json")
	if c.authorization != "" {
		req.Header.Set("Authorization", c.authorization)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(c.t, err)
	r := reply{status: res.StatusCode, header: res.Header, raw: string(raw)}
	if res.Header.Get("Content-Type") == "application/json" {
		require.NoError(c.t, json.Unmarshal(raw, &r), r.raw)
	}
	return r, nil
}

func (c *client) do(method, path, body string) reply {
	r, err := c.try(method, path, body)
	require.NoError(c.t, err)
	return r
}

func (c *client) records(rest string) string { return "/zones/" + c.zone + "/dns_records" + rest }

func TestTokens(t *testing.T) {
	c := newClient(t)
	require.Contains(t, string(c.do("GET", "/user/tokens/verify", "").Result), `"active"`)
	for _, test := range []struct {
		authorization, path string
		status              int
		codes               []int
	}{
		{"", "/zones", 400, []int{9106}},
		{"Basic eDp5", "/zones", 400, []int{6003}},
		{"Bearer short", "/zones", 400, []int{6003}},
		{"Bearer " + strings.Repeat("x", 40), "/zones", 403, []int{9109}},
		{"Bearer " + strings.Repeat("x", 40), c.records(""), 403, []int{9109}},
		{"Bearer " + strings.Repeat("x", 40), "/user/tokens/verify", 401, []int{1000}},
	} {
		c.authorization = test.authorization
		r := c.do("GET", test.path, "")
		require.Equal(t, test.status, r.status, test.authorization)
		require.Equal(t, test.codes, r.codes(), test.authorization)
		require.False(t, r.Success)
	}
	c.authorization = "Bearer " + cloudflare.Token
	c.server.SetReadOnly(true)
	require.Equal(t, 200, c.do("GET", c.records(""), "").status)
	r := c.do("POST", c.records(""), `{"type":"A","name":"www","content":"203.0.113.1"}`)
	require.Equal(t, 403, r.status)
	require.Equal(t, []int{10000}, r.codes())
	c.server.SetReadOnly(false)
	c.server.SetToken(strings.Repeat("n", 40))
	require.Equal(t, 403, c.do("GET", "/zones", "").status)
}

func TestZones(t *testing.T) {
	c := newClient(t)
	c.server.AddZone("xn--bcher-kva.example")
	require.Equal(t, 2, c.do("GET", "/zones", "").Info.TotalCount)
	r := c.do("GET", "/zones?name="+zoneName, "")
	require.Equal(t, 1, r.Info.TotalCount)
	require.Contains(t, string(r.Result), c.zone)
	require.Equal(t, 1, c.do("GET", "/zones?name=B%C3%BCcher.example", "").Info.TotalCount)
	require.Zero(t, c.do("GET", "/zones?name=other.example", "").Info.TotalCount)

	require.Equal(t, []int{7003}, c.do("GET", "/zones/"+zoneName+"/dns_records", "").codes())
	require.Equal(t, []int{7000}, c.do("GET", "/zones/"+c.zone+"/purge_cache", "").codes())
	require.Equal(t, []int{7001}, c.do("DELETE", c.records(""), "").codes())
	c.server.RemoveZone(zoneName)
	require.Equal(t, []int{1001}, c.do("GET", c.records(""), "").codes())
}

func TestARecordsLife(t *testing.T) {
	c := newClient(t)
	r := c.do("POST", c.records(""), `{"type":"A","name":"WWW","content":"203.0.113.1","ttl":120,"comment":"mine"}`)
	require.Equal(t, 200, r.status, r.raw)
	made := r.record(t)
	require.Len(t, made.ID, 32)
	require.Equal(t, "www.example.com", made.Name)
	require.Equal(t, 120, made.TTL)
	require.Equal(t, "mine", *made.Comment)
	one := c.records("/" + made.ID)
	require.Equal(t, made, c.do("GET", one, "").record(t))

	patched := c.do("PATCH", one, `{"content":"203.0.113.2","tags":[]}`).record(t)
	require.Equal(t, "203.0.113.2", patched.Content)
	require.Equal(t, 120, patched.TTL, "PATCH leaves what it doesn't name")
	require.Equal(t, "mine", *patched.Comment)
	require.Equal(t, made.ID, patched.ID)

	put := c.do("PUT", one, `{"type":"A","name":"www","content":"203.0.113.3"}`).record(t)
	require.Equal(t, 1, put.TTL, "PUT replaces")
	require.Nil(t, put.Comment)
	require.Equal(t, []cloudflare.Record{put}, c.server.Records(zoneName))
	require.Equal(t, []int{9021}, c.do("PATCH", one, `{"ttl":59}`).codes())
	require.Equal(t, []cloudflare.Record{put}, c.server.Records(zoneName), "what is refused changes nothing")

	require.Contains(t, string(c.do("DELETE", one, "").Result), made.ID)
	for _, method := range []string{"GET", "PATCH", "PUT", "DELETE"} {
		r := c.do(method, one, "{}")
		require.Equal(t, 404, r.status, method)
		require.Equal(t, []int{81044}, r.codes(), method)
	}
	require.Equal(t, 1, c.server.Count("POST"))
	require.Equal(t, cloudflare.Call{Method: "POST", Path: c.records(""), Status: 200}, c.server.Calls()[0])
	c.server.Forget()
	require.Empty(t, c.server.Calls())
}

func TestWhatItMakesOfARecord(t *testing.T) {
	for _, test := range []struct{ given, name, content string }{
		{`{"type":"A","name":"@","content":"203.0.113.1"}`, zoneName, "203.0.113.1"},
		{`{"type":"A","name":"Shop.Example.COM.","content":"203.0.113.1"}`, "shop.example.com", "203.0.113.1"},
		{`{"type":"aaaa","name":"bücher","content":"2001:DB8:0:0::1"}`, "xn--bcher-kva.example.com", "2001:db8::1"},
		{`{"type":"CNAME","name":"*.www","content":"Host.Example.net."}`, "*.www.example.com", "host.example.net"},
		{`{"type":"SRV","name":"_http._tcp","data":{"priority":1,"weight":10,"port":8080,"target":"Host.example.net."}}`, "_http._tcp.example.com", "10 8080 host.example.net"},
	} {
		c := newClient(t)
		r := c.do("POST", c.records(""), test.given)
		require.Equal(t, 200, r.status, r.raw)
		record := r.record(t)
		require.Equal(t, test.name, record.Name)
		require.Equal(t, test.content, record.Content)
		require.Equal(t, 1, record.TTL, "automatic where none is given")
		require.Equal(t, []string{}, record.Tags)
		require.Contains(t, r.raw, `"comment":null`)
	}
	c := newClient(t)
	record := c.do("POST", c.records(""), `{"type":"A","name":"www","content":"203.0.113.1","ttl":300,"proxied":true}`).record(t)
	require.Equal(t, 1, record.TTL, "proxied ones have no other")
	require.True(t, record.Proxiable)
}

func TestWhatItRefuses(t *testing.T) {
	a := func(rest string) string { return `{"type":"A","name":"www","content":"203.0.113.1"` + rest + `}` }
	for _, test := range []struct {
		name, given string
		codes       []int
	}{
		{"no JSON", `{"type":`, []int{6007}},
		{"a number as text", a(`,"ttl":"60"`), []int{1004}},
		{"an unknown type", `{"type":"X","name":"www","content":"x"}`, []int{1004}},
		{"no IPv4 address", `{"type":"A","name":"www","content":"2001:db8::1"}`, []int{9005}},
		{"no address", `{"type":"A","name":"www"}`, []int{9005}},
		{"no IPv6 address", `{"type":"AAAA","name":"www","content":"203.0.113.1"}`, []int{9006}},
		{"no name", `{"type":"CNAME","name":"www","content":"a b"}`, []int{9007}},
		{"an alias of itself", `{"type":"CNAME","name":"www","content":"www.example.com"}`, []int{9039}},
		{"a label that is too long", `{"type":"A","name":"` + strings.Repeat("x", 64) + `","content":"203.0.113.1"}`, []int{9000}},
		{"SRV without data", `{"type":"SRV","name":"_http._tcp","content":"1 1 1 x"}`, []int{1004}},
		{"MX without priority", `{"type":"MX","name":"www","content":"mail.example.com"}`, []int{1004}},
		{"a TTL that is too short", a(`,"ttl":59`), []int{9021}},
		{"a TTL that is too long", a(`,"ttl":86401`), []int{9021}},
		{"a comment that is too long", a(`,"comment":"` + strings.Repeat("ä", 101) + `"`), []int{9313}},
		{"tags", a(`,"tags":["x:y"]`), []int{9300}},
		{"what can't be proxied", `{"type":"TXT","name":"www","content":"x","proxied":true}`, []int{9004}},
		{"a private address proxied", `{"type":"A","name":"www","content":"10.0.0.1","proxied":true}`, []int{9003}},
		{"an identical one", `{"type":"A","name":"taken","content":"203.0.113.1","ttl":300,"comment":"x"}`, []int{81058}},
		{"an alias beside an address", `{"type":"CNAME","name":"taken","content":"x.example.net"}`, []int{81053}},
		{"a second alias", `{"type":"CNAME","name":"alias","content":"x.example.net"}`, []int{81053}},
		{"an address beside an alias", `{"type":"AAAA","name":"alias","content":"2001:db8::1"}`, []int{81054}},
		{"an address beside a delegation", `{"type":"A","name":"below","content":"203.0.113.1"}`, []int{81056}},
		{"two things at once", a(`,"ttl":2,"tags":["x"]`), []int{9021, 9300}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newClient(t)
			c.server.Add(zoneName, cloudflare.Record{Type: "A", Name: "taken", Content: "203.0.113.1", TTL: 1})
			c.server.Add(zoneName, cloudflare.Record{Type: "CNAME", Name: "alias", Content: "host.example.net", TTL: 1})
			c.server.Add(zoneName, cloudflare.Record{Type: "NS", Name: "below", Content: "ns.example.net", TTL: 1})
			r := c.do("POST", c.records(""), test.given)
			require.Equal(t, 400, r.status)
			require.Equal(t, test.codes, r.codes())
			require.Len(t, c.server.Records(zoneName), 3)
		})
	}
	c := newClient(t)
	for _, given := range []string{a(`,"ttl":60`), `{"type":"A","name":"www","content":"203.0.113.2","ttl":86400}`, `{"type":"TXT","name":"www","content":"x","comment":"` + strings.Repeat("ä", 100) + `"}`} {
		require.Equal(t, 200, c.do("POST", c.records(""), given).status, given)
	}
	r := c.do("PATCH", c.records("/"+c.server.Records(zoneName)[0].ID), `{"content":"203.0.113.2"}`)
	require.Equal(t, []int{81058}, r.codes(), "nor by an update")
}

func TestPagesAndFilters(t *testing.T) {
	c := newClient(t)
	for i := range 205 {
		comment := fmt.Sprintf("evenkeel:f/e%d", i%2)
		c.server.Add(zoneName, cloudflare.Record{Type: "A", Name: fmt.Sprintf("n%03d", i), Content: fmt.Sprintf("203.0.113.%d", i), TTL: 1, Comment: &comment, Proxied: i < 3})
	}
	r := c.do("GET", c.records(""), "")
	require.Equal(t, [5]int{1, 100, 100, 205, 3}, [5]int{r.Info.Page, r.Info.PerPage, r.Info.Count, r.Info.TotalCount, r.Info.TotalPages})
	r = c.do("GET", c.records("?page=3"), "")
	require.Equal(t, [2]int{3, 5}, [2]int{r.Info.Page, r.Info.Count})
	require.Contains(t, r.raw, "n200.example.com")
	require.Zero(t, c.do("GET", c.records("?page=4"), "").Info.Count)
	require.Equal(t, 205, c.do("GET", c.records("?per_page=5000000"), "").Info.Count)
	for _, wrong := range []string{"?page=0", "?per_page=0", "?per_page=x", "?per_page=5000001"} {
		require.Equal(t, 400, c.do("GET", c.records(wrong), "").status, wrong)
	}
	for query, want := range map[string]int{
		"?name=N001.example.com": 1, "?name=n001": 0, "?type=A": 205, "?type=AAAA": 0, "?content=203.0.113.7": 1, "?comment=evenkeel:f/e0": 103,
		"?name.endswith=1.example.com&comment.startswith=EVENKEEL:F/E1": 21, "?content.contains=113.20": 6, "?proxied=true": 3,
		"?name=n001.example.com&content=203.0.113.2": 0, "?name=n001.example.com&content=203.0.113.2&match=any": 2, "?unknown=x": 205,
	} {
		require.Equal(t, want, c.do("GET", c.records(query), "").Info.TotalCount, query)
	}
	r = c.do("GET", c.records("?order=name&direction=desc&per_page=1"), "")
	require.Contains(t, r.raw, "n204.example.com")
}

func TestFaults(t *testing.T) {
	c := newClient(t)
	given := `{"type":"A","name":"www","content":"203.0.113.1"}`

	c.server.Inject(cloudflare.Fault{Method: "POST", Times: 1, Done: true})
	require.Equal(t, 200, c.do("GET", "/zones", "").status, "only calls of that method fail")
	_, err := c.try("POST", c.records(""), given)
	require.Error(t, err)
	require.Len(t, c.server.Records(zoneName), 1, "a lost reply")
	require.Equal(t, []int{81058}, c.do("POST", c.records(""), given).codes())

	c.server.Inject(cloudflare.Fault{Times: 2, Status: 502})
	r := c.do("DELETE", c.records("/"+c.server.Records(zoneName)[0].ID), "")
	require.Equal(t, 502, r.status)
	require.NotEqual(t, "application/json", r.header.Get("Content-Type"))
	require.Len(t, c.server.Records(zoneName), 1)
	require.Equal(t, 502, c.do("GET", "/zones", "").status)
	require.Equal(t, 200, c.do("GET", "/zones", "").status)

	c.server.Inject(cloudflare.Fault{Status: 429, RetryAfter: 1500 * time.Millisecond})
	require.Equal(t, "2", c.do("GET", "/zones", "").header.Get("Retry-After"), "rounded up")
	c.server.Heal()
	require.Equal(t, 200, c.do("GET", "/zones", "").status)

	c.server.Inject(cloudflare.Fault{Times: 1, Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/zones", nil)
	require.NoError(t, err)
	_, err = http.DefaultClient.Do(req)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	id := c.server.Records(zoneName)[0].ID
	c.server.Change(zoneName, id, func(r *cloudflare.Record) { r.TTL = 300 })
	require.Equal(t, 300, c.do("GET", c.records("/"+id), "").record(t).TTL)
	c.server.Hook(func(*http.Request) { c.server.Remove(zoneName, id) })
	require.Equal(t, 404, c.do("GET", c.records("/"+id), "").status)
}

func TestTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cloudflare.New()
		s.SetLimit(2, 5*time.Minute)
		ask := func() *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, cloudflare.BasePath+"/zones", bytes.NewReader(nil))
			r.Header.Set("Authorization", "Bearer "+cloudflare.Token)
			s.ServeHTTP(w, r)
			return w
		}
		require.Equal(t, 200, ask().Code)
		time.Sleep(time.Minute)
		require.Equal(t, 200, ask().Code)
		refused := ask()
		require.Equal(t, 429, refused.Code)
		require.Equal(t, "240", refused.Header().Get("Retry-After"))
		time.Sleep(4 * time.Minute)
		require.Equal(t, 200, ask().Code)
	})
}

func TestAZoneIsFullAtAThousand(t *testing.T) {
	c := newClient(t)
	for i := range 1000 {
		c.server.Add(zoneName, cloudflare.Record{Type: "TXT", Name: "www", Content: fmt.Sprint(i), TTL: 1})
	}
	require.Equal(t, []int{81045}, c.do("POST", c.records(""), `{"type":"A","name":"www","content":"203.0.113.1"}`).codes())
	require.Panics(t, func() {
		c.server.Add(zoneName, cloudflare.Record{Type: "A", Name: "x", Content: "203.0.113.1", TTL: 1})
	})
}
