package docker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// altered is the way to a host's engine on which a part of what it says of itself is replaced.
func altered(t *testing.T, lh *hosts.Host, change func(info map[string]any)) docker.Options {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "engine"})
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(lh.Endpoint(), "tcp://"))
	}}
	proxy.ModifyResponse = func(r *http.Response) error {
		if filepath.Base(r.Request.URL.Path) != "info" {
			return nil
		}
		info := map[string]any{}
		if err := json.NewDecoder(r.Body).Decode(&info); err != nil {
			return err
		}
		r.Body.Close()
		change(info)
		text, err := json.Marshal(info)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
		r.Header.Set("Content-Length", strconv.Itoa(len(text)))
		return err
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return docker.Options{Dial: func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
	}}
}

func TestCheckup(t *testing.T) {
	lh, name := lab.Host(1), randomFleet()
	h := open(t, lh, docker.Options{})
	create(t, h, node(name, 1))
	c, err := h.Checkup(t.Context(), name)
	require.NoError(t, err)
	require.Less(t, c.Skew.Abs(), c.Within+time.Second, "the lab's hosts have this machine's clock")
	require.Positive(t, c.Within)
	require.Equal(t, "/var/lib/docker", c.RootDir)
	require.True(t, c.Forwarding)
	require.False(t, c.LiveRestore)
	require.NotContains(t, c.Containers, name, "its own are no other fleet's")

	c, err = h.Checkup(t.Context(), "other")
	require.NoError(t, err)
	require.Equal(t, []string{fleet.ContainerName(name, fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}, 1)}, c.Containers[name])
}

func TestCheckupMeasuresTheClock(t *testing.T) {
	h := open(t, lab.Host(1), altered(t, lab.Host(1), func(info map[string]any) {
		info["SystemTime"] = time.Now().Add(-time.Hour).Format(time.RFC3339Nano)
		info["LiveRestoreEnabled"] = true
		info["SecurityOptions"] = []string{"name=rootless"}
	}))
	c, err := h.Checkup(t.Context(), "f")
	require.NoError(t, err)
	require.InDelta(t, -time.Hour, c.Skew, float64(c.Within+time.Second))
	require.True(t, c.LiveRestore)
	require.True(t, c.Rootless)
}

// The certificates are told of whether or not the engine is in reach, its own once it has shown it.
func TestCertificates(t *testing.T) {
	lh, files := startTLS(t, time.Hour)
	h := openSpec(t, overTLS(lh, files), docker.Options{})
	list := h.Certificates()
	require.Len(t, list, 2)
	require.Equal(t, files.Cert, list[0].File)
	require.WithinDuration(t, time.Now().Add(time.Hour), list[0].Until, 5*time.Minute)
	require.False(t, list[0].Insecure)
	require.Equal(t, files.CA, list[1].File)

	_, err := h.Checkup(t.Context(), "f")
	require.NoError(t, err)
	list = h.Certificates()
	require.Len(t, list, 3)
	require.Equal(t, "the engine's", list[2].What)
	require.WithinDuration(t, time.Now().Add(time.Hour), list[2].Until, 5*time.Minute)

	dir := t.TempDir()
	for _, f := range []string{files.CA, files.Cert, files.Key} {
		copyFile(t, f, filepath.Join(dir, filepath.Base(f)))
	}
	other := overTLS(lh, files)
	other.TLS.CA, other.TLS.Cert, other.TLS.Key = filepath.Base(files.CA), filepath.Base(files.Cert), filepath.Base(files.Key)
	require.NoError(t, os.Chmod(filepath.Join(dir, other.TLS.Key), 0o644))
	require.NoError(t, os.Remove(filepath.Join(dir, other.TLS.CA)))
	list = openSpec(t, other, docker.Options{CredentialsDir: dir}).Certificates()
	require.True(t, list[0].Insecure)
	require.Contains(t, list[1].Problem, "no such file")
	require.Empty(t, open(t, lab.Host(1), docker.Options{}).Certificates())
}
