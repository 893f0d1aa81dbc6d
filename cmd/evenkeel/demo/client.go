package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// The client's pace: well above the 50 requests a second that the demo promises, and how long each of a
// request's two parts, the lookup and the exchange, may take before it has failed.
const (
	clientInterval = 10 * time.Millisecond
	clientTimeout  = 2 * time.Second
)

// Client makes requests at a steady pace. Each has a lookup and a connection of its own, nothing is cached
// and nothing is tried twice.
type Client struct {
	Name       string // looked up each time
	Port       uint16
	Nameserver string // host:port
	Tally      *Tally
}

// Run makes requests until ctx ends, then waits for those under way.
func (c *Client) Run(ctx context.Context) {
	tick := time.NewTicker(clientInterval)
	defer tick.Stop()
	var open sync.WaitGroup
	defer open.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			open.Go(func() {
				c.Tally.begin()
				c.Tally.end(c.request(context.WithoutCancel(ctx)))
			})
		}
	}
}

// request is one request; it returns who answered it.
func (c *Client) request(ctx context.Context) (Answer, error) {
	addresses, err := c.lookup(ctx)
	if err != nil {
		return Answer{}, err
	}
	c.Tally.saw(addresses)
	if len(addresses) == 0 {
		return Answer{}, fmt.Errorf("looking up %s: no address", c.Name)
	}
	return c.get(ctx, addresses[rand.IntN(len(addresses))])
}

// lookup asks the nameserver once, without a cache, a search list or a second try.
func (c *Client) lookup(ctx context.Context) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	question := new(dns.Msg).SetQuestion(dns.Fqdn(c.Name), dns.TypeA)
	answer, _, err := (&dns.Client{Timeout: clientTimeout}).ExchangeContext(ctx, question, c.Nameserver)
	if err != nil {
		return nil, fmt.Errorf("looking up %s: %w", c.Name, err)
	}
	if answer.Rcode != dns.RcodeSuccess {
		return nil, fmt.Errorf("looking up %s: %s", c.Name, dns.RcodeToString[answer.Rcode])
	}
	var out []netip.Addr
	for _, r := range answer.Answer {
		if a, ok := r.(*dns.A); ok {
			if address, ok := netip.AddrFromSlice(a.A); ok {
				out = append(out, address.Unmap())
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out, nil
}

// get makes a connection, one request on it, and closes it.
func (c *Client) get(ctx context.Context, to netip.Addr) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+netip.AddrPortFrom(to, c.Port).String()+"/", nil)
	if err != nil {
		return Answer{}, err
	}
	request.Close = true
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return Answer{}, fmt.Errorf("asking %s: %w", to, err)
	}
	defer response.Body.Close()
	var a Answer
	if response.StatusCode != http.StatusOK {
		return a, fmt.Errorf("asking %s: it answered %s", to, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 4096)).Decode(&a); err != nil {
		return a, fmt.Errorf("reading the answer of %s: %w", to, err)
	}
	return a, nil
}

// Nameserver returns the first nameserver of a resolv.conf.
func Nameserver(path string) (string, error) {
	config, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	if len(config.Servers) == 0 {
		return "", fmt.Errorf("%s names no nameserver", path)
	}
	return net.JoinHostPort(config.Servers[0], config.Port), nil
}

// Report is what the client has counted so far.
type Report struct {
	Requests int `json:"requests"` // ended
	Open     int `json:"open"`     // begun and not ended
	Failed   int `json:"failed"`
	// Addresses are the answer to the newest lookup.
	Addresses []string `json:"addresses"`
	// Greetings counts answers by what the nodes said.
	Greetings map[string]int `json:"greetings"`
	// Error is why the last request that failed did.
	Error string `json:"error,omitempty"`
}

// Tally counts requests. It is safe for concurrent use.
type Tally struct {
	mu      sync.Mutex
	now     Report
	changed chan struct{} // closed when the addresses change
}

// NewTally returns one that has counted nothing yet.
func NewTally() *Tally {
	return &Tally{changed: make(chan struct{}), now: Report{Greetings: map[string]int{}}}
}

// Report returns what was counted so far, and a channel that is closed when the addresses change.
func (t *Tally) Report() (Report, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.now
	r.Addresses = slices.Clone(r.Addresses)
	r.Greetings = make(map[string]int, len(t.now.Greetings))
	for k, v := range t.now.Greetings {
		r.Greetings[k] = v
	}
	return r, t.changed
}

func (t *Tally) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Open++
}

func (t *Tally) end(a Answer, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Open--
	t.now.Requests++
	if err != nil {
		t.now.Failed++
		t.now.Error = err.Error()
		return
	}
	t.now.Greetings[a.Greeting]++
}

func (t *Tally) saw(addresses []netip.Addr) {
	text := make([]string, 0, len(addresses))
	for _, a := range addresses {
		text = append(text, a.String())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.Equal(text, t.now.Addresses) {
		return
	}
	t.now.Addresses = text
	close(t.changed)
	t.changed = make(chan struct{})
}

// isName says whether text can be looked up.
func isName(text string) bool {
	_, ok := dns.IsDomainName(text)
	return ok && strings.TrimSpace(text) != ""
}
