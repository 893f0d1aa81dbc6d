package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/evenkeel/evenkeel/keeper/names"
	"github.com/evenkeel/evenkeel/keeper/probe"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Where a keeper has what it needs, in its container.
const (
	DefaultDir    = "/var/lib/evenkeel"
	DefaultSocket = "/run/evenkeel/keeper.sock"
	resolvConf    = "/etc/resolv.conf"
)

// Options say how a keeper is run.
type Options struct {
	Fleet     string   // of which fleet it is; empty: of the one in its zone
	Host      string   // on which host it is; empty: as in its zone
	Dir       string   // where it keeps what it must not forget; empty: DefaultDir
	Socket    string   // where sessions are accepted; empty: DefaultSocket
	Upstreams []string // resolvers (host:port) that lookups are forwarded to; nil: the container's own
	Port      uint16   // on which lookups are answered; 0: 53
	Log       *slog.Logger

	// listener, in tests, stands in for the socket.
	listener net.Listener
}

func (o *Options) defaults() {
	if o.Dir == "" {
		o.Dir = DefaultDir
	}
	if o.Socket == "" {
		o.Socket = DefaultSocket
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Upstreams == nil {
		found, err := names.Upstreams(resolvConf)
		if err != nil {
			o.Log.Error("lookups are not forwarded", "error", err)
		}
		o.Upstreams = found
	}
}

// Serve is the keeper: it answers lookups from what is on its volume at once, then accepts sessions, until
// ctx is done (which is no error) or it can't go on.
func Serve(ctx context.Context, o Options) error {
	o.defaults()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	prober := probe.New(ctx, probe.Ask)
	answering := names.NewServer(ctx, names.NewForwarder(o.Upstreams), o.Port)
	defer func() {
		cancel()
		answering.Close()
		prober.Close()
	}()
	h, err := open(o, answering, prober)
	if err != nil {
		return err
	}
	defer h.close()
	listener := o.listener
	if listener == nil {
		if listener, err = listenSocket(ctx, o.Socket); err != nil {
			return err
		}
	}
	var g errgroup.Group
	g.Go(func() error { h.standBy(ctx); return nil })
	g.Go(func() error {
		defer cancel()
		return h.accept(ctx, listener)
	})
	return g.Wait()
}

// accept serves sessions until ctx is done; it ends them then.
func (h *host) accept(ctx context.Context, l net.Listener) error {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	s := http.Server{
		Handler: h.handler(), Protocols: &protocols, ConnContext: withSession,
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: 250},
		ErrorLog: log.New(io.Discard, "", 0), // what a client's connection did isn't the keeper's trouble
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	err := s.Serve(&sessions{Listener: l, host: h})
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("accepting sessions: %w", err)
}

func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the socket's folder: %w", err)
	}
	// A keeper before this one, in the same container, left it.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing the old socket: %w", err)
	}
	var c net.ListenConfig
	l, err := c.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening for sessions: %w", err)
	}
	return l, nil
}

// close leaves the volume to whoever comes next.
func (h *host) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lock != nil {
		h.lock.Release()
		h.lock = nil
	}
	h.mode = fleet.KeeperRetired
}
