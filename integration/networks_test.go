package integration

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/integration/lab/image"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// overHosts are three nodes, one on each host.
const overHosts = `    - name: web
      image: node:1
      pull: never
      replicas: 3
      placement: {antiAffinity: required}
      ports: [{name: http, port: 8080}]
      healthCheck: {http: {port: http, path: /healthz}, interval: 500ms}
      updatePolicy: {strategy: simultaneous, delay: 0s, minHealthy: 0s}
`

// inNode runs integration/lab/node in a node's container.
func (s *site) inNode(ctx context.Context, id fleet.NodeID, args ...string) (string, error) {
	for _, h := range s.hosts {
		name := fleet.ContainerName(s.fleet, id, 1)
		if out, err := h.Exec(ctx, "docker", "ps", "-q", "--filter", "name=^"+name+"$"); err != nil || len(out) == 0 {
			continue
		}
		out, err := h.Exec(ctx, "docker", append([]string{"exec", name, image.ProgramPath}, args...)...)
		return strings.TrimSpace(string(out)), err
	}
	return "", fmt.Errorf("no host has %s", id)
}

// reaches says what is in the way from a node to another of its layer by name, over TCP and UDP.
func (s *site) reaches(ctx context.Context, from, to fleet.NodeID) error {
	name := fleet.NodeDomain(to, "internal")
	for _, try := range [][2]string{
		{"show", "http://" + name + ":8080/"}, {"show", fmt.Sprintf("http://%s.%s:8080/", fleet.Hostname(to), to.Layer)}, {"say", name + ":8080"},
	} {
		out, err := s.inNode(ctx, from, try[0], try[1])
		if err != nil {
			return fmt.Errorf("%s %s from %s: %w: %s", try[0], try[1], from, err, out)
		}
		if want := fleet.Hostname(to); out != want && out != want+" hello" {
			return fmt.Errorf("%s %s from %s: %q answers", try[0], try[1], from, out)
		}
	}
	return nil
}

