package hosts_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/integration/lab/image"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// program is the binary of integration/lab/node.
var program []byte

func TestMain(m *testing.M) {
	if os.Getenv(ownerVar) != "" {
		runOwner()
		return
	}
	// The tests wait for engines more than they compute.
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var err error
	if program, err = image.Compile(ctx, "github.com/evenkeel/evenkeel/integration/lab/node"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func node(t *testing.T) *image.Image {
	t.Helper()
	img, err := image.New("node:1", program, image.Config{ExposedPorts: []string{"8080/tcp"}})
	require.NoError(t, err)
	return img
}

// engine speaks the Docker API over one of a host's two ways.
type engine struct {
	client *http.Client
	base   string
}

func overTCP(h *hosts.Host) engine {
	return engine{&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, "http://" + h.Address().String() + ":2375"}
}

func overSocket(h *hosts.Host) engine {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", h.Socket())
	}
	return engine{&http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}, "http://engine"}
}

func (e engine) ask(ctx context.Context, method, path string, body any) (map[string]any, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, e.base+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if data, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, data)
	}
	var answer map[string]any
	if len(data) > 0 && data[0] == '{' {
		// A stream's first object is enough here.
		err = json.NewDecoder(bytes.NewReader(data)).Decode(&answer)
	}
	return answer, err
}

func (e engine) must(t *testing.T, method, path string, body any) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	answer, err := e.ask(ctx, method, path, body)
	require.NoError(t, err)
	return answer
}

// start runs a container, publishing its port 8080 as 18080.
func (e engine) start(t *testing.T, name, image string) {
	t.Helper()
	e.must(t, http.MethodPost, "/containers/create?name="+name, map[string]any{
		"Image": image,
		"HostConfig": map[string]any{
			"Memory":       64 << 20,
			"PortBindings": map[string]any{"8080/tcp": []any{map[string]any{"HostPort": "18080"}}},
		},
	})
	e.must(t, http.MethodPost, "/containers/"+name+"/start", nil)
}

func (e engine) state(t *testing.T, name string) map[string]any {
	t.Helper()
	return e.must(t, http.MethodGet, "/containers/"+name+"/json", nil)["State"].(map[string]any)
}

// answers is a condition: the engine answers within a second.
func (e engine) answers() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := e.ask(ctx, http.MethodGet, "/_ping", nil)
	return err == nil
}

// requireHang demands that the request is neither answered nor refused.
func (e engine) requireHang(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := e.ask(ctx, http.MethodGet, "/_ping", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// dialer is how a page is reached: from here, or from a host.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

func get(ctx context.Context, dial dialer, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return string(data), err
}

func requirePage(t *testing.T, dial dialer, url string) string {
	t.Helper()
	var page string
	require.Eventually(t, func() bool {
		var err error
		page, err = get(t.Context(), dial, url)
		return err == nil
	}, patience, 10*time.Millisecond, url)
	return page
}
