// Command load is a client inside an environment: it asks a URL at a steady rate, each time with a lookup
// and a connection of its own and without any retry, and counts what failed.
//
//	load URL RATE
//
// With dns://NAME it only looks the name up.
//
// It serves GET /result on PORT (8080): {"requests":N,"failed":N,"errors":["…"],"answers":{"host":N}}.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	timeout    = 6 * time.Second // above the resolver's own five attempts
	mostErrors = 20
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: load URL RATE")
	}
	u, err := url.Parse(args[0])
	if err != nil {
		return err
	}
	rate, err := strconv.Atoi(args[1])
	if err != nil || rate < 1 {
		return fmt.Errorf("rate %q isn't a positive number", args[1])
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c := &counter{Answers: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /result", c.serve)
	server := &http.Server{Addr: ":" + port(), Handler: mux, ReadHeaderTimeout: time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close() // the process ends
	}()
	go c.load(ctx, u, rate)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func port() string {
	if p := os.Getenv("PORT"); p != "" {
		return p
	}
	return "8080"
}

// counter is what became of the requests.
type counter struct {
	mu       sync.Mutex
	Requests int            `json:"requests"`
	Failed   int            `json:"failed"`
	Errors   []string       `json:"errors"`
	Answers  map[string]int `json:"answers"`
}

func (c *counter) serve(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(c) // whoever asked is gone
}

func (c *counter) note(answer string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Requests++
	if err == nil {
		c.Answers[answer]++
		return
	}
	c.Failed++
	if len(c.Errors) < mostErrors {
		c.Errors = append(c.Errors, time.Now().Format("15:04:05.000 ")+err.Error())
	}
}

func (c *counter) load(ctx context.Context, u *url.URL, rate int) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			go func() { c.note(ask(ctx, u)) }()
		case <-ctx.Done():
			return
		}
	}
}

// ask looks the name up, connects to the first address that it is given, and makes one request.
func ask(ctx context.Context, u *url.URL) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resolver := net.Resolver{PreferGo: true}
	addresses, err := resolver.LookupNetIP(ctx, "ip4", u.Hostname())
	if err != nil {
		return "", err
	}
	if u.Scheme == "dns" {
		return addresses[0].String(), nil
	}
	address := net.JoinHostPort(addresses[0].String(), u.Port())
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, address)
		},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "", fmt.Errorf("%s: %w", address, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1024))
	if err != nil {
		return "", fmt.Errorf("%s: %w", address, err)
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", address, response.Status)
	}
	return strings.TrimSpace(string(body)), nil
}
