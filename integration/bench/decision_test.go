package bench

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/keeper"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/zone"
	"github.com/evenkeel/evenkeel/spec"
)

const decisions = 5

// What is decided for a fleet of 1,000 hosts and 100,000 nodes, first with nothing there and then with all of it,
// and what that grows with: a tenth of the fleet against all of it.
func BenchmarkDecision(b *testing.B) {
	small, large := decide(b, 100, 10_000), decide(b, 1_000, 100_000)
	timed := func(what string, s spent, goal time.Duration) {
		took := median(s.thread)
		note(what, show(took), "", fmt.Sprintf("%s, %s by the clock", show(took), show(median(s.clock))), "< "+goal.String(), took < goal)
	}
	timed("first plan, 1,000 hosts, 100,000 nodes", large.first, 3*time.Second)
	timed("plan without a change, the same", large.none, time.Second)
	timed("first plan, 100 hosts, 10,000 nodes", small.first, 300*time.Millisecond)
	timed("plan without a change, the same", small.none, 100*time.Millisecond)
	linear := func(what string, s, l []time.Duration) {
		x, y := median(s), median(l)
		times := float64(y) / float64(x)
		note(what, show(y), show(x), fmt.Sprintf("%.1f ×", times), "≤ 12.0 ×", times <= 12)
	}
	linear("first plan, all of it against that tenth", small.first.thread, large.first.thread)
	linear("plan without a change, all against that tenth", small.none.thread, large.none.thread)
	note("memory of both, the fleet's included", mebibytes(large.memory), "", mebibytes(large.memory), "< 1024 MiB", large.memory < 1<<30)
	note("memory of both at the tenth", mebibytes(small.memory), "", mebibytes(small.memory), "< 102 MiB", small.memory < 1<<30/10)
}

// decided is what deciding took.
type decided struct {
	first, none spent
	memory      uint64 // the process's most, resident
}

// spent is what decisions took of the thread that made them, and by the clock.
type spent struct{ thread, clock []time.Duration }

func (s *spent) add(thread, clock time.Duration) {
	s.thread, s.clock = append(s.thread, thread), append(s.clock, clock)
}

func decide(b *testing.B, hosts, nodes int) (d decided) {
	desired := large(b, hosts, nodes)
	empty := emptyHosts(desired)
	d.memory = mostResident(b, func() {
		var settled fleet.Observed
		for range times(decisions) {
			thread, clock, p := decision(b, desired, empty)
			require.Len(b, p.Layers, nodes/20)
			d.first.add(thread, clock)
			if settled.Hosts == nil {
				settled = carriedOut(b, desired, p)
			}
		}
		for range times(decisions) {
			thread, clock, p := decision(b, desired, settled)
			require.False(b, p.HasChanges)
			if n := len(p.Records); n > 0 { // too many to be printed
				b.Fatalf("%d records are to be written", n)
			}
			d.none.add(thread, clock)
		}
	})
	return d
}

// decision is all that is decided in a pass: which images are asked for, who goes where, what is done, what each
// keeper is told, and the copy of who is where.
func decision(b *testing.B, desired *spec.Spec, o fleet.Observed) (thread, clock time.Duration, p plan.Plan) {
	runtime.GC()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, begun := processorTime(b), time.Now()
	p = planned(desired, o)
	zones := zone.Compute(desired, o, p.Networks, nil)
	_, known := zone.Copy(desired, o, p.Networks, zone.Outside{})
	thread, clock = processorTime(b)-before, time.Since(begun)
	require.Len(b, zones, len(o.Hosts))
	require.True(b, known)
	return thread, clock, p
}

func planned(desired *spec.Spec, o fleet.Observed) plan.Plan {
	in := plan.Input{Revision: "r1", Desired: desired, Observed: o, KeeperVersion: keeper.Version, Images: map[string]plan.Image{}}
	read := plan.Read(in)
	for _, r := range read.Unresolved() {
		in.Images[r.Image] = plan.Image{Digest: digested(r.Image)}
	}
	return read.Compute(in.Images)
}

func digested(image string) string {
	return fmt.Sprintf("%s@sha256:%064x", image[:strings.LastIndex(image, ":")], 1)
}

// large is a fleet with environments of five layers with twenty nodes each.
func large(b *testing.B, hosts, nodes int) *spec.Spec {
	var f strings.Builder
	f.WriteString("apiVersion: evenkeel.dev/v1\nkind: Fleet\nmetadata: {name: large}\nspec:\n  network: {driver: bridge}\n  hosts:\n")
	for i := range hosts {
		fmt.Fprintf(&f, "    - {name: hn%04d, endpoint: \"tcp://172.31.%d.%d:2375\", insecure: true, labels: {zone: z%d}}\n", i, i/250, 1+i%250, i%3)
	}
	files := fstest.MapFS{"fleet.yaml": {Data: []byte(f.String())}}
	for e := range nodes / 100 {
		var text strings.Builder
		fmt.Fprintf(&text, "apiVersion: evenkeel.dev/v1\nkind: Environment\nmetadata: {name: env%04d}\nspec:\n  layers:\n", e)
		for l := range 5 {
			fmt.Fprintf(&text, `    - {name: layer%d, image: "registry.example.com/env%04d/layer%d:1", replicas: 20, env: {LEVEL: info},
       ports: [{name: http, port: 8080}], healthCheck: {http: {port: http, path: /}}, cloudlets: {reserved: 1, limit: 4}}
`, l, e, l)
		}
		files[fmt.Sprintf("env%04d.yaml", e)] = &fstest.MapFile{Data: []byte(text.String())}
	}
	s, err := spec.Load(files)
	require.NoError(b, err)
	return s
}

