package spec_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/evenkeel/evenkeel/schema"
	"github.com/evenkeel/evenkeel/spec"
)

func load(t require.TestingT, fleet, environment string) *spec.Spec {
	s, err := spec.Load(fstest.MapFS{
		"fleet.yaml": {Data: []byte(fleet)},
		"shop.yaml":  {Data: []byte(environment)},
	})
	require.NoError(t, err)
	return s
}

const minimal = `apiVersion: evenkeel.dev/v1
kind: Environment
metadata: {name: shop}
spec:
  layers:
    - {name: web, image: nginx}
`

func TestDefaults(t *testing.T) {
	s := load(t, fleetYAML, minimal)
	require.Equal(t, spec.Fleet{
		Name:     "production",
		Cloudlet: spec.Resources{Memory: 128 << 20, CPU: 200},
		Hosts: []spec.Host{{
			Name: "hn1", Endpoint: "unix:///var/run/docker.sock", Address: "127.0.0.1", State: spec.HostActive,
			PublicAddresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
			Reserve:         spec.Resources{Memory: 512 << 20, CPU: 200},
		}},
		Network:       spec.Network{Driver: spec.NetworkBridge, Pool: netip.MustParsePrefix("10.112.0.0/12")},
		Internal:      spec.InternalDNS{Zone: "internal", TTL: time.Second},
		SelfHeal:      true,
		PruneMaxShare: 50,
	}, s.Fleet)
	require.Len(t, s.Environments, 1)
	require.Equal(t, "shop.yaml:1", s.Environments[0].Source)
	layer := s.Environments[0].Layers[0]
	require.Equal(t, `{"image":"nginx"}`, layer.Written)
	layer.Written, layer.Hash, layer.LayerHash = "", "", ""
	require.Equal(t, spec.Layer{
		Name: "web", Image: "nginx", Pull: spec.PullMissing, Replicas: 1,
		Reserved:  spec.Resources{Memory: 128 << 20, CPU: 200},
		Placement: spec.Placement{AntiAffinity: spec.AntiAffinityPreferred},
		Stop:      spec.Stop{Grace: 10 * time.Second},
		Update: spec.UpdatePolicy{
			Strategy: spec.Simultaneous, Delay: 30 * time.Second, RemoveFromDNS: true, MaxUnavailable: 1,
			DrainTimeout: 30 * time.Second, HealthTimeout: 5 * time.Minute, MinHealthy: 5 * time.Second,
			FailureAction: spec.FailurePause,
		},
	}, layer)
}

func TestExternalNames(t *testing.T) {
	s, err := spec.Load(os.DirFS("testdata/full"))
	require.NoError(t, err)
	require.Equal(t, []spec.ExternalZone{
		{Name: "corp", Provider: "rfc2136", Zone: "corp.example", TTL: time.Minute, Server: "192.0.2.2:53",
			TSIG: spec.TSIG{Name: "evenkeel", Algorithm: "hmac-sha256", Secret: spec.From{File: "tsig"}}},
		{Name: "eu", Provider: "cloudflare", Zone: "eu.example.com", TTL: time.Minute, Token: spec.From{File: "cloudflare/token"}, BaseURL: "https://api.example.com/v4"},
		{Name: "lab", Provider: "rfc2136", Zone: "lab.example", TTL: time.Minute, Server: "[2001:db8::2]:5353",
			TSIG: spec.TSIG{Name: "evenkeel", Algorithm: "hmac-sha512", Secret: spec.From{Env: "TSIG"}}},
		{Name: "public", Provider: "cloudflare", Zone: "example.com", TTL: 2 * time.Minute, Token: spec.From{Env: "CLOUDFLARE_API_TOKEN"}},
	}, s.Fleet.External)
	require.Equal(t, []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::7")}, s.Fleet.Host("hn1").PublicAddresses)
	require.Equal(t, []netip.Addr{netip.MustParseAddr("192.0.2.12")}, s.Fleet.Host("hn2").PublicAddresses, "the host's own where nothing is written")
	require.Empty(t, s.Fleet.Host("hn5").PublicAddresses)
	require.Equal(t, []spec.ExternalName{
		{Name: "_feed._tcp.eu.example.com", Type: spec.RecordSRV, Layer: "feed", Zone: "eu", Port: "feed"},
		{Name: "shop.eu.example.com", Type: spec.RecordA, Layer: "web", Zone: "public"},
		{Name: "shop.example.com", Type: spec.RecordA, Layer: "web", Zone: "public", Proxied: true},
	}, s.Environment("shop").DNS)
}

func TestDefaultsOfParts(t *testing.T) {
	s := load(t, fleetYAML, minimal[:len(minimal)-len("    - {name: web, image: nginx}\n")]+`
    - name: web
      image: nginx
      replicas: 2
      ports: [{name: http, port: 80}]
      volumes: [{name: data, path: /data}]
      files: [{path: /a, content: x}]
      healthCheck: {http: {port: http}}
`)
	l := s.Environments[0].Layers[0]
	require.Equal(t, spec.Sequential, l.Update.Strategy, "several replicas are changed one by one")
	require.Equal(t, []spec.Port{{Name: "http", Port: 80, Protocol: spec.TCP}}, l.Ports)
	require.Equal(t, []spec.Volume{{Name: "data", Path: "/data", OnRemove: spec.OnRemoveKeep}}, l.Volumes)
	require.Equal(t, []spec.File{{Path: "/a", Mode: 0o644, Content: []byte("x")}}, l.Files)
	require.Equal(t, &spec.HealthCheck{
		HTTP: &spec.HTTPCheck{Port: "http", Path: "/"}, Interval: 5 * time.Second, Timeout: 2 * time.Second,
		Retries: 3, StartPeriod: 10 * time.Second,
	}, l.HealthCheck)
}

func TestResources(t *testing.T) {
	const mi = 1 << 20
	for _, tc := range []struct {
		name, written                string
		reserved, limit, reservation spec.Resources
	}{
		{"nothing", "", spec.Resources{Memory: 128 * mi, CPU: 200}, spec.Resources{}, spec.Resources{}},
		{"cloudlets", "cloudlets: {reserved: 2, limit: 8}", spec.Resources{Memory: 256 * mi, CPU: 400},
			spec.Resources{Memory: 1024 * mi, CPU: 1600}, spec.Resources{Memory: 256 * mi, CPU: 400}},
		{"a limit of cloudlets", "cloudlets: {limit: 8}", spec.Resources{Memory: 128 * mi, CPU: 200},
			spec.Resources{Memory: 1024 * mi, CPU: 1600}, spec.Resources{}},
		{"memory", "resources: {memory: 1Gi}", spec.Resources{Memory: 1024 * mi, CPU: 200},
			spec.Resources{Memory: 1024 * mi}, spec.Resources{}},
		{"memory, reservation and CPU", "resources: {memory: 1Gi, memoryReservation: 64Mi, cpu: 1.5}", spec.Resources{Memory: 64 * mi, CPU: 1500},
			spec.Resources{Memory: 1024 * mi, CPU: 1500}, spec.Resources{Memory: 64 * mi}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := loadLayer(t, "image: nginx\n"+tc.written)
			require.Equal(t, tc.reserved, l.Reserved, "reserved")
			require.Equal(t, tc.limit, l.Limit, "limit")
			require.Equal(t, tc.reservation, l.Reservation, "reservation")
		})
	}
}

