package integration

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

const threeSpread = `
    - name: web
      image: node:1
      replicas: 3
      placement: {antiAffinity: required}
      ports: [{name: http, port: 8080, publish: 0}]
      healthCheck: {http: {port: http, path: /healthz}, interval: 1s}
      volumes: [{name: data, path: /data}]
      files: [{path: /etc/app.conf, content: "hello", mode: "0600"}]
      updatePolicy: {minHealthy: 0s, delay: 0s}
`

func TestApplySpreadsOverHosts(t *testing.T) {
	t.Parallel()
	s := newSite(t, lab.Hosts()...)
	s.environment("shop", threeSpread)
	o := s.apply()
	web := layer(t, s.status(), "shop", "web")
	require.Equal(t, 3, web.Serving, "%s", o)
	on := map[string]bool{}
	for _, n := range web.Nodes {
		on[n.Host] = true
	}
	require.Len(t, on, 3, "one node a host")
}

func TestScaleAndRemove(t *testing.T) {
	t.Parallel()
	h := lab.Host(2)
	s := newSite(t, h)
	with := func(n string) string { return strings.ReplaceAll(threeSpread, "replicas: 3", "replicas: "+n) }
	plain := func(n string) string { return strings.ReplaceAll(with(n), "placement: {antiAffinity: required}", "") }
	s.environment("shop", plain("1"))
	s.apply()
	s.environment("shop", plain("3"))
	s.apply()
	require.Equal(t, 3, layer(t, s.status(), "shop", "web").Serving)
	s.environment("shop", plain("2"))
	s.apply()
	left := s.nodesOf(h, "web")
	require.Len(t, left, 2)
	require.Equal(t, []int{1, 2}, []int{left[0].Node, left[1].Node}, "the highest ordinal goes first")
	require.Len(t, s.observe(h).Volumes, 3, "volumes are kept")

	s.git("rm", "-q", "shop.yaml")
	s.commit()
	s.apply()
	st := s.observe(h)
	require.Empty(t, st.Instances)
	require.Len(t, st.Volumes, 3, "volumes are kept")
	for _, n := range st.Networks {
		require.NotEqual(t, fleet.NetworkName(s.fleet, "shop"), n.Name, "the network is gone")
	}
}

// recorder is a proxy in front of an engine that notes the calls that change something.
type recorder struct {
	mu     sync.Mutex
	writes []string
}

func record(t *testing.T, h *hosts.Host) (*recorder, string) {
	t.Helper()
	r := &recorder{}
	target, err := url.Parse("http://" + h.Address().String() + ":2375")
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.note(q)
		proxy.ServeHTTP(w, q)
	}))
	t.Cleanup(server.Close)
	return r, "tcp://" + strings.TrimPrefix(server.URL, "http://")
}

// note keeps what is no read. The exec session to the keeper is how it is spoken to; it changes nothing.
func (r *recorder) note(q *http.Request) {
	if q.Method == http.MethodGet || q.Method == http.MethodHead || strings.Contains(q.URL.Path, "/exec") {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes = append(r.writes, q.Method+" "+q.URL.Path)
}

func (r *recorder) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.writes
	r.writes = nil
	return w
}

func TestSecondApplyChangesNothing(t *testing.T) {
	t.Parallel()
	h := lab.Host(3)
	calls, endpoint := record(t, h)
	s := newSite(t, h)
	fleetFile := strings.ReplaceAll(s.read("fleet.yaml"), h.Endpoint(), endpoint)
	s.write("fleet.yaml", fleetFile)
	s.environment("shop", strings.ReplaceAll(threeSpread, "placement: {antiAffinity: required}", ""))
	s.apply()
	require.NotEmpty(t, calls.taken(), "the proxy sees what is done")
	before := s.observe(h)
	o := s.apply()
	require.Empty(t, calls.taken(), "%s", o)
	require.Equal(t, before.Keeper, s.observe(h).Keeper)
}
