package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// ErrUnattached: the keeper doesn't have the address that it would ask from.
var ErrUnattached = errors.New("not attached to the node's network")

// Limits of an http probe's answer.
const (
	maxAnswer    = 64 << 10
	maxInformers = 8 // 1xx answers before the one that counts
)

// UserAgent is what http probes call themselves.
const UserAgent = "evenkeel-keeper/1"

// Ask does one probe over a connection of its own, from the target's source address.
func Ask(ctx context.Context, t *Target, p *fleet.Probe) error {
	conn, err := dial(ctx, t, p.Port)
	if err != nil {
		return err
	}
	defer conn.Close()
	if !p.HTTP {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // its deadline, or the node isn't probed any more
	defer stop()
	err = get(conn, t.Name, p)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("http probe: no answer within %s", p.Timeout)
	}
	return err
}

func dial(ctx context.Context, t *Target, port uint16) (net.Conn, error) {
	d := net.Dialer{Control: bindLate}
	if t.Source.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: t.Source.AsSlice()}
	}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(t.Address.String(), strconv.Itoa(int(port))))
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return nil, fmt.Errorf("%w: %w", ErrUnattached, err)
	}
	return conn, err
}

// bindLate lets the kernel choose the port when it knows the peer, so that many probes a second don't use
// the ports up.
func bindLate(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}); e != nil {
		return e
	}
	return err
}

// get asks for the path and takes any answer from 200 to 399 as a success. It follows no redirect and reads
// no body.
func get(conn net.Conn, host string, p *fleet.Probe) error {
	path := p.Path
	if path == "" {
		path = "/"
	}
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return fmt.Errorf("http probe: path %q: %w", p.Path, err)
	}
	r := &http.Request{Method: http.MethodGet, URL: u, Host: host, Close: true,
		Header: http.Header{"User-Agent": {UserAgent}, "Accept": {"*/*"}}}
	if err := r.Write(conn); err != nil {
		return fmt.Errorf("http probe: %w", err)
	}
	b := bufio.NewReaderSize(io.LimitReader(conn, maxAnswer), 4096)
	for range maxInformers {
		a, err := http.ReadResponse(b, r) //nolint:bodyclose // closing reads on; the connection ends with the probe
		if err != nil {
			return fmt.Errorf("http probe: %w", err)
		}
		switch {
		case a.StatusCode < 200:
			continue
		case a.StatusCode < 400:
			return nil
		}
		return fmt.Errorf("http probe: %s answered %s", path, a.Status)
	}
	return errors.New("http probe: nothing but interim answers")
}
