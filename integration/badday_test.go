package integration

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// requireSays requires a failed apply that tells all of it.
func requireSays(t *testing.T, o outcome, says ...string) {
	t.Helper()
	require.Equal(t, 1, o.code, "%s", o)
	for _, text := range says {
		require.Contains(t, o.stdout+o.stderr, text, "%s", o)
	}
}

func TestImageThatDoesNotExist(t *testing.T) {
	t.Parallel()
	h := lab.Host(1)
	s := newSite(t, h)
	s.environment("shop", strings.Replace(fmt.Sprintf(oneWeb, 1), "image: node:1", "image: nowhere.example/gone:7", 1))
	s.environment("blog", fmt.Sprintf(oneWeb, 1))
	o := s.evenkeel("apply")
	requireSays(t, o, "shop/web", "nowhere.example/gone:7", "isn't on h1", "check the name and the registry, or load it there")
	require.Equal(t, 1, layer(t, s.status(), "blog", "web").Serving, "the others go on: %s", o)
	t.Logf("%s", o)

	// A node that serves is not touched for an image that can't be had.
	before := s.nodesOf(h, "web")
	s.environment("blog", strings.Replace(fmt.Sprintf(oneWeb, 1), "image: node:1", "image: nowhere.example/gone:7", 1))
	requireSays(t, s.evenkeel("apply"), "blog/web", "nowhere.example/gone:7")
	after := s.nodesOf(h, "web")
	require.Len(t, after, 1)
	require.Equal(t, before[0].ID, after[0].ID)
}

func TestFullHost(t *testing.T) {
	t.Parallel()
	h := lab.Host(2)
	s := newSite(t, h)
	s.write("fleet.yaml", strings.Replace(s.read("fleet.yaml"), "memory: 64Gi", "memory: 300Mi", 1))
	s.environment("shop", strings.Replace(fmt.Sprintf(oneWeb, 1), "replicas: 1", "replicas: 3", 1))
	o := s.evenkeel("apply")
	requireSays(t, o, "shop/web", "0/1 hosts fit", "128Mi")
	t.Logf("%s", o)
	require.Len(t, s.nodesOf(h, "web"), 2, "what fits is there")
}

// A port of the host that somebody else's container has is found out before the node that serves is stopped.
func TestAPortThatIsTaken(t *testing.T) {
	t.Parallel()
	h := lab.Host(3)
	s := newSite(t, h)
	theirs := s.fleet + "-theirs"
	byHand(t, h, "run", "-d", "--name", theirs, "-p", "19999:8080", "node:1")
	t.Cleanup(func() { byHand(t, h, "rm", "-f", theirs) })
	s.environment("shop", fmt.Sprintf(oneWeb, 1))
	s.apply()
	before := s.node(h, "web", 1)
	s.environment("shop", strings.Replace(fmt.Sprintf(oneWeb, 2), "port: 8080}", "port: 8080, publish: 19999}", 1))
	o := s.evenkeel("apply")
	requireSays(t, o, "shop/web/1 is left as it is", "it is held by container "+theirs, "stop or remove that one")
	after := s.node(h, "web", 1)
	require.Equal(t, before.ID, after.ID)
	require.Equal(t, before.StartedAt, after.StartedAt, "it was not touched")
	require.NotContains(t, s.evenkeel("plan").stdout, "paused")

	byHand(t, h, "stop", "-t", "0", theirs)
	s.apply()
	require.Equal(t, 1, layer(t, s.status(), "shop", "web").Serving)
}

