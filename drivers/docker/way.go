package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// way is how connections to an engine are made.
type way struct {
	dial func(ctx context.Context) (net.Conn, error)
	shut func() error // lets go of what the connections share; nil: nothing
	// certificates are those that the connections rest on; nil: on none.
	certificates func() []fleet.Certificate
}

func (w *way) close() error {
	if w.shut == nil {
		return nil
	}
	return w.shut()
}

// wayError is why there is no connection.
type wayError struct{ error }

func (e *wayError) Unwrap() error { return e.error }

// noConnection returns why there was no connection, where that is what an error says: the client words it
// otherwise, and sometimes leaves the reason out.
func (h *Host) noConnection(err error) (cause error, ok bool) {
	var e *wayError
	switch {
	case errors.As(err, &e):
	case strings.HasPrefix(h.endpoint, "ssh://") && strings.HasPrefix(err.Error(), "Cannot connect to the Docker daemon"):
		e = h.noWay.Load()
	}
	if e == nil {
		return nil, false
	}
	return e.error, true
}

// dialer is for all connections: a stream whose other end lost power says nothing for ever, probes find out.
var dialer = net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}

func wayTo(h spec.Host, credentials string) (*way, error) {
	scheme, addr, ok := strings.Cut(h.Endpoint, "://")
	if !ok || addr == "" {
		return nil, fmt.Errorf("endpoint %q: want unix:///path, tcp://host:port or ssh://user@host", h.Endpoint)
	}
	switch scheme {
	case "unix":
		return plain("unix", addr), nil
	case "tcp":
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return nil, fmt.Errorf("endpoint %q: %w; want tcp://host:port", h.Endpoint, err)
		}
		if h.TLS != (spec.TLS{}) {
			return encrypted(addr, h.TLS, credentials)
		}
		if !h.Insecure {
			return nil, fmt.Errorf("endpoint %q is plain text: set `tls`, or `insecure: true` where that is meant", h.Endpoint)
		}
		return plain("tcp", addr), nil
	case "ssh":
		u, err := url.Parse(h.Endpoint)
		if err != nil || u.Hostname() == "" || u.User.Username() == "" {
			return nil, fmt.Errorf("endpoint %q: want ssh://user@host", h.Endpoint)
		}
		return tunnelled(u, h.SSH, credentials)
	}
	return nil, fmt.Errorf("endpoint %q: %s is not supported; want unix:///path, tcp://host:port or ssh://user@host", h.Endpoint, scheme)
}

func plain(network, addr string) *way {
	return &way{dial: func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, network, addr) }}
}

// errNoCredentials is that a file is named that can only be found in a directory that isn't known.
var errNoCredentials = errors.New("name the directory with --credentials-dir, or write an absolute path")

// credential is the path of a file that a spec names.
func credential(key, name, dir string) (string, error) {
	if name == "" || filepath.IsAbs(name) {
		return name, nil
	}
	if dir == "" {
		return "", fmt.Errorf("%s: %s is a file of the credentials directory: %w", key, name, errNoCredentials)
	}
	return filepath.Join(dir, name), nil
}
