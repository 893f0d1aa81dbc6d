// Command node is what runs in the containers of tests: a small server that
// behaves well, or badly on request.
//
//	node                 serves HTTP until SIGTERM or SIGINT, then exits 0
//	node get URL         exits 0 when the URL answers 200 within a second
//	node show URL        prints what the URL answers within 5 seconds
//	node pull URL        prints how much the URL answers, and its SHA-256
//	node speed URL       prints how long it takes until the URL has answered all
//	node rtt ADDRESS     prints the median time until something sent over UDP is sent back, of 2,000
//	node srv NAME        prints where the name's SRV records lead
//	node say ADDRESS     sends "hello" over UDP until something is sent back, which it prints; at most 5 seconds
//	node exit CODE       exits
//
// Its environment, all optional:
//
//	PORT           the port to serve on (8080)
//	LISTEN_AFTER   how long to wait before that, such as 1s
//	EXIT_AFTER     how long to live; then it exits with EXIT_CODE (1)
//	IGNORE_TERM    not empty: SIGTERM is ignored
//	APPEND_TO      a file: a line is appended to it at the start
//	HEALTHY_WITH   a file: as long as it isn't there GET /healthz is answered with 503
//
// It answers GET / with its host name, GET /data?mebibytes=N with so much of
// the same data whoever asks, GET /zeros?mebibytes=N with so much of nothing, and GET /healthz with 200, or with 503 after PUT
// /healthz?healthy=false. What it is sent over UDP on the same port it sends
// back, after its host name.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 0:
		return serve()
	case len(args) == 2 && args[0] == "get":
		return get(args[1])
	case len(args) == 2 && args[0] == "show":
		return show(args[1])
	case len(args) == 2 && args[0] == "pull":
		return pull(args[1])
	case len(args) == 2 && args[0] == "speed":
		return speed(args[1])
	case len(args) == 2 && args[0] == "rtt":
		return rtt(args[1])
	case len(args) == 2 && args[0] == "srv":
		return srv(args[1])
	case len(args) == 2 && args[0] == "say":
		return say(args[1])
	case len(args) == 2 && args[0] == "exit":
		code, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		os.Exit(code)
	}
	return fmt.Errorf("unknown arguments %q", args)
}

func get(url string) error {
	client := http.Client{Timeout: time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}

func show(url string) error {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}

func pull(url string) error {
	resp, err := http.Get(url) //nolint:gosec // whoever starts it knows the URL
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, resp.Body)
	fmt.Printf("%d %x\n", n, sum.Sum(nil))
	return err
}

func speed(url string) error {
	begun := time.Now()
	resp, err := http.Get(url) //nolint:gosec // whoever starts it knows the URL
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	fmt.Println(time.Since(begun))
	return nil
}

func rtt(address string) error {
	c, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	took := make([]time.Duration, 0, 2000)
	answer := make([]byte, 1<<10)
	for range cap(took) {
		begun := time.Now()
		if err := c.SetDeadline(begun.Add(5 * time.Second)); err != nil {
			return err
		}
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		if _, err := c.Read(answer); err != nil {
			return err
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	fmt.Println(took[len(took)/2])
	return nil
}

func srv(name string) error {
	_, records, err := net.LookupSRV("", "", name)
	for _, r := range records {
		fmt.Printf("%s:%d\n", r.Target, r.Port)
	}
	return err
}

func say(address string) error {
	c, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	answer := make([]byte, 1<<10)
	for range 10 {
		if _, err = c.Write([]byte("hello")); err == nil {
			_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
			var n int
			if n, err = c.Read(answer); err == nil {
				fmt.Printf("%s\n", answer[:n])
				return nil
			}
		}
	}
	return err
}

// sendBack answers packets until their connection is closed.
func sendBack(packets net.PacketConn) {
	host, err := os.Hostname()
	if err != nil {
		host = err.Error()
	}
	packet := make([]byte, 1<<10)
	for {
		n, from, err := packets.ReadFrom(packet)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = packets.WriteTo(append([]byte(host+" "), packet[:n]...), from) // who sent it sends it again
		}
	}
}

func serve() error {
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if os.Getenv("IGNORE_TERM") != "" {
		signal.Ignore(syscall.SIGTERM)
		signals = signals[:1]
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	if err := exitLater(); err != nil {
		return err
	}
	if err := appendTo(os.Getenv("APPEND_TO")); err != nil {
		return err
	}
	wait, err := duration("LISTEN_AFTER")
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(wait):
	}
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	packets, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		return err
	}
	defer packets.Close()
	go sendBack(packets)
	fmt.Println("node: serving on", listener.Addr())
	server := &http.Server{Handler: handler(), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}

func handler() http.Handler {
	var sick atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		host, err := os.Hostname()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, host)
	})
	mux.HandleFunc("GET /data", func(w http.ResponseWriter, r *http.Request) {
		size, err := strconv.ParseInt(r.FormValue("mebibytes"), 10, 32)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = io.CopyN(w, rand.NewChaCha8([32]byte{}), size<<20) // who asks finds what is missing
	})
	mux.HandleFunc("GET /zeros", func(w http.ResponseWriter, r *http.Request) {
		size, err := strconv.ParseInt(r.FormValue("mebibytes"), 10, 32)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		nothing := make([]byte, 1<<20)
		for ; size > 0 && err == nil; size-- {
			_, err = w.Write(nothing)
		}
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() || lacking(os.Getenv("HEALTHY_WITH")) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("PUT /healthz", func(_ http.ResponseWriter, r *http.Request) {
		sick.Store(r.FormValue("healthy") == "false")
	})
	return mux
}

// lacking says whether a file that is named isn't there.
func lacking(file string) bool {
	if file == "" {
		return false
	}
	_, err := os.Stat(file)
	return err != nil
}

// appendTo appends a line to a file, if one is named.
func appendTo(name string) error {
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("# changed by its program\n")
	return errors.Join(err, f.Close())
}

// exitLater ends the process as EXIT_AFTER and EXIT_CODE say.
func exitLater() error {
	after, err := duration("EXIT_AFTER")
	if err != nil || after == 0 {
		return err
	}
	code := 1
	if text := os.Getenv("EXIT_CODE"); text != "" {
		if code, err = strconv.Atoi(text); err != nil {
			return fmt.Errorf("EXIT_CODE: %w", err)
		}
	}
	time.AfterFunc(after, func() { os.Exit(code) })
	return nil
}

func duration(name string) (time.Duration, error) {
	text := os.Getenv(name)
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return d, nil
}