func TestForeignNames(t *testing.T) {
	t.Parallel()
	h := lab.Host(3)
	s := newSite(t, h)
	container := fmt.Sprintf("%s_shop_web_1_g1", s.fleet)
	network := s.network("blog")
	byHand(t, h, "create", "--name", container, "node:1")
	byHand(t, h, "network", "create", network)
	t.Cleanup(func() {
		byHand(t, h, "rm", "-f", container)
		byHand(t, h, "network", "rm", network)
	})
	for _, e := range []string{"shop", "blog", "news"} {
		s.environment(e, fmt.Sprintf(oneWeb, 1))
	}
	o := s.evenkeel("apply")
	t.Logf("%s", o)
	requireSays(t, o, container, "which isn't evenkeel's", "rename or remove", network, "isn't this fleet's")
	require.Equal(t, 1, layer(t, s.status(), "news", "web").Serving, "the others go on")
	require.Equal(t, "created", byHand(t, h, "inspect", "-f", "{{.State.Status}}", container), "it is untouched")
	require.Empty(t, byHand(t, h, "network", "inspect", "-f", "{{range .Containers}}x{{end}}", network), "it is untouched")

	byHand(t, h, "rename", container, container+"_away")
	byHand(t, h, "network", "rm", network)
	s.apply()
	byHand(t, h, "rm", container+"_away")
	byHand(t, h, "create", "--name", container+"_away", "node:1") // for the end's sake
	s.git("rm", "-q", "shop.yaml", "blog.yaml")
	s.commit()
	s.apply()
	byHand(t, h, "rename", container+"_away", container)
	byHand(t, h, "network", "create", network)
}

func TestInvalidSpec(t *testing.T) {
	t.Parallel()
	s := newSite(t, lab.Host(1))
	s.environment("shop", strings.Replace(fmt.Sprintf(oneWeb, 1), "replicas", "replica", 1))
	s.environment("blog", strings.Replace(fmt.Sprintf(oneWeb, 1), "delay: 0s", "delay: 7m", 1))
	for _, command := range []string{"validate", "plan", "apply"} {
		args := []string{command}
		if command == "validate" {
			args = append(args, s.dir)
		}
		o := s.evenkeel(args...)
		require.Equal(t, 3, o.code, "%s", o)
		require.Contains(t, o.stderr, "shop.yaml:9:7", "%s", o)
		require.Contains(t, o.stderr, `did you mean "replicas"?`)
		require.Contains(t, o.stderr, "blog.yaml:12:", "all problems at once: %s", o)
	}
	require.Empty(t, s.observe(s.hosts[0]).Instances)
	s.git("rm", "-q", "shop.yaml", "blog.yaml")
	s.commit()
}

func TestPruneShare(t *testing.T) {
	t.Parallel()
	h := lab.Host(1)
	s := newSite(t, h)
	s.write("fleet.yaml", strings.Replace(s.read("fleet.yaml"), "maxShare: 100%", "maxShare: 50%", 1))
	s.environment("shop", strings.Replace(fmt.Sprintf(oneWeb, 1), "replicas: 1", "replicas: 3", 1))
	s.environment("blog", fmt.Sprintf(oneWeb, 1))
	s.apply()
	s.git("rm", "-q", "shop.yaml")
	s.environment("news", fmt.Sprintf(oneWeb, 1))
	o := s.evenkeel("apply")
	t.Logf("%s", o)
	requireSays(t, o, "would remove 3 of ", "more than prune.maxShare (50%) allows: none is removed", "raise prune.maxShare")
	require.Len(t, s.nodesOf(h, "web"), 5, "none is removed, and the rest goes on")
	s.write("fleet.yaml", strings.Replace(s.read("fleet.yaml"), "maxShare: 50%", "maxShare: 75%", 1))
	s.commit()
	s.apply()
	require.Len(t, s.nodesOf(h, "web"), 2)
}

// until waits for a step of an apply that runs.
func (p *process) until(what string, f func(step) bool) {
	p.t.Helper()
	eventually(p.t, patience, func() error {
		return unless(slices.ContainsFunc(p.steps(), f), what+" did not come:\n"+p.stderr.String())
	})
}

// applyOnceFree applies as soon as the lease of a controller that was killed has ended.
func (s *site) applyOnceFree() outcome {
	s.t.Helper()
	var o outcome
	eventually(s.t, patience, func() error {
		o = s.evenkeel("apply")
		return unless(!strings.Contains(o.stderr, "is at work on this fleet"), o.stderr)
	})
	return o
}

