package probe

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func askOnce(t *testing.T, tg Target, p fleet.Probe) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(p.Timeout, 10*time.Second))
	defer cancel()
	return Ask(ctx, &tg, &p)
}

func TestHTTP(t *testing.T) {
	asked := make(chan *http.Request, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/asked":
			asked <- r
		case "/redirect":
			http.Redirect(w, r, "/bad", http.StatusFound)
		case "/early":
			w.WriteHeader(http.StatusEarlyHints)
		case "/bad":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/slow":
			<-r.Context().Done()
		case "/stuck body":
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case "/endless header":
			for range 200 {
				w.Header().Add("X", strings.Repeat("x", 1024))
			}
		}
	}))
	defer s.Close()
	at := netip.MustParseAddrPort(s.Listener.Addr().String())
	tg := Target{ZoneNode: fleet.ZoneNode{Address: at.Addr()}, Source: netip.MustParseAddr("127.0.9.9"), Name: "node1.web.shop.internal"}
	for path, want := range map[string]string{
		"": "", "/": "", "/redirect": "", "/early": "", "/ok?x=1": "",
		"/bad":              "/bad answered 503 Service Unavailable",
		"/slow":             "no answer within 300ms",
		"/stuck%20body":     "",
		"/endless%20header": "unexpected EOF",
		"no slash":          "no slash",
	} {
		p := fleet.Probe{HTTP: true, Port: at.Port(), Path: path}
		if path == "/slow" {
			p.Timeout = 300 * time.Millisecond
		}
		err := askOnce(t, tg, p)
		if want == "" {
			require.NoError(t, err, path)
			continue
		}
		require.ErrorContains(t, err, want, path)
	}
	require.NoError(t, askOnce(t, tg, fleet.Probe{HTTP: true, Port: at.Port(), Path: "/asked"}))
	seen := <-asked
	require.Equal(t, "node1.web.shop.internal", seen.Host)
	require.Equal(t, UserAgent, seen.UserAgent())
	require.Contains(t, seen.RemoteAddr, "127.0.9.9:", "from the keeper's own address")
	require.True(t, seen.Close)
}

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	tg := Target{ZoneNode: fleet.ZoneNode{Address: netip.MustParseAddr("127.0.0.1")}}
	require.NoError(t, askOnce(t, tg, fleet.Probe{Port: port}))
	l.Close()
	require.ErrorContains(t, askOnce(t, tg, fleet.Probe{Port: port}), "connection refused")
	tg.Source = netip.MustParseAddr("192.0.2.7")
	require.ErrorIs(t, askOnce(t, tg, fleet.Probe{Port: port}), ErrUnattached)
}
