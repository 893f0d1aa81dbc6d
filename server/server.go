// Package server is the HTTP side of a running controller: whether it lives, whether it is ready, what is,
// what would be done, and metrics of it. It only shows: nothing can be changed through it, and what it shows it is given
// as values. It knows nothing of hosts or of where the values come from.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// The bounds of a request.
const (
	readTimeout   = 5 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 60 * time.Second
	maxHeader     = 16 << 10
	maxConcurrent = 64
	closeTimeout  = 3 * time.Second
)

// Options is what the server shows. The functions are called from several goroutines and must not block.
type Options struct {
	// Ready says whether the controller does its work; if not, why.
	Ready func() (ready bool, why string)
	// Status, Plan and Drift return what is shown, as values that encode to JSON.
	Status func() any
	Plan   func() any
	Drift  func() any
	// Metrics answers Prometheus; nil: there are none.
	Metrics http.Handler
	Log     *slog.Logger
}

// Server answers over HTTP.
type Server struct {
	http *http.Server
	log  *slog.Logger
}

// New returns a server that doesn't listen yet.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{log: o.Log, http: &http.Server{
		Handler:           limited(maxConcurrent, o.handler()),
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}}
}

// Serve answers on l until ctx ends, then closes it; requests under way get a moment to end.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving HTTP on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := s.http.Shutdown(grace); err != nil {
		_ = s.http.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving HTTP on %s: %w", l.Addr(), err)
	}
	return nil
}

// handler routes: GET (and HEAD) only, everything else is answered 405 or 404.
func (o Options) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if ready, why := o.Ready(); !ready {
			text(w, http.StatusServiceUnavailable, "not ready: "+why)
			return
		}
		text(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) { o.json(w, o.Status()) })
	mux.HandleFunc("GET /api/v1/plan", func(w http.ResponseWriter, _ *http.Request) { o.json(w, o.Plan()) })
	mux.HandleFunc("GET /api/v1/drift", func(w http.ResponseWriter, _ *http.Request) { o.json(w, o.Drift()) })
	if o.Metrics != nil {
		mux.Handle("GET /metrics", o.Metrics)
	}
	return mux
}

func text(w http.ResponseWriter, status int, body string) {
	head(w, "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body+"\n")
}

// json encodes before it answers, so that a value that can't be encoded isn't answered as a half one.
func (o Options) json(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		o.Log.Error("encoding an answer", "error", err)
		text(w, http.StatusInternalServerError, "the answer can't be encoded; the log says why")
		return
	}
	head(w, "application/json")
	_, _ = w.Write(append(body, '\n'))
}

func head(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}

// limited answers 503 to what comes beyond n requests at once.
func limited(n int, next http.Handler) http.Handler {
	slots := make(chan struct{}, n)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			next.ServeHTTP(w, r)
		default:
			w.Header().Set("Retry-After", "1")
			text(w, http.StatusServiceUnavailable, "too many requests at once")
		}
	})
}
