package docker_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/integration/lab/image"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func TestPullWithCredentials(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	for _, tokens := range []bool{false, true} {
		t.Run(fmt.Sprint("tokens=", tokens), func(t *testing.T) {
			reg := startRegistry(t)
			reg.Require("ci", "a secret", tokens)
			img, err := image.New("shop/web:1", []byte("not much"), image.Config{Labels: map[string]string{"test": randomFleet()}})
			require.NoError(t, err)
			ref, err := reg.Push(t.Context(), img)
			require.NoError(t, err)
			digest, err := img.Digest()
			require.NoError(t, err)
			pinned := reg.Address() + "/shop/web@" + digest

			for _, as := range []fleet.Credentials{{}, {Username: "ci", Password: "another secret", From: "$PASSWORD"}} {
				_, err = h.Resolve(t.Context(), ref, as)
				require.ErrorIs(t, err, fleet.ErrDenied)
				require.ErrorContains(t, err, as.Refused(reg.Address()))
				err = h.Pull(t.Context(), pinned, as)
				require.ErrorIs(t, err, fleet.ErrDenied)
				require.ErrorIs(t, err, fleet.ErrNoImage)
				require.ErrorContains(t, err, as.Refused(reg.Address()))
				require.NotContains(t, err.Error(), "secret")
			}

			as := fleet.Credentials{Username: "ci", Password: "a secret", From: "$PASSWORD"}
			got, err := h.Resolve(t.Context(), ref, as)
			require.NoError(t, err)
			require.Equal(t, digest, got)
			require.NoError(t, h.Pull(t.Context(), pinned, as))
			_, err = h.Image(t.Context(), pinned)
			require.NoError(t, err)
		})
	}
}

func TestAnEngineSaysWhichRegistriesItTrusts(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	st := h.Observe(t.Context(), randomFleet())
	require.True(t, st.Reachable, "%s", st.Problem)
	require.True(t, st.Engine.Trusts(startRegistry(t).Address()), "%v", st.Engine.Unproven)
	require.True(t, st.Engine.Trusts("127.0.0.1:5000"))
	require.False(t, st.Engine.Trusts("registry.example.com"))
	require.False(t, st.Engine.Trusts("192.0.2.1:5000"))
	require.False(t, st.Engine.Mirrored)
}
