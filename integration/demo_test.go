package integration

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
)

var counted = regexp.MustCompile(`(?m)^(\d+) requests, (\d+) failed$`)

// TestDemo runs what `make demo` runs, on a host without any image, and looks whether anything is left.
func TestDemo(t *testing.T) {
	t.Parallel()
	l := hosts.Start(t, 1)
	h := l.Host(1)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "demo")
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+h.Endpoint(), "TMPDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	m := counted.FindStringSubmatch(string(out))
	require.NotNil(t, m, "%s", out)
	requests, err := strconv.Atoi(m[1])
	require.NoError(t, err)
	require.Greater(t, requests, 200)
	require.Equal(t, "0", m[2], "%s", out)
	require.Contains(t, string(out), "healed after")
	for _, what := range []string{"ps -aq", "images -q", "volume ls -q", "network ls -q --filter type=custom"} {
		left, err := h.Exec(ctx, "sh", "-c", "docker "+what)
		require.NoError(t, err)
		require.Empty(t, string(left), "docker %s shows what the demo left", what)
	}
}