// emptyHosts are the fleet's hosts before anything is on them.
func emptyHosts(s *spec.Spec) fleet.Observed {
	var o fleet.Observed
	for i := range s.Fleet.Hosts {
		h := &s.Fleet.Hosts[i]
		address := netip.MustParseAddr(h.Address)
		o.Hosts = append(o.Hosts, fleet.HostState{
			Name: h.Name, Reachable: true, Engine: fleet.Engine{CPUs: 64, Memory: 64 << 30, OS: "linux", Arch: "amd64"},
			Networks:  []fleet.Network{{Name: "bridge", Subnet: netip.MustParsePrefix("172.17.0.0/16")}},
			Addresses: []netip.Prefix{netip.PrefixFrom(address, address.BitLen())},
		})
	}
	return o
}

// carriedOut is what is seen once a first plan was carried out, and every keeper has been told.
func carriedOut(b *testing.B, desired *spec.Spec, p plan.Plan) fleet.Observed {
	o := emptyHosts(desired)
	name := desired.Fleet.Name
	for i := range o.Hosts {
		h := &o.Hosts[i]
		h.Networks = append(h.Networks, fleet.Network{Name: fleet.UplinkName(name), Fleet: name, Role: fleet.RoleKeeper})
		h.Keepers = []fleet.KeeperContainer{{
			Name: fleet.KeeperName(name), Version: keeper.Version, State: fleet.StateRunning, Networks: map[string]netip.Addr{fleet.UplinkName(name): {}},
			RestartPolicy: plan.KeeperRestartPolicy,
		}}
		h.Keeper = &fleet.KeeperState{Version: keeper.Version, Fleet: name, Host: h.Name, Mode: fleet.KeeperActive}
	}
	for _, n := range p.Networks {
		h, network := o.Host(n.Host), fleet.NetworkName(name, n.Environment)
		h.Networks = append(h.Networks, fleet.Network{
			Name: network, Fleet: name, Environment: n.Environment, Driver: "bridge", Subnet: n.Subnet, Gateway: n.Gateway, IPRange: n.IPRange,
		})
		h.Keepers[0].Networks[network] = n.Keeper
	}
	for i := range p.Layers {
		for _, op := range p.Layers[i].Operations {
			created(b, o.Host(op.Host), &op)
		}
	}
	for _, r := range planned(desired, o).Records { // what is known of layers that are whole
		record(b, o.Host(r.Host), r.Key, r.Value)
	}
	for i := range o.Hosts {
		h := &o.Hosts[i]
		slices.SortFunc(h.Networks, func(x, y fleet.Network) int { return strings.Compare(x.Name, y.Name) })
		slices.SortFunc(h.Keeper.Records, func(x, y fleet.Record) int { return strings.Compare(x.Key, y.Key) })
		slices.SortFunc(h.Keeper.Health, func(x, y fleet.ProbeResult) int { return strings.Compare(x.Instance, y.Instance) })
		fleet.SortInstances(h.Instances)
	}
	for i, z := range zone.Compute(desired, o, p.Networks, nil) {
		o.Hosts[i].Keeper.Zone = z
	}
	whole, known := zone.Copy(desired, o, p.Networks, zone.Outside{})
	require.True(b, known)
	for i := range o.Hosts {
		o.Hosts[i].Keeper.Copy = whole
	}
	return o
}

var started = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// created puts what an operation creates on its host, running, healthy and recorded.
func created(b *testing.B, h *fleet.HostState, op *plan.Operation) {
	require.Equal(b, plan.Create, op.Kind)
	c := op.Container
	in := fleet.Instance{
		NodeID: op.ID, Host: op.Host, Generation: c.Generation, ID: "id-" + c.Name, Name: c.Name,
		Written: c.Labels[fleet.LabelWritten], Spec: c.Labels[fleet.LabelSpec], Image: c.Labels[fleet.LabelImage], Revision: "r1",
		State: fleet.StateRunning, CreatedAt: started, StartedAt: started,
		Limits: c.Limits, RestartPolicy: c.Restart, Network: c.Network, Address: c.Address,
	}
	h.Instances = append(h.Instances, in)
	record(b, h, fleet.RestartKey(op.ID), fleet.RestartRecord{})
	record(b, h, fleet.CurrentKey(op.ID), fleet.CurrentRecord{Generation: c.Generation})
	h.Keeper.Health = append(h.Keeper.Health, fleet.ProbeResult{Instance: in.ID, Healthy: true, For: time.Hour})
}

func record(b *testing.B, h *fleet.HostState, key string, value any) {
	raw, err := json.Marshal(value)
	require.NoError(b, err)
	h.Keeper.Records = append(h.Keeper.Records, fleet.Record{Key: key, Value: raw})
}

// rusageThread is RUSAGE_THREAD, which package syscall doesn't name.
const rusageThread = 1

// processorTime is what this thread has had of a processor: what else the machine does meanwhile doesn't count, nor
// does what the garbage collector does on other processors.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(rusageThread, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// mostResident is the most memory that this process had resident while f ran.
func mostResident(b *testing.B, f func()) uint64 {
	debug.FreeOSMemory() // what came before isn't of f
	require.NoError(b, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0))
	f()
	return 1024 * procField(b, os.Getpid(), "VmHWM")
}

// procField is a number out of a process's status, in its unit there.
func procField(b *testing.B, pid int, name string) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(b, err)
	_, rest, found := strings.Cut(string(text), name+":")
	require.True(b, found, name)
	n, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
	require.NoError(b, err)
	return n
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }
