package names

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/singleflight"
)

// How long the resolvers of the host are waited for.
const (
	tryTimeout = 1500 * time.Millisecond // one of them, once
	allTimeout = 5 * time.Second
	rounds     = 2
)

// Forwarder asks other resolvers what isn't ours to answer.
type Forwarder struct {
	upstreams []string // host:port
	cache     *cache
	flights   singleflight.Group
}

// NewForwarder makes a forwarder that asks the resolvers in the given order.
func NewForwarder(upstreams []string) *Forwarder {
	return &Forwarder{upstreams: upstreams, cache: newCache(cacheEntries)}
}

// Upstreams reads the resolvers from a resolv.conf.
func Upstreams(path string) ([]string, error) {
	c, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the host's resolvers: %w", err)
	}
	var all []string
	for _, s := range c.Servers {
		if strings.Contains(s, ":") {
			s = "[" + s + "]"
		}
		all = append(all, s+":"+c.Port)
	}
	return all, nil
}

// Exchange returns an answer to r, at worst one that says that nobody answered.
func (f *Forwarder) Exchange(ctx context.Context, r *dns.Msg) *dns.Msg {
	key, shared := cacheKey(r)
	if !shared {
		return f.finish(r, f.ask(ctx, r))
	}
	if m := f.cache.get(key, time.Now()); m != nil {
		return f.finish(r, m)
	}
	v, _, _ := f.flights.Do(key.String(), func() (any, error) {
		if m := f.cache.get(key, time.Now()); m != nil { // another brought it, just before
			return m, nil
		}
		m := f.ask(ctx, r)
		if m != nil {
			f.cache.put(key, m, time.Now())
		}
		return m, nil
	})
	m, _ := v.(*dns.Msg)
	if m != nil {
		m = m.Copy() // others got the same
	}
	return f.finish(r, m)
}

// finish makes an upstream's answer one to the question as it was asked.
func (f *Forwarder) finish(r, m *dns.Msg) *dns.Msg {
	if m == nil {
		return refuse(r, dns.RcodeServerFailure)
	}
	m.Id, m.Question = r.Id, r.Question
	m.RecursionDesired, m.RecursionAvailable = r.RecursionDesired, true
	m.Authoritative, m.Truncated, m.Compress = false, false, true
	return m
}

// ask tries each upstream in turn, twice; nil: none gave an answer. An upstream that fails itself is passed
// over for the next, and its answer is the last resort.
func (f *Forwarder) ask(ctx context.Context, r *dns.Msg) *dns.Msg {
	ctx, cancel := context.WithTimeout(ctx, allTimeout)
	defer cancel()
	var worst *dns.Msg
	for range rounds {
		for _, u := range f.upstreams {
			m := exchange(ctx, r, u)
			if m != nil && (m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError) {
				return m
			}
			if m != nil {
				worst = m
			}
			if ctx.Err() != nil {
				return worst
			}
		}
		if worst != nil {
			return worst
		}
	}
	return worst
}

// exchange asks one upstream, over TCP where its answer doesn't fit a datagram.
func exchange(ctx context.Context, r *dns.Msg, upstream string) *dns.Msg {
	q := question(r)
	for _, network := range []string{"udp", "tcp"} {
		ctx, cancel := context.WithTimeout(ctx, tryTimeout)
		c := dns.Client{Net: network, Timeout: tryTimeout, UDPSize: udpSize}
		m, _, err := c.ExchangeContext(ctx, q, upstream)
		cancel()
		if err != nil || !answers(m, q) {
			return nil
		}
		if !m.Truncated {
			return m
		}
	}
	return nil
}

// question copies what is passed on of a query.
func question(r *dns.Msg) *dns.Msg {
	q := new(dns.Msg)
	q.Id = dns.Id()
	q.RecursionDesired, q.CheckingDisabled, q.AuthenticatedData = r.RecursionDesired, r.CheckingDisabled, r.AuthenticatedData
	q.Question = r.Question
	if opt := r.IsEdns0(); opt != nil {
		o := *opt
		o.SetUDPSize(udpSize)
		q.Extra = []dns.RR{&o}
	}
	return q
}

// answers says whether m is the answer to q, and not to something else.
func answers(m, q *dns.Msg) bool {
	return m != nil && m.Response && len(m.Question) == 1 &&
		m.Question[0].Qtype == q.Question[0].Qtype && m.Question[0].Qclass == q.Question[0].Qclass &&
		strings.EqualFold(m.Question[0].Name, q.Question[0].Name)
}
