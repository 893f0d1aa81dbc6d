// Package cloudflare reads and changes the records of a zone at Cloudflare. What a record belongs to is its comment;
// before one is changed or deleted it is read, and left alone where it isn't what it was taken for.
//
// A call whose answer was lost is never simply made again: what became of it is looked up.
package cloudflare

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	api "github.com/cloudflare/cloudflare-go"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

const (
	// callTime is how long a call may take with all its attempts; Cloudflare lets those who ask too often wait for
	// up to five minutes.
	callTime = 6 * time.Minute
	// perPage is how many records are asked for at a time: more than a zone has, as a rule, so that it is read
	// as it is at one moment. (A free one has at most 1,000 of them, a paid one 3,500.)
	perPage = 5000
	// readings is how often a zone is read that changes meanwhile.
	readings = 3
)

// Config says which zone, and with what right.
type Config struct {
	Zone    string                 // example.com
	Token   func() (string, error) // asked before each call, so that a new one is taken up
	BaseURL string                 // another address of the API; empty: Cloudflare's own
	// Transport carries the calls; nil: Go's own.
	Transport http.RoundTripper
	// Limits are shared with other zones; nil: with none.
	Limits *Limits
}

// Zone is a zone at Cloudflare. It is safe for concurrent use.
type Zone struct {
	name string
	api  *api.API

	mu sync.Mutex
	id string // as found last; empty: not yet
}

// New returns a zone; nothing is asked yet.
func New(c Config) (*Zone, error) {
	next := c.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	limits := c.Limits
	if limits == nil {
		limits = NewLimits()
	}
	options := []api.Option{
		api.HTTPClient(&http.Client{
			Transport:     &transport{next: next, token: c.Token, at: c.BaseURL, limits: limits},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}),
		api.UsingRetryPolicy(0, 1, 1), // its own ignores Retry-After, and repeats what may have been done
		api.UsingRateLimit(1e6),       // its own is each client's, and Cloudflare's each token's: see Limits
		api.UserAgent("evenkeel"),
	}
	if c.BaseURL != "" {
		options = append(options, api.BaseURL(c.BaseURL))
	}
	client, err := api.NewWithAPIToken("set by the transport", options...)
	if err != nil {
		return nil, fmt.Errorf("preparing to speak to Cloudflare: %w", err)
	}
	return &Zone{name: c.Zone, api: client}, nil
}

// Records returns all records of the zone, evenkeel's and others'; those without an owner of the form that
// fleet.DNSMark writes have none. A list that isn't known to be whole is an error.
func (z *Zone) Records(ctx context.Context) ([]fleet.DNSRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	const doing = "reading the records"
	zone, err := z.find(ctx)
	if err != nil {
		return nil, z.failed(doing, err)
	}
	for range readings {
		found, err := z.list(ctx, zone, api.ListDNSRecordsParams{})
		switch {
		case errors.Is(err, errMoved):
		case err != nil:
			return nil, z.failed(doing, err)
		default:
			records := make([]fleet.DNSRecord, len(found))
			for i := range found {
				records[i] = fromAPI(found[i])
			}
			return records, nil
		}
	}
	return nil, z.failed(doing, errMoved)
}

// Check says whether the token is good for the zone, as far as that can be seen without changing anything.
func (z *Zone) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	const doing = "checking the token"
	// A token that belongs to an account and not to a user isn't known there: what it may do is what counts.
	if v, err := z.api.VerifyAPIToken(ctx); err == nil && v.Status != "active" {
		return z.failed(doing, &refusedError{"it is " + v.Status})
	}
	zone, err := z.find(ctx)
	if err == nil {
		_, _, err = z.api.ListDNSRecords(ctx, zone, api.ListDNSRecordsParams{ResultInfo: api.ResultInfo{Page: 1, PerPage: 5}})
	}
	if err == nil {
		err = z.mayEdit(ctx, zone)
	}
	if err != nil {
		return z.failed(doing, err)
	}
	return nil
}

// noRecord is an ID that no record has.
const noRecord = "00000000000000000000000000000000"

// mayEdit says whether the token may change records. It asks for a change of one that there isn't: who may not
// change any is refused before that is found out.
func (z *Zone) mayEdit(ctx context.Context, zone *api.ResourceContainer) error {
	_, err := z.api.UpdateDNSRecord(ctx, zone, api.UpdateDNSRecordParams{ID: noRecord, Type: "TXT", Name: z.name, Content: "none"})
	switch {
	case err == nil, hasCode(err, codeNoRecord):
		return nil
	case isRefused(err):
		return &refusedError{fmt.Sprintf("it may read the records, and not edit them (%s)", cause(err))}
	}
	return err
}

// find returns the zone, which is looked up by its name once.
func (z *Zone) find(ctx context.Context) (*api.ResourceContainer, error) {
	z.mu.Lock()
	id := z.id
	z.mu.Unlock()
	if id != "" {
		return api.ZoneIdentifier(id), nil
	}
	res, err := z.api.ListZonesContext(ctx, api.WithZoneFilters(z.name, "", ""))
	switch {
	case err != nil:
		return nil, err
	case !res.Success:
		return nil, errIncomplete
	case len(res.Result) == 0:
		return nil, &refusedError{"it may not see the zone, or there is none of that name"}
	case len(res.Result) > 1:
		return nil, &refusedError{fmt.Sprintf("it may see %d zones of that name; restrict it to one", len(res.Result))}
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.id = res.Result[0].ID
	return api.ZoneIdentifier(z.id), nil
}

// lose has the zone looked up again: it isn't there any more, or not for this token.
func (z *Zone) lose() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.id = ""
}

var (
	errIncomplete = errors.New("the answer is incomplete")
	errMoved      = errors.New("the zone changes while it is read; try again later")
)

// list reads all pages. It fails where they don't make up the whole: records move from page to page when others come
// and go meanwhile.
func (z *Zone) list(ctx context.Context, zone *api.ResourceContainer, params api.ListDNSRecordsParams) ([]api.DNSRecord, error) {
	var records []api.DNSRecord
	seen, total := map[string]bool{}, 0
	for page := 1; ; page++ {
		params.ResultInfo = api.ResultInfo{Page: page, PerPage: perPage}
		found, info, err := z.api.ListDNSRecords(ctx, zone, params)
		switch {
		case err != nil:
			return nil, err
		case info.Page != page || info.PerPage < 1:
			return nil, errIncomplete
		case page > 1 && info.Total != total:
			return nil, errMoved
		}
		total = info.Total
		for _, r := range found {
			if !seen[r.ID] {
				seen[r.ID] = true
				records = append(records, r)
			}
		}
		if page*info.PerPage >= total {
			if len(records) != total {
				return nil, errMoved
			}
			return records, nil
		}
	}
}