// TestNothingIsIgnored removes each key of documents that have all of them, and sees that it made a
// difference.
func TestNothingIsIgnored(t *testing.T) {
	whole, err := spec.Load(os.DirFS("testdata/full"))
	require.NoError(t, err)
	require.Empty(t, whole.Warnings)
	for _, name := range []string{"fleet.yaml", "shop.yaml"} {
		data, err := os.ReadFile("testdata/full/" + name)
		require.NoError(t, err)
		var doc any
		require.NoError(t, yaml.Unmarshal(data, &doc))
		for _, path := range keyPaths(doc, nil) {
			t.Run(name+fmt.Sprint(path), func(t *testing.T) {
				without, err := yaml.Marshal(removed(doc, path))
				require.NoError(t, err)
				changed, err := spec.Load(overlay{os.DirFS("testdata/full"), name, without})
				if err == nil {
					require.NotEqual(t, plain(whole), plain(changed))
				}
			})
		}
	}
}

// plain leaves out the hashes, which change by themselves.
func plain(s *spec.Spec) spec.Spec {
	c := *s
	c.Warnings = nil
	c.Environments = slices.Clone(c.Environments)
	for i := range c.Environments {
		c.Environments[i].Layers = slices.Clone(c.Environments[i].Layers)
		for j := range c.Environments[i].Layers {
			l := &c.Environments[i].Layers[j]
			l.Written, l.Hash, l.LayerHash = "", "", ""
		}
	}
	return c
}

// TestFullDocumentsHaveAllKeys keeps the documents of the test above up with the schemas.
func TestFullDocumentsHaveAllKeys(t *testing.T) {
	for name, kind := range map[string]string{"fleet.yaml": "fleet", "shop.yaml": "environment"} {
		data, err := os.ReadFile("testdata/full/" + name)
		require.NoError(t, err)
		var doc any
		require.NoError(t, yaml.Unmarshal(data, &doc))
		have := map[string]bool{}
		for _, path := range keyPaths(doc, nil) {
			have[fmt.Sprint(path[len(path)-1])] = true
		}
		raw, err := schema.JSON(kind)
		require.NoError(t, err)
		var parsed any
		require.NoError(t, json.Unmarshal(raw, &parsed))
		for _, key := range properties(parsed) {
			require.True(t, have[key], "%s has no %s", name, key)
		}
	}
}

// properties lists the keys that a schema knows.
func properties(v any) []string {
	var keys []string
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			if m, ok := inner.(map[string]any); ok && key == "properties" {
				for name := range m {
					keys = append(keys, name)
				}
			}
			keys = append(keys, properties(inner)...)
		}
	case []any:
		for _, inner := range v {
			keys = append(keys, properties(inner)...)
		}
	}
	return keys
}

// keyPaths lists the way to each key.
func keyPaths(v any, to []any) [][]any {
	var paths [][]any
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			path := append(slices.Clone(to), key)
			paths = append(append(paths, path), keyPaths(inner, path)...)
		}
	case []any:
		for i, inner := range v {
			paths = append(paths, keyPaths(inner, append(slices.Clone(to), i))...)
		}
	}
	return paths
}

// removed is a copy of a value without the key at the end of a path.
func removed(v any, path []any) any {
	switch v := v.(type) {
	case map[string]any:
		c := map[string]any{}
		for key, inner := range v {
			if key != path[0] {
				c[key] = inner
			} else if len(path) > 1 {
				c[key] = removed(inner, path[1:])
			}
		}
		return c
	case []any:
		c := slices.Clone(v)
		i := path[0].(int)
		c[i] = removed(v[i], path[1:])
		return c
	}
	return v
}

// overlay is a file system with one file replaced.
type overlay struct {
	fs.FS
	name string
	data []byte
}

func (o overlay) Open(name string) (fs.File, error) {
	if name == o.name {
		return fstest.MapFS{name: {Data: o.data}}.Open(name)
	}
	return o.FS.Open(name)
}
