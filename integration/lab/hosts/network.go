package hosts

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// Cut pulls the host's network cable: packets vanish, and whoever waits for an
// answer waits until its own deadline. The engine's socket still answers.
func (h *Host) Cut(ctx context.Context) error { return h.setLink(ctx, "down") }

// Heal puts the cable back.
func (h *Host) Heal(ctx context.Context) error { return h.setLink(ctx, "up") }

func (h *Host) setLink(ctx context.Context, state string) error {
	if err := h.site.setLink(ctx, h.index, state); err != nil {
		return fmt.Errorf("setting the link of %s %s: %w", h.Name(), state, err)
	}
	return nil
}

// Drop has every packet between this process and the host vanish, those for
// its containers too, while the hosts still see each other.
func (h *Host) Drop(ctx context.Context) error {
	return h.eachDropRule(func(rule []string) error {
		if h.iptables(ctx, "--check", rule) == nil {
			return nil
		}
		return h.iptables(ctx, "--append", rule)
	})
}

// Undrop ends what Drop began. It does nothing where nothing is dropped.
func (h *Host) Undrop(ctx context.Context) error {
	return h.eachDropRule(func(rule []string) error {
		if dropped := h.iptables(ctx, "--check", rule) == nil; dropped {
			return h.iptables(ctx, "--delete", rule)
		}
		return nil
	})
}

// eachDropRule goes over the rules of Drop. They are in the mangle table: the
// engine has nothing in it, and its chains see forwarded packets as well.
func (h *Host) eachDropRule(do func(rule []string) error) error {
	manager := h.site.manager().String()
	for _, rule := range [][]string{
		{"PREROUTING", "--source", manager, "--jump", "DROP"},
		{"POSTROUTING", "--destination", manager, "--jump", "DROP"},
	} {
		if err := do(rule); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) iptables(ctx context.Context, action string, rule []string) error {
	args := append([]string{"--wait", "--table", "mangle", action}, rule...)
	_, err := h.Exec(ctx, "iptables", args...)
	return err
}

// InNetwork calls fn on a thread that is in the host's network namespace.
// Sockets that fn opens and processes that it starts are in it for as long as
// they live; goroutines that fn starts are not. fn must not end its goroutine,
// as t.FailNow does.
func (h *Host) InNetwork(fn func() error) error {
	pid, err := h.pid()
	if err != nil {
		return err
	}
	if err := inNetwork(netPath(pid), fn); err != nil {
		return fmt.Errorf("in the network of %s: %w", h.Name(), err)
	}
	return nil
}

// DialContext connects from the host, so that a test reaches the addresses of
// its containers and what is published on its loopback. The address has to be
// an IP and a port: a name would be looked up by other threads, elsewhere. The
// method fits http.Transport.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, fmt.Errorf("dialing from %s takes IP:port: %w", h.Name(), err)
	}
	var conn net.Conn
	err := h.InNetwork(func() error {
		var d net.Dialer
		var err error
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen listens on the host for TCP. The listener is this process's.
func (h *Host) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, fmt.Errorf("listening on %s takes IP:port: %w", h.Name(), err)
	}
	var listener net.Listener
	err := h.InNetwork(func() error {
		var c net.ListenConfig
		var err error
		listener, err = c.Listen(ctx, network, address)
		return err
	})
	return listener, err
}

// ListenPacket listens on the host for UDP. The connection is this process's.
func (h *Host) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, fmt.Errorf("listening on %s takes IP:port: %w", h.Name(), err)
	}
	var conn net.PacketConn
	err := h.InNetwork(func() error {
		var c net.ListenConfig
		var err error
		conn, err = c.ListenPacket(ctx, network, address)
		return err
	})
	return conn, err
}