// Nodes of an environment reach each other by name and address wherever they are, and nobody else reaches them.
func TestNodesReachEachOtherOverHosts(t *testing.T) {
	t.Parallel()
	s := newSite(t, lab.Host(1), lab.Host(2), lab.Host(3))
	s.driver = "vxlan"
	s.writeFleet()
	s.environment("shop", overHosts)
	s.environment("blog", overHosts)
	s.apply()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	web := func(environment string, n int) fleet.NodeID {
		return fleet.NodeID{Environment: environment, Layer: "web", Node: n}
	}
	for from := 1; from <= 3; from++ {
		for to := 1; to <= 3; to++ {
			eventually(t, patience, func() error { return s.reaches(ctx, web("shop", from), web("shop", to)) })
		}
	}
	var started []string
	for _, h := range s.hosts {
		for _, in := range s.observe(h).Instances {
			started = append(started, in.ID+" "+in.StartedAt.String())
		}
	}
	answered := map[string]bool{}
	eventually(t, patience, func() error {
		out, err := s.inNode(ctx, web("shop", 1), "show", "http://web:8080/")
		if answered[out] = err == nil; len(answered) < 3 {
			return fmt.Errorf("%v have answered for the layer", answered)
		}
		return nil
	})

	t.Run("services are found by name", func(t *testing.T) {
		for _, name := range []string{"_http._tcp.web", "_http._tcp.web.shop.internal"} {
			out, err := s.inNode(ctx, web("shop", 2), "srv", name)
			require.NoError(t, err, out)
			require.ElementsMatch(t, []string{
				"node1.web.shop.internal.:8080", "node2.web.shop.internal.:8080", "node3.web.shop.internal.:8080",
			}, strings.Split(out, "\n"))
		}
		out, err := s.inNode(ctx, web("shop", 2), "srv", "_ftp._tcp.web")
		require.Error(t, err, out)
	})
	t.Run("much comes as it was sent", func(t *testing.T) {
		sum := sha256.New()
		n, err := io.CopyN(sum, rand.NewChaCha8([32]byte{}), 256<<20)
		require.NoError(t, err)
		out, err := s.inNode(ctx, web("shop", 1), "pull", "http://node2.web:8080/data?mebibytes=256")
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("%d %x", n, sum.Sum(nil)), out)
	})
	t.Run("another environment is somewhere else", func(t *testing.T) {
		st := s.status()
		for _, n := range layer(t, st, "shop", "web").Nodes {
			for from := 1; from <= 3; from++ {
				out, err := s.inNode(ctx, web("blog", from), "get", fmt.Sprintf("http://%s:8080/", n.Address))
				require.Error(t, err, "%s from blog/web/%d: %s", n.Address, from, out)
			}
		}
		out, err := s.inNode(ctx, web("blog", 1), "show", "http://node1.web.shop.internal:8080/")
		require.Error(t, err, "%s", out)
	})
	t.Run("a second apply changes nothing", func(t *testing.T) {
		o := s.evenkeel("plan", "--exit-code")
		require.Equal(t, 0, o.code, "%s", o)
		o = s.evenkeel("drift", "--exit-code")
		require.Equal(t, 0, o.code, "%s", o)
		before := s.linksMade()
		o = s.apply()
		require.NotContains(t, o.stderr, "created")
		require.Equal(t, before, s.linksMade())
	})
	t.Run("what joins the hosts is put back", func(t *testing.T) {
		name := fleet.LinksName(s.fleet)
		byHand(t, lab.Host(1), "rm", "-f", name)
		byHand(t, lab.Host(2), "stop", "-t", "1", name)
		byHand(t, lab.Host(3), "update", "--restart", "no", name)
		o := s.evenkeel("drift", "--exit-code")
		require.Equal(t, 2, o.code, "%s", o)
		for _, line := range []string{"running → missing", "running → exited", "always → no"} {
			require.Contains(t, o.stdout, line)
		}
		s.apply()
		o = s.evenkeel("drift", "--exit-code")
		require.Equal(t, 0, o.code, "%s", o)
		require.NoError(t, s.reaches(ctx, web("shop", 1), web("shop", 2)))
	})
	t.Run("nothing of it is left where hosts aren't to be joined", func(t *testing.T) {
		s.driver = "bridge"
		s.writeFleet()
		s.commit()
		s.apply()
		for _, h := range s.hosts {
			require.Nil(t, s.observe(h).Links)
			out, err := h.Exec(ctx, "sh", "-c", "ip -o -d link show type vxlan; nft list tables; docker volume ls -q")
			require.NoError(t, err)
			require.NotContains(t, string(out), "evenkeel:"+s.fleet+"/")
			require.NotContains(t, string(out), "evenkeel-"+s.fleet+"\n")
			require.NotContains(t, string(out), fleet.LinksName(s.fleet))
		}
		require.Error(t, s.reaches(ctx, web("shop", 1), web("shop", 2)))
	})
	t.Run("they are joined again, and no node is touched", func(t *testing.T) {
		s.driver = "vxlan"
		s.writeFleet()
		s.commit()
		s.apply()
		eventually(t, patience, func() error { return s.reaches(ctx, web("shop", 3), web("shop", 1)) })
		for _, h := range s.hosts {
			for _, in := range s.observe(h).Instances {
				require.Contains(t, started, in.ID+" "+in.StartedAt.String())
			}
		}
	})
}

// linksMade are the containers that join the hosts.
func (s *site) linksMade() (ids []string) {
	for _, h := range s.hosts {
		if l := s.observe(h).Links; l != nil {
			ids = append(ids, l.ID)
		}
	}
	return ids
}

// Names and links of a host that was off are back soon after its engine, without a controller.
func TestLinksAreBackAfterAPowerCut(t *testing.T) {
	t.Parallel()
	own := hosts.Start(t, 2)
	require.NoError(t, loadImages(t.Context(), own))
	s := makeSite(t, own.Host(1), own.Host(2))
	s.driver = "vxlan"
	s.writeFleet()
	s.environment("shop", strings.Replace(overHosts, "replicas: 3", "replicas: 2", 1))
	s.apply()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	first, second := fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}, fleet.NodeID{Environment: "shop", Layer: "web", Node: 2}
	eventually(t, patience, func() error { return s.reaches(ctx, first, second) })
	require.NoError(t, own.Host(2).PowerOff(ctx))
	require.NoError(t, own.Host(2).PowerOn(ctx))
	back := time.Now()
	for _, way := range [][2]fleet.NodeID{{first, second}, {second, first}} {
		eventually(t, patience, func() error { return s.reaches(ctx, way[0], way[1]) })
	}
	t.Logf("both ways again %s after the engine", time.Since(back).Round(100*time.Millisecond))
}
