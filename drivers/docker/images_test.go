package docker_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/integration/lab/image"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func startRegistry(t *testing.T) *image.Registry {
	t.Helper()
	reg, err := image.StartRegistry(lab.Manager())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, reg.Close()) })
	return reg
}

func TestPullByDigest(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	reg := startRegistry(t)
	img, err := image.New("shop/web:1", []byte("not much"), image.Config{Labels: map[string]string{"test": randomFleet()}})
	require.NoError(t, err)
	ref, err := reg.Push(t.Context(), img)
	require.NoError(t, err)

	digest, err := h.Resolve(t.Context(), ref, fleet.Credentials{})
	require.NoError(t, err)
	want, err := img.Digest()
	require.NoError(t, err)
	require.Equal(t, want, digest)

	pinned := reg.Address() + "/shop/web@" + digest
	_, err = h.Image(t.Context(), pinned)
	require.ErrorIs(t, err, fleet.ErrNoImage)
	require.NoError(t, h.Pull(t.Context(), pinned, fleet.Credentials{}))
	info, err := h.Image(t.Context(), pinned)
	require.NoError(t, err)
	require.Equal(t, []string{pinned}, info.Digests)
	id, err := img.ID()
	require.NoError(t, err)
	require.Equal(t, id, info.ID)

	require.NoError(t, h.RemoveImage(t.Context(), info.ID))
	require.NoError(t, h.RemoveImage(t.Context(), info.ID), "gone is done")
	_, err = h.Image(t.Context(), info.ID)
	require.ErrorIs(t, err, fleet.ErrNoImage)
}

func TestImageInUseIsNotRemoved(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	start(t, h, node(randomFleet(), 1))
	info, err := h.Image(t.Context(), testImage)
	require.NoError(t, err)
	require.Empty(t, info.Digests, "it was never in a registry")
	require.ErrorIs(t, h.RemoveImage(t.Context(), info.ID), fleet.ErrConflict)
}

func TestPullOfAMissingImageFailsFastAndClear(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	reg := startRegistry(t)
	img, err := image.New("shop/web:1", []byte("x"), image.Config{})
	require.NoError(t, err)
	_, err = reg.Push(t.Context(), img)
	require.NoError(t, err)
	closed := netip.AddrPortFrom(lab.Manager(), 1).String()

	for name, test := range map[string]struct {
		ref, says string
		nowhere   bool
	}{
		"tag":        {reg.Address() + "/shop/web:2", "manifest", true},
		"repository": {reg.Address() + "/shop/db:1", "not found", true},
		"registry":   {closed + "/shop/web:1", "connection refused", false},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			err := h.Pull(t.Context(), test.ref, fleet.Credentials{})
			require.ErrorIs(t, err, fleet.ErrNoImage)
			require.ErrorContains(t, err, "pulling image "+test.ref+" on h1: ")
			require.ErrorContains(t, err, test.says)
			_, err = h.Resolve(t.Context(), test.ref, fleet.Credentials{})
			require.ErrorIs(t, err, fleet.ErrNoImage)
			require.ErrorContains(t, err, "resolving image "+test.ref+" on h1: ")
			require.Equal(t, test.nowhere, errors.Is(err, fleet.ErrNowhere), "%s", err)
			require.Less(t, time.Since(began), 5*time.Second)
		})
	}
}

func silentRegistry(t *testing.T) (address string) {
	t.Helper()
	silent, err := net.Listen("tcp", netip.AddrPortFrom(lab.Manager(), 0).String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() }) // connections to it stay in its queue, unanswered
	return silent.Addr().String()
}

func TestASilentRegistryTakesNoTurnOfTheEngines(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{Timeout: 500 * time.Millisecond, Reads: 1})
	registry := silentRegistry(t)
	began := time.Now()
	ref := registry + "/web:1"
	errs := make(chan error)
	for range 3 {
		go func() {
			_, err := h.Resolve(t.Context(), ref, fleet.Credentials{})
			errs <- err
		}()
	}
	for time.Since(began) < time.Second {
		_, err := h.Image(t.Context(), testImage)
		require.NoError(t, err)
	}
	for range 3 {
		err := <-errs
		require.EqualError(t, err, "resolving image "+ref+" on h1: registry "+registry+
			" gave h1 no answer within 1.5s: look at the host's way to the registry")
		require.NotErrorIs(t, err, fleet.ErrUnreachable, "the host is well")
	}
}

func TestPullWithoutProgressFails(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{PullStall: time.Second})
	began := time.Now()
	err := h.Pull(t.Context(), silentRegistry(t)+"/web:1", fleet.Credentials{})
	require.ErrorContains(t, err, "no progress for 1s")
	require.Less(t, time.Since(began), 3*time.Second)
}

func TestLoadOfWhatIsNoImageFails(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	require.ErrorContains(t, h.LoadImage(t.Context(), bytes.NewReader(bytes.Repeat([]byte("junk"), 1000))), "loading an image on h1: ")
}
