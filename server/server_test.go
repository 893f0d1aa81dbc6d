package server

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func options(ready bool, why string) Options {
	return Options{
		Ready:  func() (bool, string) { return ready, why },
		Status: func() any { return map[string]any{"fleet": "production"} },
		Plan:   func() any { return map[string]any{"hasChanges": true} },
		Drift:  func() any { return map[string]any{"drift": []any{}} },
	}
}

func TestAnswers(t *testing.T) {
	tests := []struct {
		name, method, path string
		options            Options
		status             int
		body               string
	}{
		{"alive before ready", "GET", "/healthz", options(false, "starting"), 200, "ok\n"},
		{"ready", "GET", "/readyz", options(true, ""), 200, "ok\n"},
		{"not ready says why", "GET", "/readyz", options(false, "ann@box holds the lease"), 503, "not ready: ann@box holds the lease\n"},
		{"status", "GET", "/api/v1/status", options(true, ""), 200, `{"fleet":"production"}` + "\n"},
		{"plan", "GET", "/api/v1/plan", options(true, ""), 200, `{"hasChanges":true}` + "\n"},
		{"drift", "GET", "/api/v1/drift", options(true, ""), 200, `{"drift":[]}` + "\n"},
		{"nothing is changed", "POST", "/api/v1/plan", options(true, ""), 405, "Method Not Allowed\n"},
		{"nothing else", "GET", "/api/v1/secrets", options(true, ""), 404, "404 page not found\n"},
		{"can't be encoded", "GET", "/api/v1/plan", Options{Plan: func() any { return func() {} }}, 500,
			"the answer can't be encoded; the log says why\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			New(tt.options).http.Handler.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
			require.Equal(t, tt.status, w.Code)
			require.Equal(t, tt.body, w.Body.String())
		})
	}
}

func TestServesUntilTheContextEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- New(options(true, "")).Serve(ctx, l) }()

	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	response, err := client.Get("http://" + l.Addr().String() + "/readyz")
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, "ok\n", string(body))

	cancel()
	require.NoError(t, <-ended)
	_, err = client.Get("http://" + l.Addr().String() + "/readyz")
	require.Error(t, err)
}

func TestRefusesWhatIsTooMuchAtOnce(t *testing.T) {
	const slots = 3
	inside, release := make(chan struct{}), make(chan struct{})
	h := limited(slots, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		inside <- struct{}{}
		<-release
	}))
	get := func() int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		return w.Code
	}
	var busy sync.WaitGroup
	for range slots {
		busy.Go(func() { get() })
	}
	for range slots {
		<-inside
	}
	require.Equal(t, http.StatusServiceUnavailable, get())
	close(release)
	busy.Wait()
	go func() { <-inside }()
	require.Equal(t, http.StatusOK, get())
}
