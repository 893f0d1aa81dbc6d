package names

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/miekg/dns"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Server answers on the networks of a zone.
type Server struct {
	forwarder *Forwarder
	port      uint16
	table     atomic.Pointer[Table]

	ctx       context.Context
	mu        sync.Mutex
	listeners map[netip.Addr]*listener
	closed    bool
	leaving   sync.WaitGroup // listeners that are closed, and their last lookups
}

// NewServer makes a server that answers on the given port (0: 53) of each network's address. It ends its
// listeners when ctx is done; Close waits for that.
func NewServer(ctx context.Context, f *Forwarder, port uint16) *Server {
	if port == 0 {
		port = 53
	}
	s := &Server{ctx: ctx, forwarder: f, port: port, listeners: make(map[netip.Addr]*listener)}
	s.table.Store(&Table{})
	return s
}

// Serve puts a table in effect: lookups that come after it returned are answered from it.
func (s *Server) Serve(t *Table, networks []fleet.ZoneNetwork) {
	s.table.Store(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	want := make(map[netip.Addr]bool, len(networks))
	for _, n := range networks {
		want[n.Address] = true
		if s.listeners[n.Address] == nil {
			s.listeners[n.Address] = listen(s.ctx, s, n.Address)
		}
	}
	for address, l := range s.listeners {
		if !want[address] {
			delete(s.listeners, address)
			l.close()
			s.leaving.Go(l.done.Wait)
		}
	}
}

// Unbound are the addresses that can't be answered on yet, with the reason, sorted.
func (s *Server) Unbound() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for address, l := range s.listeners {
		if err := l.problem(); err != nil {
			all = append(all, address.String()+": "+err.Error())
		}
	}
	slices.SortFunc(all, strings.Compare)
	return all
}

// Close ends all listeners and waits for them.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, l := range s.listeners {
		l.close()
		l.done.Wait()
	}
	clear(s.listeners)
	s.leaving.Wait()
}

// answer makes the answer to a message that came from a network, or says that there is none to be made.
func (s *Server) answer(ctx context.Context, l *listener, r *dns.Msg, from netip.Addr, tcp bool) *dns.Msg {
	m := s.decide(ctx, l, r, from)
	fit(m, r, tcp)
	return m
}

func (s *Server) decide(ctx context.Context, l *listener, r *dns.Msg, from netip.Addr) *dns.Msg {
	if code := checkQuery(r); code != dns.RcodeSuccess {
		return refuse(r, code)
	}
	v := s.table.Load().views[l.address]
	if v == nil || !v.subnet.Contains(from) {
		return refuse(r, dns.RcodeRefused)
	}
	rrs, owner, as := v.resolve(r.Question[0])
	if as != forward {
		return v.reply(r, rrs, owner, as)
	}
	if !l.admit() {
		return refuse(r, dns.RcodeServerFailure)
	}
	defer l.leave()
	return s.forwarder.Exchange(ctx, r)
}
