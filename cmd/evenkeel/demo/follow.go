package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// reportsAddress is where a client's reports can be followed, from inside its own container only.
const reportsAddress = "127.0.0.1:8081"

// reportInterval is the time between two reports; a change of the addresses is reported at once.
const reportInterval = 100 * time.Millisecond

// ServeClient is the program of the demo's client: it asks name:port until ctx ends.
func ServeClient(ctx context.Context, name string, port uint16, resolvConf string) error {
	if !isName(name) {
		return fmt.Errorf("%q is no name that could be looked up", name)
	}
	nameserver, err := Nameserver(resolvConf)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", reportsAddress)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tally := NewTally()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		(&Client{Name: name, Port: port, Nameserver: nameserver, Tally: tally}).Run(ctx)
	}()
	err = serveUntil(ctx, l, reports(tally))
	cancel()
	<-ended
	return err
}

// reports streams a tally, a JSON object a line.
func reports(t *Tally) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /reports", func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(reportInterval)
		defer tick.Stop()
		out := json.NewEncoder(w)
		for {
			report, changed := t.Report()
			if out.Encode(report) != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-tick.C:
			case <-changed:
			case <-r.Context().Done():
				return
			}
		}
	})
	return mux
}

// FollowClient copies the reports of the client in this container to out, until either ends.
func FollowClient(ctx context.Context, out io.Writer) error {
	return follow(ctx, "http://"+reportsAddress+"/reports", out)
}

func follow(ctx context.Context, url string, out io.Writer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return fmt.Errorf("asking the client for its reports: %w", err)
	}
	defer response.Body.Close()
	_, err = io.Copy(out, response.Body)
	return err
}

// readReports calls each for every report that r brings.
func readReports(r io.Reader, each func(Report)) error {
	in := json.NewDecoder(bufio.NewReader(r))
	for {
		var report Report
		if err := in.Decode(&report); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading the client's reports: %w", err)
		}
		each(report)
	}
}
