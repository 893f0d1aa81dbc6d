package drift_test

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/drift"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

const (
	network = "evenkeel_production_shop"
	uplink  = "0-evenkeel-production"
	keeper  = "evenkeel-keeper-production"
	mi      = spec.Bytes(1 << 20)
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func nodeID(n int) fleet.NodeID { return fleet.NodeID{Environment: "shop", Layer: "web", Node: n} }

// world is a fleet of two hosts, with a node and its volume on each, as a commit left it.
type world struct {
	spec  *spec.Spec
	hosts []fleet.HostState
}

func newWorld() *world {
	l := spec.Layer{
		Name: "web", Replicas: 2, LayerHash: "v1:whole", Hash: "v1:web", Limit: spec.Resources{Memory: 256 * mi, CPU: 500},
		Volumes: []spec.Volume{{Name: "data", Path: "/data"}},
	}
	w := &world{spec: &spec.Spec{
		Fleet:        spec.Fleet{Name: "production", SelfHeal: true, Hosts: []spec.Host{{Name: "hn1"}, {Name: "hn2"}}},
		Environments: []spec.Environment{{Name: "shop", Layers: []spec.Layer{l}}},
	}}
	for i, name := range []string{"hn1", "hn2"} {
		id := nodeID(i + 1)
		h := fleet.HostState{
			Name: name, Reachable: true, Engine: fleet.Engine{CPUs: 4},
			Networks: []fleet.Network{
				{Name: uplink, Fleet: "production"}, {Name: "bridge"}, {Name: network, ID: "n1", Fleet: "production", Environment: "shop"},
			},
			Volumes: []fleet.Volume{{NodeID: id, Host: name, Name: fleet.VolumeName("production", id, "data"), Volume: "data"}},
			Keepers: []fleet.KeeperContainer{{
				ID: "k", Name: keeper, State: fleet.StateRunning, Networks: map[string]netip.Addr{uplink: {}, network: {}}, RestartPolicy: plan.KeeperRestartPolicy,
			}},
			Instances: []fleet.Instance{{
				NodeID: id, Host: name, Generation: 1, ID: "id" + name, Name: fleet.ContainerName("production", id, 1), Spec: "v1:web",
				State: fleet.StateRunning, StartedAt: noon.Add(-time.Hour), Limits: fleet.Limits{Memory: 256 * mi, NanoCPUs: 5e8, PidsLimit: 4096},
				RestartPolicy: plan.RestartPolicy, Network: network, NetworkID: "n1", Address: netip.MustParseAddr("10.0.0.9"),
			}},
			Keeper: &fleet.KeeperState{Host: name},
		}
		w.hosts = append(w.hosts, h)
		w.record(i, fleet.AppliedKey(id.LayerID()), fleet.AppliedOf(&w.spec.Environments[0].Layers[0]))
		w.record(i, fleet.CurrentKey(id), fleet.CurrentRecord{Generation: 1})
	}
	return w
}

func (w *world) record(host int, key string, value any) {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	k := w.hosts[host].Keeper
	k.Records = fleet.WithRecord(k.Records, fleet.Record{Key: key, Value: raw})
}

func (w *world) layer() *spec.Layer    { return &w.spec.Environments[0].Layers[0] }
func (w *world) node() *fleet.Instance { return &w.hosts[0].Instances[0] }
func (w *world) compute() drift.Report {
	return drift.Compute(drift.Input{Revision: "r1", Desired: w.spec, Observed: fleet.Observed{Hosts: w.hosts}, Now: noon})
}

// lines are findings as one reads them.
func lines(found []drift.Finding) []string {
	var all []string
	for _, f := range found {
		subject := f.Node
		if f.What != drift.Node {
			subject = f.What + " " + f.Name
		}
		all = append(all, f.Host+" "+subject+" "+f.Field+": "+f.Wanted+" > "+f.Found)
	}
	return all
}

func exited(w *world) {
	w.node().State, w.node().ExitCode, w.node().FinishedAt = fleet.StateExited, 137, noon.Add(-time.Minute)
}

func removed(w *world) { w.hosts[0].Instances = nil }

func committed(w *world) { w.layer().LayerHash = "v1:next" }

func TestCompute(t *testing.T) {
	tests := []struct {
		name   string
		change func(w *world)
		want   []string
	}{
		{"nothing", func(*world) {}, nil},
		{"killed", exited, []string{"hn1 shop/web/1 state: running > exited (exit code 137)"}},
		{"out of memory", func(w *world) { exited(w); w.node().OOMKilled = true }, []string{
			"hn1 shop/web/1 state: running > exited (exit code 137, out of memory)",
		}},
		{"paused", func(w *world) { w.node().State = fleet.StatePaused }, []string{"hn1 shop/web/1 state: running > paused"}},
		{"crashing again and again is no drift", func(w *world) { w.node().State = fleet.StateRestarting }, nil},
		{"removed", removed, []string{"hn1 shop/web/1 state: running > missing"}},
		{"removed with its volume", func(w *world) { removed(w); w.hosts[0].Volumes = nil }, []string{
			"hn1 shop/web/1 state: running > missing", "hn1 volume production_shop_web_1_data volume: there > missing",
		}},
		{"removed, and nobody knows from where", func(w *world) { removed(w); w.record(0, fleet.CurrentKey(nodeID(1)), nil) }, []string{
			" shop/web/1 state: running > missing",
		}},
		{"renamed", func(w *world) { w.node().Renamed, w.node().Name = w.node().Name, "mine" }, []string{
			"hn1 shop/web/1 name: production_shop_web_1_g1 > mine",
		}},
		{"resized", func(w *world) { w.node().Limits.Memory, w.node().Limits.NanoCPUs = 512*mi, 0 }, []string{
			"hn1 shop/web/1 limit.cpu: 500m > none", "hn1 shop/web/1 limit.memory: 256Mi > 512Mi",
		}},
		{"a limit where none is wanted", func(w *world) { w.node().Limits.CPUShares = 512 }, []string{"hn1 shop/web/1 reserved.cpu: none > 512 shares"}},
		{"no more CPU than the host has", func(w *world) {
			w.layer().Limit.CPU = 64000
			for i := range w.hosts {
				w.hosts[i].Instances[0].Limits.NanoCPUs = 4e9
				w.record(i, "applied/shop/web", fleet.AppliedOf(w.layer()))
			}
		}, nil},
		{"swap beyond its memory", func(w *world) { w.node().Limits.Swap = 64 * mi }, []string{"hn1 shop/web/1 limit.swap: none > 64Mi"}},
		{"swap without end", func(w *world) { w.node().Limits.Swap = fleet.AnySwap }, []string{"hn1 shop/web/1 limit.swap: none > any amount"}},
		{"no limit of processes", func(w *world) { w.node().Limits.PidsLimit = 0 }, []string{"hn1 shop/web/1 limit.pids: 4096 processes > none"}},
		{"an engine that limits no processes", func(w *world) {
			w.hosts[0].Engine.NoPidsLimit, w.node().Limits.PidsLimit = true, 0
		}, nil},
		{"limits of other kinds", func(w *world) {
			w.node().Imposed = []fleet.Imposed{{Field: "cpu-quota", Value: "50000"}, {Field: "cpuset-cpus", Value: "0"}}
		}, []string{"hn1 shop/web/1 limit.cpu-quota: none > 50000", "hn1 shop/web/1 limit.cpuset-cpus: none > 0"}},
		{"restart policy", func(w *world) { w.node().RestartPolicy = "no" }, []string{"hn1 shop/web/1 restart policy: unless-stopped > no"}},
		{"off its network", func(w *world) { w.node().Network, w.node().NetworkID = "", "" }, []string{"hn1 shop/web/1 network: " + network + " > not on it"}},
		{"on another network", func(w *world) { w.node().OtherNetworks = []string{"a", "b"} }, []string{
			"hn1 shop/web/1 other network:  > a", "hn1 shop/web/1 other network:  > b",
		}},
		{"its network was removed", func(w *world) {
			w.hosts[0].Networks = w.hosts[0].Networks[:2]
			delete(w.hosts[0].Keepers[0].Networks, network)
		}, []string{
			"hn1 keeper " + keeper + " network: " + network + " > not on it",
			"hn1 network " + network + " network: there > missing", "hn1 shop/web/1 network: " + network + " > not on it",
		}},
		{"its network was made anew by hand", func(w *world) { w.hosts[0].Networks[2].ID = "n2" }, []string{
			"hn1 shop/web/1 network: " + network + " > not on it",
		}},
		{"a keeper stopped", func(w *world) { w.hosts[0].Keepers[0].State = fleet.StateExited }, []string{"hn1 keeper " + keeper + " state: running > exited"}},
		{"a keeper removed", func(w *world) { w.hosts[0].Keepers = nil }, []string{"hn1 keeper " + keeper + " state: running > missing"}},
		{"a keeper renamed", func(w *world) { w.hosts[0].Keepers[0].Name = "mine" }, []string{"hn1 keeper " + keeper + " name: " + keeper + " > mine"}},
		{"a keeper's restart policy", func(w *world) { w.hosts[0].Keepers[0].RestartPolicy = "no" }, []string{
			"hn1 keeper " + keeper + " restart policy: always > no",
		}},
		{"a keeper off its way out and on another", func(w *world) {
			w.hosts[0].Keepers[0].Networks = map[string]netip.Addr{"bridge": {}, network: {}}
		}, []string{
			"hn1 keeper " + keeper + " network: " + uplink + " > not on it", "hn1 keeper " + keeper + " other network:  > bridge",
		}},
		{"a keeper that takes another's place", func(w *world) {
			w.hosts[0].Keepers = append(w.hosts[0].Keepers, fleet.KeeperContainer{Name: keeper + "-next", State: fleet.StateCreated})
			delete(w.hosts[0].Keepers[0].Networks, network) // the other one has it by now
		}, nil},
		{"a keeper that isn't there yet", func(w *world) { w.hosts = append(w.hosts, fleet.HostState{Name: "hn3", Reachable: true}) }, nil},
		{"the uplink removed", func(w *world) {
			w.hosts[0].Networks = w.hosts[0].Networks[1:]
			delete(w.hosts[0].Keepers[0].Networks, uplink)
		}, []string{
			"hn1 keeper " + keeper + " network: " + uplink + " > not on it", "hn1 network " + uplink + " network: there > missing",
		}},
		{"a stranger", func(w *world) { w.hosts[1].Strangers = []fleet.Stranger{{Name: "copy", State: fleet.StateRunning}} }, []string{
			"hn2 container copy container:  > running",
		}},

		{"a commit that isn't carried out yet", func(w *world) { committed(w); removed(w); w.hosts[1].Instances[0].Limits.Memory = mi }, nil},
		{"the cloudlet has grown", func(w *world) { w.layer().Limit.Memory = 512 * mi }, nil},
		{"a commit doesn't stop nodes", func(w *world) { committed(w); exited(w) }, []string{"hn1 shop/web/1 state: running > exited (exit code 137)"}},
		{"stopped for the next one", func(w *world) {
			exited(w)
			next := *w.node()
			next.Generation, next.ID, next.State = 2, "next", fleet.StateCreated
			w.hosts[0].Instances = append(w.hosts[0].Instances, next)
		}, nil},
		{"stopped for a restart", func(w *world) {
			exited(w)
			w.record(0, fleet.RestartKey(nodeID(1)), fleet.RestartRecord{Text: "x", StartedAt: w.node().StartedAt})
		}, nil},
		{"stopped after a restart", func(w *world) {
			exited(w)
			w.record(0, fleet.RestartKey(nodeID(1)), fleet.RestartRecord{Text: "x", StartedAt: w.node().StartedAt.Add(-time.Second)})
		}, []string{"hn1 shop/web/1 state: running > exited (exit code 137)"}},
		{"the one whose failure paused the layer", func(w *world) {
			exited(w)
			w.record(1, fleet.PauseKey(nodeID(1).LayerID()), fleet.PauseRecord{Hash: "v1:whole", Node: 1})
		}, nil},
		{"a pause for another spec explains nothing", func(w *world) {
			exited(w)
			w.record(1, fleet.PauseKey(nodeID(1).LayerID()), fleet.PauseRecord{Hash: "v1:old", Node: 1})
		}, []string{"hn1 shop/web/1 state: running > exited (exit code 137)"}},
		{"never healthy", func(w *world) {
			exited(w)
			w.record(0, fleet.CurrentKey(nodeID(1)), nil)
			w.record(0, fleet.RestartKey(nodeID(1)), fleet.RestartRecord{})
		}, nil},
		{"not wanted any more", func(w *world) { w.spec.Environments = nil; exited(w) }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			tt.change(w)
			r := w.compute()
			require.Equal(t, tt.want, lines(r.Drift))
			require.Empty(t, r.Unknown)
			for _, f := range r.Drift {
				require.NotEmpty(t, f.Remedy)
			}
		})
	}
}

