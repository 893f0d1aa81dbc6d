package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

const (
	// skewNoted is a difference of clocks that makes times in reports hard to compare; skewBad one with which
	// certificates and signed requests fail.
	skewNoted = 2 * time.Second
	skewBad   = time.Minute
)

// engine finds what is wrong with a host's engine.
func (e *examination) engine(p *Patient, st *fleet.HostState) {
	add := func(s Severity, what, remedy string) {
		e.report.add(Finding{Severity: s, Area: Engine, Host: p.Name, What: what, Remedy: remedy})
	}
	if st.Engine.OS != "" && st.Engine.OS != "linux" {
		add(Problem, "its engine runs "+st.Engine.OS+" containers", "evenkeel needs an engine for linux containers")
	}
	switch st.Engine.StorageDriver {
	case "vfs":
		add(Warning, "its engine copies each image whole for each container (storage driver vfs)", "use overlay2: `storage-driver` in /etc/docker/daemon.json; images have to be pulled anew then")
	case "aufs", "devicemapper", "overlay":
		add(Warning, "its storage driver "+st.Engine.StorageDriver+" is gone from newer engines", "move to overlay2 before Docker is upgraded there")
	}
	c := p.Checkup
	if c == nil {
		return
	}
	e.clock(p, c)
	if !c.Forwarding {
		add(Problem, "its kernel forwards no IPv4 packets: nodes reach nothing outside, and nobody reaches published ports", "sysctl -w net.ipv4.ip_forward=1 on the host, and put it into /etc/sysctl.d")
	}
	e.limits(p, c)
	if !c.LiveRestore {
		add(Advice, "a restart of its engine, as an upgrade of Docker does one, stops all containers there for a while",
			"`\"live-restore\": true` in /etc/docker/daemon.json, then `systemctl reload docker`")
	}
	if c.LogDriver == "none" {
		add(Advice, "its engine keeps no logs, so that a failed node's last lines can't be told", "another `log-driver` in /etc/docker/daemon.json, or `logging` in the layers")
	}
	if c.Rootless {
		add(Warning, "its engine runs rootless: published ports see no client addresses, and limits depend on what the user was delegated", "use an engine that runs as root, or see that cgroup v2 is delegated to its user")
	}
	for _, w := range c.Warnings {
		if !known(w) {
			add(Warning, "the engine says: "+strings.TrimPrefix(w, "WARNING: "), "as it says; /etc/docker/daemon.json is where its settings are")
		}
	}
}

// known says whether an engine's warning is about what is found by its own words here.
func known(warning string) bool {
	for _, about := range []string{"limit support", "IPv4 forwarding", "cpu shares", "cpu cfs", "cpuset", "cpu quota", "cpu period", "oom kill disable", "without encryption", "without tls", "API is accessible", "bridge-nf-call", "blkio"} {
		if strings.Contains(strings.ToLower(warning), strings.ToLower(about)) {
			return true
		}
	}
	return false
}

func (e *examination) clock(p *Patient, c *fleet.Checkup) {
	off := c.Skew.Abs() - c.Within // at least
	if off < skewNoted {
		return
	}
	f := Finding{Severity: Warning, Area: Clock, Host: p.Name, Remedy: "run a time service on the host and here: `timedatectl` shows whether one does"}
	if off >= skewBad {
		f.Severity = Problem
	}
	way := "ahead of"
	if c.Skew < 0 {
		way = "behind"
	}
	f.What = fmt.Sprintf("its clock is %s %s this machine's (give or take %s)", rounded(c.Skew.Abs()), way, rounded(c.Within))
	e.report.add(f)
}

func rounded(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}

// limits finds limits that a spec asks for and the host's kernel can't hold anything to.
func (e *examination) limits(p *Patient, c *fleet.Checkup) {
	memory, cpu := e.limited()
	for _, l := range []struct {
		missing  bool
		needed   bool
		what     string
		severity Severity
	}{
		{!c.MemoryLimit, memory, "memory", Warning},
		{!c.SwapLimit, memory, "swap (a node's memory limit can be exceeded by what it swaps out)", Advice},
		{!c.CPUQuota, cpu, "CPU time", Warning},
		{!c.PidsLimit, true, "the number of processes", Warning},
	} {
		if !l.missing {
			continue
		}
		severity := l.severity
		if !l.needed {
			severity = Advice
		}
		e.report.add(Finding{
			Severity: severity, Area: Engine, Host: p.Name, What: "its kernel has no limits for " + l.what,
			Remedy: "cgroup v2, or the kernel parameters cgroup_enable=memory swapaccount=1 on cgroup v1, then reboot",
		})
	}
}

// limited says whether any layer limits memory, and whether any limits CPU.
func (e *examination) limited() (memory, cpu bool) {
	for i := range e.Desired.Environments {
		for j := range e.Desired.Environments[i].Layers {
			l := &e.Desired.Environments[i].Layers[j]
			memory, cpu = memory || l.Limit.Memory > 0, cpu || l.Limit.CPU > 0
		}
	}
	return memory, cpu
}

// How much room an engine needs: an image has to be unpacked beside the one that runs.
const (
	roomNeeded = 256 << 20
	roomWanted = 2 << 30
)

func (e *examination) disk(p *Patient, st *fleet.HostState) {
	f := Finding{Severity: Problem, Area: Disk, Host: p.Name, Remedy: "`docker system df` on the host shows what takes it, `docker image prune -a` removes images that no container uses"}
	where := "where its engine keeps its data"
	if p.Checkup != nil && p.Checkup.RootDir != "" {
		where = "where its engine keeps its data (" + p.Checkup.RootDir + ")"
	}
	switch r := p.Room; {
	case r == nil && st.Keeper != nil:
		f.Severity, f.What, f.Remedy = Advice, "the room left "+where+" isn't known: its keeper is too old to tell", "`evenkeel apply` replaces the keeper"
	case r == nil:
		return // without a keeper nobody can tell, which is said
	case r.Free < roomNeeded:
		f.What = fmt.Sprintf("%s %s", room(r), where)
	case r.Free < roomWanted && r.Free < r.Total/5 || r.Free < r.Total/20:
		f.Severity, f.What = Warning, fmt.Sprintf("%s %s", room(r), where)
	default:
		return
	}
	e.report.add(f)
}

func room(r *fleet.Room) string {
	return fmt.Sprintf("%s of %s are free", size(r.Free), size(r.Total))
}

// size is an amount as people write it in a spec, cut to what matters.
func size(n uint64) string {
	unit := uint64(1 << 20)
	if n >= 10<<30 {
		unit = 1 << 30
	}
	return spec.Bytes(n / unit * unit).String() //nolint:gosec // no disk has 8 EiB
}

// sortedKeys are the keys of what is found by fleet.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