func TestCtrlCInApply(t *testing.T) {
	t.Parallel()
	h := lab.Host(3)
	s := newSite(t, h)
	const policy = "delay: 1s, minHealthy: 2s, drainTimeout: 2s"
	s.environment("shop", webAndClient(1, "", policy))
	s.apply()
	serving := func() int { return layer(t, s.status(), "shop", "web").Serving }
	atGate := func(st step) bool { return st.Node == 3 && st.Phase == rollout.PhaseGate }

	// Once: the node at hand is finished, has its names back, and no other is begun.
	s.environment("shop", webAndClient(2, "", policy))
	p := s.command(context.Background(), "apply", "-o", "json")
	p.until("node 3 at its gate", atGate)
	p.signal(syscall.SIGINT)
	o := p.wait()
	require.Equal(t, 130, o.code, "%s", o)
	require.Contains(t, o.stderr, "finishing shop/web/3")
	require.Equal(t, []int{3}, s.startedWith("VERSION=2", h))
	require.Equal(t, 3, serving())

	// While it waits for connections to end, the node is untouched and gets its names back.
	s.environment("shop", webAndClient(3, "", policy))
	p = s.command(context.Background(), "apply", "-o", "json")
	p.until("node 3 withdrawn", func(st step) bool { return st.Node == 3 && st.Phase == rollout.PhaseDrain })
	p.signal(syscall.SIGINT)
	o = p.wait()
	require.Equal(t, 130, o.code, "%s", o)
	require.Equal(t, 3, serving())

	// Twice: it ends at once, and the next pass mends it.
	p = s.command(context.Background(), "apply", "-o", "json")
	p.until("node 3 at its gate", atGate)
	p.signal(syscall.SIGINT)
	eventually(t, patience, func() error { return unless(strings.Contains(p.stderr.String(), "finishing"), "not asked") })
	p.signal(syscall.SIGINT)
	begun := time.Now()
	o = p.wait()
	require.Less(t, time.Since(begun), 1500*time.Millisecond, "at once, before the gate's 2 s are over")
	require.Equal(t, 130, o.code, "%s", o)
	o = s.applyOnceFree()
	require.Equal(t, 0, o.code, "%s", o)
	require.Equal(t, 3, serving())
	require.Len(t, s.startedWith("VERSION=3", h), 3)
	require.Len(t, s.observe(h).Instances, 4)
}

func TestRestartResizeAndLostRecords(t *testing.T) {
	t.Parallel()
	h := lab.Host(1)
	s := newSite(t, h)
	with := func(more string) { s.environment("shop", fmt.Sprintf(oneWeb, 1)+more) }
	with("      resources: {memory: 64Mi, cpu: 500m}\n")
	s.apply()
	before := s.node(h, "web", 1)

	// A new restart text restarts once, and only once; the container stays.
	with("      resources: {memory: 64Mi, cpu: 500m}\n      restart: \"a\"\n")
	s.apply()
	restarted := s.node(h, "web", 1)
	require.Equal(t, before.ID, restarted.ID)
	require.True(t, restarted.StartedAt.After(before.StartedAt))
	s.apply()
	require.Equal(t, restarted.StartedAt, s.node(h, "web", 1).StartedAt)

	// A resize changes the limits of the running process.
	pid := byHand(t, h, "inspect", "-f", "{{.State.Pid}}", restarted.ID)
	with("      resources: {memory: 96Mi, cpu: 700m}\n      restart: \"a\"\n")
	s.apply()
	require.Equal(t, pid+" 100663296 100663296 700000000",
		byHand(t, h, "inspect", "-f", "{{.State.Pid}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}}", restarted.ID))

	// Without the keeper's volume the text is adopted: nothing is restarted.
	byHand(t, h, "rm", "-f", fleet.KeeperName(s.fleet))
	byHand(t, h, "volume", "rm", fleet.KeeperVolume(s.fleet))
	with("      resources: {memory: 96Mi, cpu: 700m}\n      restart: \"b\"\n")
	s.apply()
	require.Equal(t, restarted.StartedAt, s.node(h, "web", 1).StartedAt)
	s.apply()
	require.Equal(t, restarted.StartedAt, s.node(h, "web", 1).StartedAt)
	with("      resources: {memory: 96Mi, cpu: 700m}\n      restart: \"c\"\n")
	s.apply()
	require.True(t, s.node(h, "web", 1).StartedAt.After(restarted.StartedAt))
}

