package fleet_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func TestTrusts(t *testing.T) {
	e := fleet.Engine{Unproven: []string{"127.0.0.0/8", "10.1.0.0/16", "2001:db8::/32", "registry.lan:5000", "bare.lan"}}
	for server, want := range map[string]bool{
		"10.1.2.3": true, "10.1.2.3:5000": true, "10.2.0.1:5000": false, "registry.lan:5000": true, "registry.lan": false, "registry.lan:443": false,
		"bare.lan": true, "[2001:db8::1]:5000": true, "[2001:db8::1]": true, "[2001:db9::1]": false, "docker.io": false, "": false,
	} {
		require.Equal(t, want, e.Trusts(server), server)
	}
	require.False(t, fleet.Engine{}.Trusts("127.0.0.1:5000"))
}

func TestLoopback(t *testing.T) {
	for server, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "a.localhost:5000": true, "127.0.0.1:5000": true, "127.1.2.3": true, "[::1]:5000": true, "[::1]": true,
		"10.0.0.1:5000": false, "docker.io": false, "localhost.example.com": false, "[2001:db8::1]:5000": false,
	} {
		require.Equal(t, want, fleet.Loopback(server), server)
	}
}
