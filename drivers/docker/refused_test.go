package docker

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// TestRefusalsOfRegistries: what engines have for them is a registry's own words, or its status where it has none.
func TestRefusalsOfRegistries(t *testing.T) {
	as := fleet.Credentials{Username: "ci", From: "$PASSWORD"}
	for _, test := range []struct {
		said, adds string
		denied     bool
	}{
		{`error parsing HTTP 403 response body: unexpected end of JSON input: ""`, as.Refused("r.example.com"), true},
		{"unauthorized: authentication required", as.Refused("r.example.com"), true},
		{"denied: requested access to the resource is denied", as.Refused("r.example.com"), true},
		{"toomanyrequests: You have reached your pull rate limit.", "registry r.example.com has been asked too often for now: log in there for a higher limit, or wait", false},
		{`error pulling image configuration: download failed after attempts=6: error parsing HTTP 429 response body: invalid character '<' looking for beginning of value: "<html>"`,
			"registry r.example.com has been asked too often for now: log in there for a higher limit, or wait", false},
		{"dial tcp 192.0.2.1:443: connect: connection refused", "", false},
	} {
		err := refused(errors.New(test.said), "r.example.com", as)
		want := test.said
		if test.adds != "" {
			want += ": " + test.adds
		}
		require.EqualError(t, err, want)
		require.Equal(t, test.denied, errors.Is(err, fleet.ErrDenied), test.said)
	}
	require.NoError(t, refused(nil, "r.example.com", as))
}
