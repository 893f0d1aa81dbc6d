package demo

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// A node that is stopped answers what it has begun with; that is what its stop's grace is for.
func TestNodeAnswersOpenRequestsWhenItIsStopped(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	begun, finish := make(chan struct{}), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-finish
		_, _ = io.WriteString(w, "done")
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serveUntil(ctx, l, mux) }()
	answer := make(chan string, 1)
	go func() {
		transport := &http.Transport{DisableKeepAlives: true}
		request, _ := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, "http://"+l.Addr().String()+"/slow", nil)
		response, err := transport.RoundTrip(request)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		answer <- string(body)
	}()
	<-begun
	cancel()
	close(finish)
	require.Equal(t, "done", <-answer)
	require.NoError(t, <-ended)
}
