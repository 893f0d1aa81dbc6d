package names

import (
	"container/list"
	"fmt"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Limits of the cache: it takes the load off the host's resolvers, it isn't one itself.
const (
	cacheEntries = 1024
	cacheSize    = 4096 // bytes of one answer
	cacheFor     = 60 * time.Second
)

// key is what answers have to agree in to be the same.
type key struct {
	name           string
	qtype, qclass  uint16
	rd, cd, ad, do bool
	edns           bool
}

func (k key) String() string { return fmt.Sprintf("%+v", plain(k)) }

type plain key

// cacheKey says under which key the answer to a query can be shared, if it can: not where the query
// carries options that only its asker means.
func cacheKey(r *dns.Msg) (key, bool) {
	q := r.Question[0]
	k := key{name: dns.CanonicalName(q.Name), qtype: q.Qtype, qclass: q.Qclass,
		rd: r.RecursionDesired, cd: r.CheckingDisabled, ad: r.AuthenticatedData}
	if opt := r.IsEdns0(); opt != nil {
		k.edns, k.do = true, opt.Do()
		return k, len(opt.Option) == 0
	}
	return k, true
}

// cache holds answers for as long as their TTL says, the least recently used given up first.
type cache struct {
	mu      sync.Mutex
	max     int
	byKey   map[key]*list.Element
	recents *list.List // of *cached, the most recently used in front
}

type cached struct {
	key     key
	m       *dns.Msg
	from    time.Time
	expires time.Time
}

func newCache(most int) *cache {
	return &cache{max: most, byKey: make(map[key]*list.Element), recents: list.New()}
}

// get returns a copy with the TTLs that are left, or nil.
func (c *cache) get(k key, now time.Time) *dns.Msg {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[k]
	if e == nil {
		return nil
	}
	entry := e.Value.(*cached)
	if !now.Before(entry.expires) {
		c.drop(e)
		return nil
	}
	c.recents.MoveToFront(e)
	m := entry.m.Copy()
	age := uint32(now.Sub(entry.from) / time.Second)
	eachRecord(m, func(h *dns.RR_Header) { h.Ttl -= min(age, h.Ttl) })
	return m
}

// put keeps an answer that may be kept.
func (c *cache) put(k key, m *dns.Msg, now time.Time) {
	ttl := min(lifetime(m), cacheFor)
	if ttl <= 0 || m.Len() > cacheSize {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.byKey[k]; old != nil {
		c.drop(old)
	}
	c.byKey[k] = c.recents.PushFront(&cached{k, m.Copy(), now, now.Add(ttl)})
	for c.recents.Len() > c.max {
		c.drop(c.recents.Back())
	}
}

func (c *cache) drop(e *list.Element) {
	delete(c.byKey, c.recents.Remove(e).(*cached).key)
}

// lifetime is how long an answer may be kept: the least TTL of its records, and for one that says that
// there is nothing at most the minimum of the SOA record that comes with it (RFC 2308).
func lifetime(m *dns.Msg) time.Duration {
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return 0
	}
	negative := len(m.Answer) == 0
	least, seen := uint32(1<<31), false
	eachRecord(m, func(h *dns.RR_Header) { least = min(least, h.Ttl) })
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			least, seen = min(least, soa.Minttl), true
		}
	}
	if negative && !seen {
		return 0
	}
	return time.Duration(least) * time.Second
}

func eachRecord(m *dns.Msg, f func(*dns.RR_Header)) {
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if h := rr.Header(); h.Rrtype != dns.TypeOPT {
				f(h)
			}
		}
	}
}
