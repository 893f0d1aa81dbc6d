package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// NodePort is where a demo node listens.
const NodePort = 8080

// stopGrace is how long a node lets open requests end.
const stopGrace = 3 * time.Second

// Answer is what a demo node says of itself.
type Answer struct {
	Node     string `json:"node"`
	Greeting string `json:"greeting"`
}

// ServeNode is the program of a demo node: a web server that says who it is, until ctx ends. Requests that
// are open then are answered.
func ServeNode(ctx context.Context, address, greeting string) error {
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("asking for the node's name: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	return serveUntil(ctx, l, nodeHandler(Answer{Node: name, Greeting: greeting}))
}

func nodeHandler(a Answer) http.Handler {
	mux := http.NewServeMux()
	say := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a)
	}
	mux.HandleFunc("GET /{$}", say)
	mux.HandleFunc("GET /healthz", say)
	return mux
}

// serveUntil serves on l until ctx ends, then lets open requests end.
func serveUntil(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	if err := s.Shutdown(grace); err != nil {
		_ = s.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
