package docker_test

import (
	"context"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// proxied opens a host through a proxy that counts connections and calls, and spoils some of these.
type proxied struct {
	*docker.Host
	connections atomic.Int32
	open        atomic.Int32 // of those
	mu          sync.Mutex
	calls       []string
	spoil       func(w http.ResponseWriter, r *http.Request) bool
}

func openProxied(t *testing.T, name string) *proxied {
	t.Helper()
	p := &proxied{}
	engine := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "engine"})
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", lab.Host(1).Socket())
	}}
	engine.Transport = tr
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.calls = append(p.calls, r.Method+" "+r.URL.Path)
		spoil := p.spoil
		p.mu.Unlock()
		if spoil == nil || !spoil(w, r) {
			engine.ServeHTTP(w, r)
		}
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	engine.ErrorLog = srv.Config.ErrorLog
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			p.connections.Add(1)
			p.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			p.open.Add(-1)
		}
	}
	srv.Start()
	var err error
	p.Host, err = docker.Open(spec.Host{Name: name, Endpoint: "tcp://" + srv.Listener.Addr().String(), Insecure: true}, docker.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()); srv.Close(); tr.CloseIdleConnections() })
	return p
}

func (p *proxied) spoiling(f func(w http.ResponseWriter, r *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spoil = f
}

// forgetFacts has the driver start over, as it does after a connection was lost.
func (p *proxied) forgetFacts(t *testing.T, fleetName string) {
	t.Helper()
	p.spoiling(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
	require.False(t, p.Observe(t.Context(), fleetName).Reachable)
}

func (p *proxied) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls := p.calls
	p.calls = nil
	return calls
}

func refuse(status int, path string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, path) {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"message":"out of order"}`))
		return true
	}
}

func TestPartialAnswerIsNoAnswer(t *testing.T) {
	p := openProxied(t, "hn1")
	fleetName := randomFleet()
	create(t, p.Host, node(fleetName, 1))
	for _, path := range []string{"/info", "/containers/json", "/networks", "/volumes", "/containers/"} {
		p.forgetFacts(t, fleetName)
		p.spoiling(refuse(http.StatusInternalServerError, path))
		st := p.Observe(t.Context(), fleetName)
		require.Equal(t, fleet.HostState{Name: "hn1", Problem: st.Problem}, st, path)
		require.Contains(t, st.Problem, "on hn1: out of order")
	}
	p.spoiling(nil)
	require.Len(t, p.Observe(t.Context(), fleetName).Instances, 1)
}

func TestContainerThatVanishesMeanwhileIsAbsent(t *testing.T) {
	p := openProxied(t, "hn1")
	fleetName := randomFleet()
	gone, stays := create(t, p.Host, node(fleetName, 1)), create(t, p.Host, node(fleetName, 2))
	p.spoiling(refuse(http.StatusNotFound, gone))
	st := p.Observe(t.Context(), fleetName)
	require.True(t, st.Reachable, st.Problem)
	require.Len(t, st.Instances, 1)
	require.Equal(t, stays, st.Instances[0].ID)
	p.spoiling(nil)
}

func TestObserveAsksForNothingTwice(t *testing.T) {
	p := openProxied(t, "hn1")
	fleetName := randomFleet()
	for n := range 20 {
		create(t, p.Host, node(fleetName, n+1))
	}
	p.Observe(t.Context(), fleetName)
	connections := p.connections.Load()
	p.take()
	st := p.Observe(t.Context(), fleetName)
	require.True(t, st.Reachable, st.Problem)
	calls := map[string]int{}
	for _, c := range p.take() {
		if strings.HasSuffix(c, "/json") && !strings.HasSuffix(c, "containers/json") {
			c = "inspect"
		}
		calls[c]++
	}
	require.Equal(t, map[string]int{"GET /v1.41/containers/json": 1, "inspect": 20, "GET /v1.41/networks": 1, "GET /v1.41/volumes": 1}, calls)
	require.Equal(t, connections, p.connections.Load(), "connections are kept")
	require.LessOrEqual(t, connections, int32(8))
}

func TestOtherFleetsAreCounted(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	mine, other := randomFleet(), randomFleet()
	for n := range 2 {
		create(t, h, node(other, n+1))
	}
	create(t, h, node(mine, 1))
	st := h.Observe(t.Context(), mine)
	require.True(t, st.Reachable, st.Problem)
	require.Len(t, st.Instances, 1)
	require.Equal(t, map[string]int{other: 2}, st.OtherFleets)
}

func TestContainersThatOnlyLookLikeOursAreStrangers(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	mine := randomFleet()
	for i, label := range []string{fleet.LabelNode, fleet.LabelGeneration, fleet.LabelLayer, fleet.LabelEnvironment, fleet.LabelSpec} {
		c := node(mine, i+1)
		c.Labels = maps.Clone(c.Labels)
		delete(c.Labels, label)
		create(t, h, c)
	}
	c := node(mine, 9)
	c.Labels = maps.Clone(c.Labels)
	c.Labels[fleet.LabelRole] = "poet"
	id := create(t, h, c)
	st := h.Observe(t.Context(), mine)
	require.True(t, st.Reachable, st.Problem)
	require.Empty(t, st.Instances)
	require.Len(t, st.Strangers, 6)
	last := st.Strangers[5]
	require.Equal(t, fleet.Stranger{ID: id, Name: c.Name, State: fleet.StateCreated, CreatedAt: last.CreatedAt}, last)
	require.False(t, last.CreatedAt.IsZero())
}

func TestObserveKnowsTheEngineAndItsAddresses(t *testing.T) {
	lh := lab.Host(1)
	st := open(t, lh, docker.Options{}).Observe(t.Context(), randomFleet())
	require.True(t, st.Reachable, st.Problem)
	require.Equal(t, "1.41", st.Engine.APIVersion)
	require.Equal(t, "linux", st.Engine.OS)
	require.NotEmpty(t, st.Engine.ID)
	var addrs []string
	for _, a := range st.Addresses {
		addrs = append(addrs, a.Addr().String())
	}
	require.Contains(t, addrs, lh.Address().String())
	var names []string
	for _, n := range st.Networks {
		names = append(names, n.Name)
		if n.Name == "bridge" {
			require.True(t, n.Subnet.IsValid())
		}
	}
	require.Subset(t, names, []string{"bridge", "host", "none"})
}

func TestEngineThatIsTooOldIsRefused(t *testing.T) {
	p := openProxied(t, "hn1")
	p.spoiling(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Api-Version", "1.40")
		return true
	})
	st := p.Observe(t.Context(), "any")
	require.Contains(t, st.Problem, "the engine offers API 1.40; needed is 1.41 (Docker 20.10) or newer")
}

// An engine that was replaced by a newer one refuses the version that was spoken to its predecessor.
func TestReplacedEngineIsNegotiatedWithAnew(t *testing.T) {
	p := openProxied(t, "hn1")
	require.True(t, p.Observe(t.Context(), "any").Reachable)
	p.spoiling(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/_ping") {
			w.Header().Set("Api-Version", "1.51")
			return true
		}
		if strings.HasPrefix(r.URL.Path, "/v1.41/") {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"message":"client version 1.41 is too old. Minimum supported API version is 1.44"}`))
			return true
		}
		r.URL.Path = "/v1.41/" + strings.TrimPrefix(r.URL.Path, "/v1.51/")
		return false
	})
	require.False(t, p.Observe(t.Context(), "any").Reachable)
	st := p.Observe(t.Context(), "any")
	require.True(t, st.Reachable, st.Problem)
	require.Equal(t, "1.51", st.Engine.APIVersion)
}

func TestNoMoreCallsAtOnceThanAllowed(t *testing.T) {
	p := openProxied(t, "hn1")
	fleetName := randomFleet()
	var now, most atomic.Int32
	release := make(chan struct{})
	p.spoiling(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/containers/create") {
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			defer now.Add(-1)
			<-release
			w.WriteHeader(http.StatusTeapot)
			return true
		}
		return false
	})
	var wg sync.WaitGroup
	for n := range 10 {
		wg.Go(func() { _, _ = p.Create(t.Context(), node(fleetName, n+1)) })
	}
	require.Eventually(t, func() bool { return now.Load() == 4 }, 5*time.Second, 5*time.Millisecond)
	require.True(t, p.Observe(t.Context(), fleetName).Reachable, "reads have their own turns")
	close(release)
	wg.Wait()
	require.Equal(t, int32(4), most.Load())
}
