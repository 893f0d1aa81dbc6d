package plan_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

const (
	gi = spec.Bytes(1 << 30)
	mi = spec.Bytes(1 << 20)
)

// testSpec is a fleet of the hosts with the layers, each named env/layer.
func testSpec(hosts []string, layers ...spec.Layer) *spec.Spec {
	s := &spec.Spec{Fleet: spec.Fleet{
		Name: "production", Cloudlet: spec.Resources{Memory: 128 * mi, CPU: 200},
		Network:  spec.Network{Driver: spec.NetworkBridge, Pool: netip.MustParsePrefix("10.112.0.0/12")},
		Internal: spec.InternalDNS{Zone: "internal", TTL: time.Second}, SelfHeal: true, PruneMaxShare: 50,
	}}
	for i, h := range hosts {
		s.Fleet.Hosts = append(s.Fleet.Hosts, spec.Host{
			Name: h, Endpoint: fmt.Sprintf("tcp://10.0.0.%d:2375", 11+i), Address: fmt.Sprintf("10.0.0.%d", 11+i), State: spec.HostActive,
		})
	}
	if layers != nil {
		s.Environments = []spec.Environment{{Name: "shop", Layers: layers}}
	}
	return s
}

// testLayer is a layer as it comes out of the loader; change edits it before it is hashed.
func testLayer(name string, replicas int, change ...func(*spec.Layer)) spec.Layer {
	l := spec.Layer{
		Name: name, Image: "registry.example.com/shop/" + name + ":1", Pull: spec.PullMissing, Replicas: replicas,
		Reserved:  spec.Resources{Memory: 128 * mi, CPU: 200},
		Placement: spec.Placement{AntiAffinity: spec.AntiAffinityPreferred},
		Env:       map[string]string{"LEVEL": "info"},
		Stop:      spec.Stop{Grace: 10 * time.Second},
		Update: spec.UpdatePolicy{
			Strategy: spec.Sequential, Delay: 30 * time.Second, RemoveFromDNS: true, MaxUnavailable: 1,
			DrainTimeout: 30 * time.Second, HealthTimeout: 5 * time.Minute, MinHealthy: 5 * time.Second, FailureAction: spec.FailurePause,
		},
	}
	for _, f := range change {
		f(&l)
	}
	rehash(&l)
	return l
}

// rehash stands in for the loader's canonical form.
func rehash(l *spec.Layer) {
	written, err := json.Marshal(map[string]any{"image": l.Image, "env": l.Env, "redeploy": l.Redeploy, "volumes": l.Volumes})
	if err != nil {
		panic(err)
	}
	l.Written = string(written)
	l.Hash = fmt.Sprintf("v1:%x", written)
	l.LayerHash = fmt.Sprintf("%s:%d:%s:%v", l.Hash, l.Replicas, l.Restart, l.Update)
}

// images resolves every image that is asked for to a digest that follows from its name.
func resolved(in plan.Input) map[string]plan.Image {
	m := map[string]plan.Image{}
	for _, r := range plan.Unresolved(in) {
		m[r.Image] = plan.Image{Digest: digestOf(r.Image)}
	}
	return m
}

func digestOf(image string) string {
	return fmt.Sprintf("%s@sha256:%x", image[:len(image)-2], image)
}

func input(s *spec.Spec, o fleet.Observed) plan.Input {
	in := plan.Input{Revision: "r1", Desired: s, Observed: o, KeeperVersion: 3}
	in.Images = resolved(in)
	return in
}
