package bench

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// How long what is idle is left to itself first, and then looked at.
const (
	settling = 30 * time.Second
	idling   = 60 * time.Second
)

// What `evenkeel run` and the keeper need while nothing happens to a hundred nodes, which are asked every 5 s whether
// they are healthy. It waits on the clock: there is nothing else to wait for.
func BenchmarkIdle(b *testing.B) {
	s := newSite(b)
	s.environment(`    - name: web
      image: node:1
      replicas: 100
      ports: [{name: http, port: 8080}]
      healthCheck: {http: {port: http, path: /healthz}, interval: 5s}
      updatePolicy: {strategy: simultaneous, removeFromDNS: false, minHealthy: 0s, delay: 0s}
`)
	s.apply()
	const listen = "127.0.0.1:18642"
	state := b.TempDir()
	log, err := os.Create(filepath.Join(state, "log"))
	require.NoError(b, err)
	run := exec.Command(program, "run", "--repo", s.dir, "--listen", listen, "--state", state)
	run.Stdout, run.Stderr = log, log
	require.NoError(b, run.Start())
	b.Cleanup(func() {
		require.NoError(b, run.Process.Signal(syscall.SIGTERM))
		require.NoError(b, run.Wait())
		require.NoError(b, log.Close())
	})
	wait(b, func() bool { return ready("http://" + listen + "/readyz") })
	time.Sleep(settling)
	programs := []*watched{{pid: run.Process.Pid}, {pid: keeperPID(b, fleet.KeeperName(s.name))}}
	for _, w := range programs {
		w.begin(b)
	}
	for range int(idling / time.Second) {
		time.Sleep(time.Second)
		for _, w := range programs {
			w.sample(b)
		}
	}
	text, err := os.ReadFile(log.Name())
	require.NoError(b, err)
	require.NotContains(b, string(text), "error")
	programs[0].end(b, "evenkeel run, idle on 100 nodes", 60, 1)
	programs[1].end(b, "its keeper, 100 probes every 5 s", 40, 2)
}

func ready(url string) bool {
	resp, err := http.Get(url) //nolint:noctx // it is asked until it answers
	if err != nil {
		return false
	}
	_ = resp.Body.Close() // nothing is read
	return resp.StatusCode == http.StatusOK
}

// keeperPID is the number that the keeper's own process has on this machine; the engine knows it by another, and
// beside it in its container is what joins sessions of evenkeel to it.
func keeperPID(b *testing.B, container string) int {
	out, err := lab.Host(1).Exec(b.Context(), "docker", "inspect", "-f", "{{.Id}}", container)
	require.NoError(b, err)
	id := strings.TrimSpace(string(out))
	all, err := filepath.Glob("/proc/[0-9]*/cgroup")
	require.NoError(b, err)
	for _, path := range all {
		group, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(group), id) {
			continue // it may have ended
		}
		dir := filepath.Dir(path)
		command, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || !strings.Contains(string(command), "\x00serve\x00") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		require.NoError(b, err)
		return pid
	}
	require.FailNow(b, "no process of the keeper is in the control group of "+container)
	return 0
}

// watched is a process that is looked at once a second.
type watched struct {
	pid      int
	begun    time.Time
	before   time.Duration // of the processors that it had had then
	resident []uint64
}

func (w *watched) begin(b *testing.B) { w.begun, w.before = time.Now(), processTime(b, w.pid) }

func (w *watched) sample(b *testing.B) {
	w.resident = append(w.resident, 1024*procField(b, w.pid, "VmRSS"))
}

// end adds the means, against the most mebibytes and the most percent of a core.
func (w *watched) end(b *testing.B, what string, most uint64, percent float64) {
	used := 100 * float64(processTime(b, w.pid)-w.before) / float64(time.Since(w.begun))
	sum := uint64(0)
	for _, r := range w.resident {
		sum += r
	}
	mean := sum / uint64(len(w.resident))
	note(what+": memory", mebibytes(mean), "", mebibytes(mean), fmt.Sprintf("< %d MiB", most), mean < most<<20)
	core := fmt.Sprintf("%.2f %%", used)
	note(what+": of a core", core, "", core, fmt.Sprintf("< %.0f %%", percent), used < percent)
}

// processTime is what a process has had of the processors.
func processTime(b *testing.B, pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(b, err)
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])) // a name may hold spaces
	user, err := strconv.Atoi(fields[11])
	require.NoError(b, err)
	system, err := strconv.Atoi(fields[12])
	require.NoError(b, err)
	const tick = time.Second / 100 // of the clock in /proc, on every Linux
	return time.Duration(user+system) * tick
}