func TestUnknownIsNoDrift(t *testing.T) {
	w := newWorld()
	w.hosts[0] = fleet.HostState{Name: "hn1", Problem: "no answer in time"}
	r := w.compute()
	require.Empty(t, r.Drift, "without a copy the node may be where nobody can look")
	require.Equal(t, []string{"host hn1 is out of reach: no answer in time"}, r.Unknown)

	w.hosts[1].Instances = nil
	w.hosts[1].Keeper.Copy = fleet.Copy{Serial: 1, Nodes: []fleet.CopyNode{{NodeID: nodeID(1), Host: "hn1"}}}
	require.Equal(t, []string{"hn2 shop/web/2 state: running > missing"}, lines(w.compute().Drift), "the copy says that the other isn't out of reach")

	w = newWorld()
	w.hosts[0].Keeper, w.hosts[0].KeeperProblem = nil, "the keeper on hn1 doesn't answer"
	require.Equal(t, []string{"the keeper on hn1 doesn't answer"}, w.compute().Unknown)
}

func TestWhatIsDoneAboutIt(t *testing.T) {
	w := newWorld()
	exited(w)
	w.hosts[0].Strangers = []fleet.Stranger{{Name: "copy", CreatedAt: noon}}
	r := w.compute()
	require.Equal(t, "evenkeel starts it", r.Drift[1].Remedy)
	require.Equal(t, noon.Add(-time.Minute), *r.Drift[1].Since, "as the engine tells")
	require.Contains(t, r.Drift[0].Remedy, "left alone")
	w.spec.Fleet.SelfHeal = false
	require.Equal(t, "only reported, since drift.selfHeal is false", w.compute().Drift[1].Remedy)
}

