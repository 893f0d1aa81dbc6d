package integration

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// outage is a time in which a node surely didn't answer: from the end of the first request that failed to
// the beginning of the last one in a row.
type outage struct {
	of          string
	begun, over time.Time
}

// patrol asks published ports of hosts all the time, each on its own, and a client beside it asks whichever
// host answers, as clients do that are given several addresses.
type patrol struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	// lookUp gives the addresses that the client's name leads to now, of which it asks one, once; nil: it has no name.
	lookUp func() []string

	mu      sync.Mutex
	outages []outage
	asked   int      // by the client
	lost    []string // its requests that no host answered
}

// patrolPorts begins to ask a port of hosts, each of them so often.
func patrolPorts(t *testing.T, every time.Duration, port int, on ...*hosts.Host) *patrol {
	t.Helper()
	return patrolName(t, every, nil, port, on...)
}

// patrolName is patrolPorts with a client that goes by a name.
func patrolName(t *testing.T, every time.Duration, lookUp func() []string, port int, on ...*hosts.Host) *patrol {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &patrol{cancel: cancel, lookUp: lookUp}
	var addresses []string
	for _, h := range on {
		addresses = append(addresses, net.JoinHostPort(h.Address().String(), fmt.Sprint(port)))
	}
	for i, h := range on {
		p.done.Go(func() { p.watch(ctx, every, h.Name(), addresses[i]) })
	}
	p.done.Go(func() { p.load(ctx, every/2, addresses) })
	t.Cleanup(p.end)
	return p
}

// watch notes when one address answers and when it doesn't.
func (p *patrol) watch(ctx context.Context, every time.Duration, name, address string) {
	var now *outage
	note := func() {
		if now != nil && now.over.After(now.begun) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.outages = append(p.outages, *now)
		}
		now = nil
	}
	for tick := time.NewTicker(every); ctx.Err() == nil; {
		begun := time.Now()
		_, err := askOnce(ctx, address)
		switch {
		case ctx.Err() != nil:
		case err == nil:
			note()
		case now == nil:
			now = &outage{of: name, begun: time.Now()}
		default:
			now.over = begun
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
		}
	}
	note()
}

// load is the client, each of whose requests goes to the addresses in an order of its own.
func (p *patrol) load(ctx context.Context, every time.Duration, addresses []string) {
	var open sync.WaitGroup
	defer open.Wait()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			open.Go(func() { p.request(context.WithoutCancel(ctx), addresses) })
		case <-ctx.Done():
			return
		}
	}
}

// request asks one address after the other, as long as none has answered: the next when one fails, or takes long.
func (p *patrol) request(ctx context.Context, addresses []string) {
	answers := make(chan error, len(addresses))
	if p.lookUp != nil {
		p.requestByName(ctx)
		return
	}
	var why []string
	begun, open := 0, 0
	for order := rand.Perm(len(addresses)); ; {
		if begun < len(order) {
			to := addresses[order[begun]]
			begun, open = begun+1, open+1
			p.done.Go(func() {
				_, err := askOnce(ctx, to)
				answers <- err
			})
		}
		select {
		case err := <-answers:
			open--
			if err == nil {
				p.count("")
				return
			}
			why = append(why, err.Error())
		case <-time.After(250 * time.Millisecond): // as clients do, which is what is tested
		}
		if begun == len(addresses) && open == 0 {
			p.count(fmt.Sprintf("%s %v", clock(time.Now()), why))
			return
		}
	}
}

// requestByName asks one address that the name leads to, and has no other try.
func (p *patrol) requestByName(ctx context.Context) {
	addresses := p.lookUp()
	if len(addresses) < 2 {
		p.count(fmt.Sprintf("%s the name leads to %v", clock(time.Now()), addresses))
		return
	}
	if _, err := askOnce(ctx, addresses[rand.IntN(len(addresses))]); err != nil {
		p.count(fmt.Sprintf("%s %v", clock(time.Now()), err))
		return
	}
	p.count("")
}

// count counts a request; lost: no address answered.
func (p *patrol) count(lost string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if lost != "" {
		p.lost = append(p.lost, lost)
	}
}

// askOnce makes one request on a connection of its own. On a busy machine an answer may take seconds.
func askOnce(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", address, resp.Status)
	}
	return string(b), err
}

func (p *patrol) end() {
	p.cancel()
	p.done.Wait()
}

// together ends it and returns the outages of different hosts that overlapped: moments at which two didn't serve.
func (p *patrol) together() (pairs []string) {
	p.end()
	slices.SortFunc(p.outages, func(a, b outage) int { return a.begun.Compare(b.begun) })
	for i, a := range p.outages {
		for _, b := range p.outages[i+1:] {
			if b.of != a.of && b.begun.Before(a.over) {
				pairs = append(pairs, fmt.Sprintf("%s from %s to %s, %s from %s to %s", a.of, clock(a.begun), clock(a.over), b.of, clock(b.begun), clock(b.over)))
			}
		}
	}
	return pairs
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }

const lookupEvery = 20 * time.Millisecond

// lookups asks keepers for a name all the time.
type lookups struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu    sync.Mutex
	asked int
	wrong []string
}

// watchName begins to ask a host's keeper for a layer's name, and notes each answer that has fewer addresses
// than there have to be.
func (s *site) watchName(h *hosts.Host, environment, name string, least int) *lookups {
	s.t.Helper()
	keepers := s.observe(h).Keepers
	require.Len(s.t, keepers, 1)
	server := netip.AddrPortFrom(keepers[0].Networks[s.network(environment)], 53).String()
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return h.DialContext(ctx, "udp", server)
	}}
	ctx, cancel := context.WithCancel(context.Background())
	l := &lookups{cancel: cancel}
	l.done.Go(func() {
		for tick := time.NewTicker(lookupEvery); ctx.Err() == nil; {
			have, err := r.LookupNetIP(ctx, "ip4", fmt.Sprintf("%s.%s.internal.", name, environment))
			if ctx.Err() == nil {
				l.note(fmt.Sprintf("%s on %s", name, h.Name()), have, least, err)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				tick.Stop()
			}
		}
	})
	s.t.Cleanup(l.end)
	return l
}

func (l *lookups) note(of string, have []netip.Addr, least int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	if err != nil || len(have) < least {
		l.wrong = append(l.wrong, fmt.Sprintf("%s %s: %v %v", clock(time.Now()), of, have, err))
	}
}

func (l *lookups) end() {
	l.cancel()
	l.done.Wait()
}

// named requires that a host's keeper answers a layer's name with the addresses of exactly these instances.
func (s *site) requireNamed(h *hosts.Host, list []fleet.Instance) {
	s.t.Helper()
	require.NotEmpty(s.t, list)
	have, err := s.answers(h, list[0].Environment, list[0].Layer+"."+list[0].Environment+".internal")
	require.NoError(s.t, err)
	var want []netip.Addr
	for _, in := range list {
		want = append(want, in.Address)
	}
	require.ElementsMatch(s.t, want, have)
}