func TestLostRecordsForgetPauses(t *testing.T) {
	t.Parallel()
	h := lab.Host(2)
	s := newSite(t, h)
	const policy = "minHealthy: 1s, delay: 0s, healthTimeout: 3s, drainTimeout: 0s"
	s.environment("shop", webAndClient(1, "", policy))
	s.apply()
	s.environment("shop", webAndClient(2, `, EXIT_AFTER: 10ms`, policy))
	requireSays(t, s.evenkeel("apply"), "exit code 1")
	p := s.evenkeel("plan")
	require.Contains(t, p.stdout, "paused", "%s", p)
	byHand(t, h, "rm", "-f", fleet.KeeperName(s.fleet))
	byHand(t, h, "volume", "rm", fleet.KeeperVolume(s.fleet))
	p = s.evenkeel("plan")
	require.NotContains(t, p.stdout, "paused", "%s", p)
	s.environment("shop", webAndClient(3, "", policy))
	s.apply()
	require.Equal(t, 3, layer(t, s.status(), "shop", "web").Serving)
}

func TestUnhealthyNodeIsRestarted(t *testing.T) {
	t.Parallel()
	h := lab.Host(3)
	s := newSite(t, h)
	s.environment("shop", strings.Replace(fmt.Sprintf(oneWeb, 1), "replicas: 1", "replicas: 2", 1)+
		"      healthCheck: {http: {port: http, path: /healthz}, interval: 500ms, retries: 1, restartAfter: 2s}\n")
	l := s.run()
	l.converged()
	sick := s.node(h, "web", 2)
	s.fallSick(h, sick)
	l.until(patience, func(st reconciler.Status) error {
		return unless(layer(t, st, "shop", "web").Serving == 1, "not withdrawn")
	})
	st := l.until(patience, func(st reconciler.Status) error {
		return unless(layer(t, st, "shop", "web").Serving == 2, "not restarted")
	})
	require.True(t, layer(t, st, "shop", "web").Nodes[1].Since.After(sick.StartedAt))
	require.Equal(t, sick.ID, s.node(h, "web", 2).ID, "its container stays")
}

// fallSick has a node's own health page fail from now on.
func (s *site) fallSick(h *hosts.Host, in fleet.Instance) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+in.Address.String()+":8080/healthz?healthy=false", http.NoBody)
	require.NoError(s.t, err)
	web := http.Client{Transport: &http.Transport{DialContext: h.DialContext, DisableKeepAlives: true}}
	resp, err := web.Do(req)
	require.NoError(s.t, err)
	require.NoError(s.t, resp.Body.Close())
	require.Equal(s.t, http.StatusOK, resp.StatusCode)
}

// startedWith are the nodes of layer web with a running container that has the given environment, sorted.
func (s *site) startedWith(env string, h *hosts.Host) []int {
	s.t.Helper()
	var list []int
	for _, in := range s.nodesOf(h, "web") {
		if strings.Contains(byHand(s.t, h, "inspect", "-f", "{{.Config.Env}}", in.ID), env) {
			list = append(list, in.Node)
		}
	}
	slices.Sort(list)
	return list
}

// onHosts are the hosts on which nodes of a layer run, by ordinal; two of one node fail the test.
func (s *site) onHosts(layer string, among ...*hosts.Host) map[int]string {
	s.t.Helper()
	on := map[int]string{}
	for _, h := range among {
		for _, in := range s.nodesOf(h, layer) {
			require.Empty(s.t, on[in.Node], "node %d runs twice", in.Node)
			on[in.Node] = h.Name()
		}
	}
	return on
}
