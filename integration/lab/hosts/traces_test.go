package hosts_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const stateDir = "/run/evenkeel-lab"

// remains is what to look for when a lab is gone.
type remains struct {
	lab   int
	owner int
	// namespaces of the hosts' first processes, such as "net:[4026532001]".
	namespaces map[string]bool
	// seen is when they were read, in clock ticks after boot. The kernel gives
	// the numbers of namespaces out again, so processes that started later are
	// another lab's.
	seen uint64
}

// remainsOf describes a running lab.
func remainsOf(t *testing.T, lab, owner int) remains {
	t.Helper()
	r := remains{lab: lab, owner: owner, namespaces: map[string]bool{}, seen: ticksNow(t)}
	own := namespacesOf("self")
	files, err := filepath.Glob(filepath.Join(stateDir, strconv.Itoa(lab), "h*", "init.pid"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		pid, _, _ := strings.Cut(string(data), " ")
		for ns := range namespacesOf(pid) {
			if !own[ns] {
				r.namespaces[ns] = true
			}
		}
	}
	require.Len(t, r.namespaces, 5*len(files), "pid, mnt, net, uts and ipc")
	return r
}

// ticksNow is the time after boot in the unit of /proc/PID/stat, which is
// 10 ms on every architecture that Go and Docker run on.
func ticksNow(t *testing.T) uint64 {
	t.Helper()
	data, err := os.ReadFile("/proc/uptime")
	require.NoError(t, err)
	up, err := strconv.ParseFloat(strings.Fields(string(data))[0], 64)
	require.NoError(t, err)
	return uint64(up * 100)
}

func startedAt(pid string) uint64 {
	data, _ := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return 0
	}
	ticks, _ := strconv.ParseUint(fields[19], 10, 64)
	return ticks
}

func namespacesOf(pid string) map[string]bool {
	found := map[string]bool{}
	for _, kind := range []string{"pid", "mnt", "net", "uts", "ipc"} {
		if ns, err := os.Readlink(filepath.Join("/proc", pid, "ns", kind)); err == nil {
			found[ns] = true
		}
	}
	return found
}

// requireGone waits until nothing of the lab is left.
func (r remains) requireGone(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		left := append(r.processes(), r.named()...)
		if len(left) == 0 {
			return
		}
		require.True(t, time.Now().Before(deadline), "left behind: %q", left)
		<-time.After(20 * time.Millisecond)
	}
}

// processes are those in the lab's namespaces.
func (r remains) processes() []string {
	var left []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid := filepath.Base(dir)
		for ns := range namespacesOf(pid) {
			if r.namespaces[ns] && startedAt(pid) <= r.seen {
				left = append(left, pid+" is in "+ns)
			}
		}
	}
	return left
}

// named are mounts, files, links and control groups by the lab's number,
// unless another lab has that number already: it can't have got it before all
// was gone.
func (r remains) named() []string {
	var left []string
	dir := filepath.Join(stateDir, strconv.Itoa(r.lab))
	for _, path := range []string{dir, dir + ".lock"} {
		if _, err := os.Lstat(path); err == nil {
			left = append(left, path)
		}
	}
	// All mount namespaces: other labs' hosts must not hold this one's disk.
	files, _ := filepath.Glob("/proc/[0-9]*/mountinfo")
	for _, file := range files {
		data, _ := os.ReadFile(file)
		if strings.Contains(string(data), " "+dir+" ") || strings.Contains(string(data), " "+dir+"/") {
			left = append(left, file+" has "+dir)
		}
	}
	link := fmt.Sprintf("eklab%d", r.lab)
	if _, err := net.InterfaceByName(link); err == nil {
		left = append(left, link)
	}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == fmt.Sprintf("evenkeel-lab%d", r.lab) {
			left = append(left, path)
		}
		return nil
	})
	if r.reused() {
		return nil
	}
	return left
}

func (r remains) reused() bool {
	data, err := os.ReadFile(filepath.Join(stateDir, strconv.Itoa(r.lab), "lab.json"))
	if err != nil {
		return false
	}
	var lab struct{ Owner int }
	return json.Unmarshal(data, &lab) == nil && lab.Owner != r.owner
}
