package bench

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/integration/lab/image"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// moved is how much is moved at a time, in MiB.
const moved = 1024

// Between nodes on two hosts, whose network is one over both, against the same programs on the hosts themselves.
func BenchmarkNetworks(b *testing.B) {
	own := hosts.Start(b, 2)
	require.NoError(b, own.Load(b.Context(), node))
	first, second := own.Host(1), own.Host(2)
	var entries strings.Builder
	for _, h := range own.Hosts() {
		fmt.Fprintf(&entries, "    - {name: %s, endpoint: %q, insecure: true, capacity: {memory: 64Gi, cpu: \"64\"}}\n", h.Name(), h.Endpoint())
	}
	s := openSite(b, entries.String())
	s.environment(`    - name: web
      image: node:1
      replicas: 2
      placement: {antiAffinity: required}
      ports: [{name: http, port: 8080}]
      updatePolicy: {strategy: simultaneous, minHealthy: 0s, delay: 0s}
`)
	s.apply()
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	server, err := second.NetCommand(ctx, nodes)
	require.NoError(b, err)
	server.Env = []string{"PORT=9999"}
	require.NoError(b, server.Start())
	defer func() {
		cancel()
		_ = server.Wait() // it was ended
	}()
	from, to := only(b, first, s.name), only(b, second, s.name)
	inside := func(args ...string) time.Duration {
		out, err := first.Exec(ctx, "docker", append([]string{"exec", from.Name, image.ProgramPath}, args...)...)
		require.NoError(b, err, "%s", out)
		return duration(b, out)
	}
	outside := func(args ...string) time.Duration {
		cmd, err := first.NetCommand(ctx, nodes, args...)
		require.NoError(b, err)
		out, err := cmd.CombinedOutput()
		require.NoError(b, err, "%s", out)
		return duration(b, out)
	}
	ours, bare := netip.AddrPortFrom(to.Address, 8080), netip.AddrPortFrom(second.Address(), 9999)
	require.Eventually(b, func() bool {
		cmd, err := first.NetCommand(ctx, nodes, "get", "http://"+bare.String()+"/")
		return err == nil && cmd.Run() == nil
	}, 10*time.Second, 50*time.Millisecond)
	var move, bareMove, trip, bareTrip []time.Duration
	for range times(5) {
		move = append(move, inside("speed", fmt.Sprintf("http://%s/zeros?mebibytes=%d", ours, moved)))
		bareMove = append(bareMove, outside("speed", fmt.Sprintf("http://%s/zeros?mebibytes=%d", bare, moved)))
		trip = append(trip, inside("rtt", ours.String()))
		bareTrip = append(bareTrip, outside("rtt", bare.String()))
	}
	ratio(b, "vxlan: a gibibyte from host to host", move, bareMove, 2)
	ratio(b, "vxlan: a round trip between hosts", trip, bareTrip, 2)
}

func duration(b *testing.B, out []byte) time.Duration {
	d, err := time.ParseDuration(strings.TrimSpace(string(out)))
	require.NoError(b, err)
	return d
}

// only is the one node that a host has of a fleet.
func only(b *testing.B, h *hosts.Host, fleetName string) fleet.Instance {
	e, err := docker.Open(spec.Host{Name: h.Name(), Endpoint: h.Endpoint(), Insecure: true}, docker.Options{})
	require.NoError(b, err)
	defer func() { require.NoError(b, e.Close()) }()
	st := e.Observe(b.Context(), fleetName)
	require.Len(b, st.Instances, 1)
	return st.Instances[0]
}
