// Command program is what runs in the containers of this package's tests.
//
//	program                 runs until SIGTERM or SIGINT; with IGNORE_TERM until it is killed
//	program crash N         writes N numbered lines, odd ones to its standard error, and exits with 3
//	program fail            complains and exits with 7
//	program stat PATH...    prints each path's mode and, of files, content
//	program addresses       prints the addresses that it has
//	program env             prints its environment, arguments and rights
//	program h2              serves HTTP/2 without TLS on its standard streams
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 1 {
		run()
		return
	}
	switch os.Args[1] {
	case "crash":
		crash(os.Args[2])
	case "fail":
		fmt.Fprintln(os.Stderr, "there is no socket")
		os.Exit(7)
	case "stat":
		stat(os.Args[2:])
	case "addresses":
		addresses()
	case "env":
		env()
	case "h2":
		serveH2()
	}
}

func run() {
	c := make(chan os.Signal, 1)
	if os.Getenv("IGNORE_TERM") != "" {
		signal.Ignore(syscall.SIGTERM)
		signal.Notify(c, os.Interrupt)
	} else {
		signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	}
	fmt.Println("up")
	fmt.Println("bye:", <-c)
}

func crash(lines string) {
	n, _ := strconv.Atoi(lines)
	for i := 1; i <= n; i++ {
		out := os.Stdout
		if i%2 == 1 {
			out = os.Stderr
		}
		fmt.Fprintf(out, "line %d\n", i)
	}
	os.Exit(3)
}

func stat(paths []string) {
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			fmt.Println(err)
			continue
		}
		content := ""
		if !info.IsDir() {
			data, _ := os.ReadFile(p)
			content = " " + string(data)
		}
		fmt.Printf("%s %o%s\n", p, info.Mode().Perm(), content)
	}
}

func addresses() {
	list, err := net.InterfaceAddrs()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, a := range list {
		fmt.Println(a)
	}
}

func env() {
	host, _ := os.Hostname()
	fmt.Println("hostname", host)
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		if strings.HasPrefix(line, "CapEff") || strings.HasPrefix(line, "NoNewPrivs") {
			fmt.Println(strings.Join(strings.Fields(line), " "))
		}
	}
	resolv, _ := os.ReadFile("/etc/resolv.conf")
	fmt.Print(string(resolv))
}

// stdio makes a connection of the standard streams.
type stdio struct{ io.Reader }

func (stdio) Write(p []byte) (int, error)      { return os.Stdout.Write(p) }
func (stdio) Close() error                     { os.Exit(0); return nil } // the client is gone
func (stdio) LocalAddr() net.Addr              { return &net.UnixAddr{Name: "stdio"} }
func (stdio) RemoteAddr() net.Addr             { return &net.UnixAddr{Name: "stdio"} }
func (stdio) SetDeadline(time.Time) error      { return nil }
func (stdio) SetReadDeadline(time.Time) error  { return nil }
func (stdio) SetWriteDeadline(time.Time) error { return nil }

func serveH2() {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(os.Stderr, "asked") // what is on the other stream must not get in between
		_, _ = io.Copy(w, r.Body)
	})
	server := &http.Server{Handler: mux, Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(true)
	_ = server.Serve(&once{conn: stdio{os.Stdin}})
}

// once listens for the one connection that there is, and then waits for ever.
type once struct {
	conn net.Conn
	done bool
}

func (o *once) Accept() (net.Conn, error) {
	if o.done {
		select {}
	}
	o.done = true
	return o.conn, nil
}

func (o *once) Close() error   { return nil }
func (o *once) Addr() net.Addr { return o.conn.LocalAddr() }
