package integration

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// inside runs a command in a process's own mount namespace.
func inside(t *testing.T, p *process, command ...string) string {
	t.Helper()
	args := append([]string{"--mount", "--target", strconv.Itoa(p.cmd.Process.Pid), "--"}, command...)
	out, err := exec.CommandContext(t.Context(), "nsenter", args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// TestHistoryBesideARun reads the history of a loop at work, whose journal is on a tiny disk that is full for a while.
func TestHistoryBesideARun(t *testing.T) {
	t.Parallel()
	h := lab.Host(1)
	s := newSite(t, h)
	s.environment("shop", fmt.Sprintf(oneWeb, 1))
	// The disk is in a mount namespace of the loop's own, so that nothing of it is left whatever happens.
	s.through = []string{"unshare", "--mount", "--propagation=private", "sh", "-ec", `mount -t tmpfs -o size=64k,nr_inodes=100 tmpfs "$EVENKEEL_STATE"; exec "$@"`, "sh"}
	l := s.run()
	s.through = nil
	l.converged()
	ballast := filepath.Join(s.state, "ballast")
	history := func(args ...string) string {
		return inside(t, l.process, append([]string{program, "history", "--state", s.state, "--fleet", s.fleet}, args...)...)
	}
	first := history()
	require.Regexp(t, `shop/web/1\s+h1\s+create\s+done in \S+\s+\S+@\S+ \(`+strconv.Itoa(l.cmd.Process.Pid)+`\)`, first)
	require.Regexp(t, s.network("shop")+`\s+h1\s+create network\s+done in \S+\s+\S+@\S+ \(\d+\)`, first)
	require.Regexp(t, fleet.KeeperName(s.fleet)+`\s+h1\s+create keeper\s+done`, first)
	require.Regexp(t, `shop/web/1\s+h1\s+create\s+gate`, history("--all"))
	kept := history("-o", "json", "-n", "0")

	inside(t, l.process, "sh", "-c", "dd if=/dev/zero of="+ballast+" bs=1k 2>/dev/null || true")
	for version := 2; version <= 80; version += 39 { // until what is left of the journal's last page is used up
		s.environment("shop", fmt.Sprintf(oneWeb, version))
		l.untilVersion(s, version)
		if strings.Contains(l.stderr.String(), "no space left on device") {
			break
		}
	}
	require.Contains(t, l.stderr.String(), "the journal can't be written, the work goes on")
	require.Contains(t, l.stderr.String(), "no space left on device")

	inside(t, l.process, "rm", ballast)
	s.environment("shop", fmt.Sprintf(oneWeb, 99))
	l.untilVersion(s, 99)
	after := history("-n", "0")
	require.Regexp(t, `journal\s+lost in \S+\s+\d+ events could not be written: .*no space left on device`, after)
	require.Regexp(t, `shop/web/1\s+h1\s+redeploy\s+done in .*99`, after)
	require.True(t, strings.HasPrefix(history("-o", "json", "-n", "0"), kept), "what was kept is kept:\n%s\n%s", kept, after)
}

// untilVersion waits until the node is of a version and all is done.
func (l *loop) untilVersion(s *site, version int) {
	l.t.Helper()
	revision := strings.TrimSpace(s.gitOutput("rev-parse", "HEAD"))
	l.until(patience, func(st reconciler.Status) error {
		return unless(st.Converged && st.Revision == revision, fmt.Sprintf("version %d isn't there", version))
	})
}

func TestMetricsOfARun(t *testing.T) {
	t.Parallel()
	h := lab.Host(3)
	s := newSite(t, h)
	s.environment("shop", fmt.Sprintf(oneWeb, 1))
	l := s.run()
	l.converged()
	byHand(t, h, "kill", s.node(h, "web", 1).ID)
	l.requireMetrics(
		`evenkeel_operations_total{environment="shop",layer="web",operation="create",outcome="done"} 1`,
		`evenkeel_operations_total{environment="shop",layer="web",operation="start",outcome="done"} 1`,
		`evenkeel_host_operations_total{host="h3",operation="create",outcome="done",what="keeper"} 1`,
		`evenkeel_host_operations_total{host="h3",operation="create",outcome="done",what="network"} 1`,
		`evenkeel_host_reachable{host="h3"} 1`, `evenkeel_host_keeper_up{host="h3"} 1`, `evenkeel_host_lease_held{host="h3"} 1`,
		`evenkeel_leading 1`, `evenkeel_waiting 0`, `evenkeel_converged 1`,
		`evenkeel_layer_nodes{environment="shop",kind="serving",layer="web"} 1`,
	)
	second := s.run()
	eventually(t, patience, func() error {
		_, body := second.get("/metrics")
		return unless(strings.Contains(body, "evenkeel_waiting 1\n") && strings.Contains(body, "evenkeel_leading 0\n"), body)
	})
}
