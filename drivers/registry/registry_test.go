package registry_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/drivers/registry"
	"github.com/evenkeel/evenkeel/integration/lab/image"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "hunter2-is-a-secret"

func open(t *testing.T, o registry.Options) *registry.Client {
	t.Helper()
	if o.DockerConfig == "" {
		o.DockerConfig = t.TempDir()
	}
	c := registry.Open(o)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// start starts a registry with an image; it returns the image's reference and digest.
func start(t *testing.T) (r *image.Registry, ref, digest string) {
	t.Helper()
	r, err := image.StartRegistry(netip.MustParseAddr("127.0.0.1"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	img, err := image.New("shop/web:1", []byte("x"), image.Config{})
	require.NoError(t, err)
	ref, err = r.Push(t.Context(), img)
	require.NoError(t, err)
	digest, err = img.Digest()
	require.NoError(t, err)
	return r, ref, digest
}

func ci(password string) fleet.Credentials {
	return fleet.Credentials{Username: "ci", Password: password, From: "$REGISTRY_PASSWORD"}
}

// A registry counts each GET of a manifest as a pull.
func TestATagIsResolvedWithoutFetchingAnything(t *testing.T) {
	for name, login := range map[string]func(*image.Registry) fleet.Credentials{
		"open":   func(*image.Registry) fleet.Credentials { return fleet.Credentials{} },
		"basic":  func(r *image.Registry) fleet.Credentials { r.Require("ci", password, false); return ci(password) },
		"tokens": func(r *image.Registry) fleet.Credentials { r.Require("ci", password, true); return ci(password) },
	} {
		t.Run(name, func(t *testing.T) {
			r, ref, want := start(t)
			as := login(r)
			before := len(r.Requests())
			digest, err := open(t, registry.Options{}).Digest(t.Context(), ref, as, true)
			require.NoError(t, err)
			require.Equal(t, want, digest)
			asked := r.Requests()[before:]
			require.Contains(t, asked, "HEAD /v2/shop/web/manifests/1")
			for _, request := range asked {
				require.False(t, strings.HasPrefix(request, "GET ") && strings.Contains(request, "/manifests/"), "%v", asked)
			}
		})
	}
}

func TestARefusalSaysWhoWasRefusedAndWhatToDo(t *testing.T) {
	for _, tokens := range []bool{false, true} {
		t.Run(fmt.Sprint("tokens=", tokens), func(t *testing.T) {
			r, ref, _ := start(t)
			r.Require("ci", password, tokens)
			c := open(t, registry.Options{})
			answer := map[bool]string{false: "unauthorized", true: "authentication required"}[tokens] // a HEAD's answer has no text
			prefix := fmt.Sprintf("asking registry %s for %s: %s (401): registry %[1]s ", r.Address(), ref, answer)

			_, err := c.Digest(t.Context(), ref, ci("wrong-"+password), true)
			require.ErrorIs(t, err, fleet.ErrDenied)
			require.EqualError(t, err, prefix+"refused user ci with the password from $REGISTRY_PASSWORD: correct that, or see to it that it may pull there")

			_, err = c.Digest(t.Context(), ref, fleet.Credentials{}, true)
			require.ErrorIs(t, err, fleet.ErrDenied)
			require.EqualError(t, err, prefix+"gives it to nobody without credentials, or has no such image, and none were found for it: "+
				"check the name, name them in `registries` of the Fleet, or have the user that runs evenkeel do `docker login "+r.Address()+"`")

			_, err = c.Digest(t.Context(), ref, fleet.Credentials{Missing: "docker-credential-pass failed: exit status 1"}, true)
			require.ErrorContains(t, err, "and none could be read: docker-credential-pass failed: exit status 1: check")
		})
	}
}

func TestWhatARegistryHasNot(t *testing.T) {
	r, _, _ := start(t)
	_, err := open(t, registry.Options{}).Digest(t.Context(), r.Address()+"/shop/web:2", fleet.Credentials{}, true)
	require.ErrorIs(t, err, fleet.ErrNoImage)
	require.ErrorContains(t, err, "there is no such image: check its name and tag")
}

// What is no registry's word on an image is told from one: others may still be asked.
func TestARegistryThatDoesNotAnswer(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }))
	t.Cleanup(busy.Close)
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(broken.Close)
	for name, test := range map[string]struct{ server, says string }{
		"silent": {silent.Addr().String(), "no answer within 200ms"},
		"closed": {"127.0.0.1:1", "connection refused"},
		"busy":   {strings.TrimPrefix(busy.URL, "http://"), "it has been asked too often for now"},
		"broken": {strings.TrimPrefix(broken.URL, "http://"), "bad gateway (502)"},
	} {
		t.Run(name, func(t *testing.T) {
			o := registry.Options{}
			if name == "silent" {
				o.Timeout = 200 * time.Millisecond
			}
			_, err := open(t, o).Digest(t.Context(), test.server+"/web:1", ci(password), true)
			require.ErrorContains(t, err, "asking registry "+test.server+" for "+test.server+"/web:1: ")
			require.ErrorContains(t, err, test.says)
			require.NotErrorIs(t, err, fleet.ErrNoImage)
			require.NotErrorIs(t, err, fleet.ErrDenied)
		})
	}
}

// A password is sent in plain text only where the engines are told to trust a registry as it is.
func TestNothingIsSentInPlainText(t *testing.T) {
	r, ref, _ := start(t)
	r.Require("ci", password, false)
	before := len(r.Requests())
	_, err := open(t, registry.Options{}).Digest(t.Context(), ref, ci(password), false)
	require.ErrorContains(t, err, "plain HTTP, which the engines of the hosts aren't told to trust")
	require.Len(t, r.Requests(), before)
}