func TestOnly(t *testing.T) {
	w := newWorld()
	exited(w)
	w.hosts[0].Keepers[0].State = fleet.StateExited
	require.Len(t, w.compute().Only("shop").Drift, 2)
	require.Len(t, w.compute().Only("bank").Drift, 1, "the keeper is everybody's")
}

func at(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }

// report is one that was made at a time, of findings by their nodes.
func report(minutes int, nodes ...string) drift.Report {
	r := drift.Report{Time: at(minutes)}
	for _, n := range nodes {
		r.Drift = append(r.Drift, drift.Finding{Host: "hn1", What: drift.Node, Node: n, Field: "state", Wanted: "running", Found: "paused"})
	}
	return r
}

func TestAfter(t *testing.T) {
	r := report(0, "a", "b").After(drift.Report{}, time.Hour, 3)
	require.Equal(t, at(0), *r.Drift[0].Since)
	next := report(1, "b", "c")
	next.Drift[0].Host = "" // nobody knows any more
	r = next.After(r, time.Hour, 3)
	require.Equal(t, []string{"hn1 b state: running > paused", "hn1 c state: running > paused"}, lines(r.Drift))
	require.Equal(t, at(0), *r.Drift[0].Since)
	require.Equal(t, at(1), *r.Drift[1].Since)
	require.Equal(t, []string{"hn1 a state: running > paused"}, lines(r.Ended))
	require.Equal(t, at(1), *r.Ended[0].Until)

	r = report(2).After(r, time.Hour, 3)
	require.Empty(t, r.Drift)
	require.Len(t, r.Ended, 3)
	require.Equal(t, "a", r.Ended[2].Node, "the newest come first")
	require.Len(t, report(3, "a").After(r, time.Hour, 2).Ended, 2)
	require.Empty(t, report(62).After(r, time.Hour, 3).Ended)
	require.Len(t, report(61).After(r, time.Hour, 3).Ended, 2)
}

func TestUnknownIsNotOver(t *testing.T) {
	w := newWorld()
	exited(w)
	before := w.compute().After(drift.Report{}, time.Hour, 9)
	w.hosts[0] = fleet.HostState{Name: "hn1", Problem: "gone"}
	after := w.compute().After(before, time.Hour, 9)
	require.Equal(t, lines(before.Drift), lines(after.Drift))
	require.Empty(t, after.Ended)
	require.Equal(t, []string{"host hn1 is out of reach: gone"}, after.Unknown)
}
