package names

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/netutil"
	"golang.org/x/sys/unix"
)

// Limits of one network, so that its nodes can't use up the keeper for the others.
const (
	maxForwards    = 128 // lookups that wait for the host's resolvers at once
	maxConnections = 64  // over TCP
)

// Between two attempts to bind an address.
const (
	rebindFirst = 100 * time.Millisecond
	rebindMost  = 5 * time.Second
)

// listener answers on one address, over UDP and TCP. It binds the address also before the network is
// attached, and tries again for as long as it can't.
type listener struct {
	server   *Server
	address  netip.Addr
	forwards chan struct{}
	cancel   context.CancelFunc
	done     sync.WaitGroup
	released chan struct{} // closed when the address is free again; lookups may still be under way
	release  func()

	mu  sync.Mutex
	err error
}

func listen(ctx context.Context, s *Server, address netip.Addr) *listener {
	ctx, cancel := context.WithCancel(ctx)
	l := &listener{server: s, address: address, cancel: cancel, forwards: make(chan struct{}, maxForwards), released: make(chan struct{})}
	l.release = sync.OnceFunc(func() { close(l.released) })
	bound, err := l.bind(ctx)
	l.setProblem(err)
	l.done.Go(func() { l.run(ctx, bound) })
	return l
}

// close ends the listener and waits until its address is free, but not for the lookups under way: they may
// take as long as the host's resolvers do.
func (l *listener) close() {
	l.cancel()
	<-l.released
}

// run answers until the context is done. Without sockets it tries to bind again, ever more seldom.
func (l *listener) run(ctx context.Context, b *sockets) {
	defer l.release()
	wait := rebindFirst
	for ctx.Err() == nil {
		if b != nil {
			wait = rebindFirst
			l.setProblem(b.serve(ctx, l))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, rebindMost)
		var err error
		if b, err = l.bind(ctx); ctx.Err() == nil {
			l.setProblem(err)
		}
	}
	if b != nil {
		b.close()
	}
}

// sockets are what one address is answered on.
type sockets struct {
	udp net.PacketConn
	tcp net.Listener
}

func (b *sockets) close() {
	b.udp.Close()
	b.tcp.Close()
}

func (l *listener) bind(ctx context.Context) (*sockets, error) {
	at := net.JoinHostPort(l.address.String(), strconv.Itoa(int(l.server.port)))
	c := net.ListenConfig{Control: freebind}
	udp, err := c.ListenPacket(ctx, "udp", at)
	if err != nil {
		return nil, err
	}
	tcp, err := c.Listen(ctx, "tcp", at)
	if err != nil {
		udp.Close()
		return nil, err
	}
	return &sockets{udp, netutil.LimitListener(tcp, maxConnections)}, nil
}

// freebind lets an address be bound that the host doesn't have yet.
func freebind(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
	}); e != nil {
		return e
	}
	return err
}

// serve answers until the context is done or a socket fails.
func (b *sockets) serve(listening context.Context, l *listener) error {
	ctx, cancel := context.WithCancel(listening)
	defer cancel()
	servers := []*dns.Server{
		{PacketConn: b.udp, Handler: l.handler(ctx, false), UDPSize: udpSize},
		{Listener: b.tcp, Handler: l.handler(ctx, true), MaxTCPQueries: 64,
			ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second},
	}
	failed := make(chan error, len(servers))
	var running sync.WaitGroup
	for _, s := range servers {
		running.Go(func() { failed <- s.ActivateAndServe() })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("answering on %s: %w", l.address, err)
	}
	cancel()
	b.close()
	if listening.Err() != nil {
		l.release()
	}
	for _, s := range servers {
		end, done := context.WithTimeout(context.Background(), time.Second)
		_ = s.ShutdownContext(end) // its sockets are closed already; what is left is waiting for its queries
		done()
	}
	running.Wait()
	return err
}

func (l *listener) handler(ctx context.Context, tcp bool) dns.Handler {
	return dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := l.server.answer(ctx, l, r, addrOf(w.RemoteAddr()), tcp)
		_ = w.WriteMsg(m) // the asker is gone, or asks again
	})
}

func (l *listener) admit() bool {
	select {
	case l.forwards <- struct{}{}:
		return true
	default:
		return false
	}
}

func (l *listener) leave() { <-l.forwards }

func (l *listener) setProblem(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// problem is why the address can't be answered on, as far as the keeper's side goes.
func (l *listener) problem() error {
	l.mu.Lock()
	err := l.err
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if !Attached(l.address) {
		return errors.New("the keeper isn't attached to the network yet")
	}
	return nil
}

// Attached says whether this network namespace has the address.
func Attached(address netip.Addr) bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return true // nothing is known; a bind says more
	}
	defer unix.Close(fd)
	if !address.Is4() {
		return false
	}
	return unix.Bind(fd, &unix.SockaddrInet4{Addr: address.As4()}) == nil
}
