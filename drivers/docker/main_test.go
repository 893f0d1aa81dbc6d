package docker_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/integration/lab/image"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/fleet/conformance"
	"github.com/evenkeel/evenkeel/spec"
)

// The first host of the lab is left in peace; faults happen to the second one.
var lab *hosts.Lab

const testImage = "evenkeel-test/program:1"

var program = sync.OnceValues(func() (*image.Image, error) {
	binary, err := image.Compile(context.Background(), "./testdata/program")
	if err != nil {
		return nil, err
	}
	return image.New(testImage, binary, image.Config{})
})

func TestMain(m *testing.M) { os.Exit(runMain(m)) }

func runMain(m *testing.M) int {
	var err error
	if lab, err = hosts.New(context.Background(), 2); err != nil {
		fmt.Fprintln(os.Stderr, "starting the lab:", err)
		return 1
	}
	code := 1
	if err = load(); err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, "loading the test image:", err)
	}
	if err := lab.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "closing the lab:", err)
		return 1
	}
	return code
}

// load uses the driver itself, so that its way of loading is tested with all else.
func load() error {
	img, err := program()
	if err != nil {
		return err
	}
	for _, lh := range lab.Hosts() {
		var archive bytes.Buffer
		if _, err := img.WriteTo(&archive); err != nil {
			return err
		}
		h, err := docker.Open(specHost(lh), docker.Options{})
		if err != nil {
			return err
		}
		if err := h.LoadImage(context.Background(), &archive); err != nil {
			return err
		}
		if err := h.Close(); err != nil {
			return err
		}
	}
	return nil
}

func specHost(lh *hosts.Host) spec.Host {
	return spec.Host{Name: lh.Name(), Endpoint: lh.Endpoint(), Insecure: true}
}

// open opens one of the lab's hosts.
func open(t testing.TB, lh *hosts.Host, opts docker.Options) *docker.Host {
	t.Helper()
	h, err := docker.Open(specHost(lh), opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

func randomFleet() string {
	b := make([]byte, 4)
	_, _ = rand.Read(b)
	return "t" + hex.EncodeToString(b)
}

// node is a container for a fleet's first node, on no network.
func node(fleetName string, n int) fleet.Container {
	id := fleet.NodeID{Environment: "shop", Layer: "web", Node: n}
	return fleet.Container{
		NodeID: id, Generation: 1, Name: fleet.ContainerName(fleetName, id, 1), Image: testImage,
		Labels: map[string]string{
			fleet.LabelFleet: fleetName, fleet.LabelEnvironment: "shop", fleet.LabelLayer: "web",
			fleet.LabelNode: fmt.Sprint(n), fleet.LabelGeneration: "1", fleet.LabelSpec: "v1:abc",
		},
		Network: "none", StopGrace: time.Second,
	}
}

func create(t testing.TB, h *docker.Host, c fleet.Container) string {
	t.Helper()
	id, err := h.Create(context.Background(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Remove(context.Background(), id)) })
	return id
}

func start(t testing.TB, h *docker.Host, c fleet.Container) string {
	t.Helper()
	id := create(t, h, c)
	require.NoError(t, h.Start(context.Background(), id))
	return id
}

func exited(t *testing.T, h *docker.Host, id string) fleet.Instance {
	t.Helper()
	var in fleet.Instance
	require.Eventually(t, func() bool {
		var err error
		in, err = h.Inspect(t.Context(), id)
		return err == nil && in.State == fleet.StateExited
	}, 10*time.Second, 20*time.Millisecond)
	return in
}

// impose changes a container on a host of the lab behind the driver's back; f is nil where its engine speaks no TLS.
func impose(lh *hosts.Host, f *hosts.TLS) func(t *testing.T, id string) {
	return func(t *testing.T, id string) {
		t.Helper()
		var opts []client.Opt
		if f != nil {
			opts = append(opts, client.WithTLSClientConfig(f.CA, f.Cert, f.Key))
		}
		c := bare(t, lh, opts...)
		none := int64(-1)
		_, err := c.ContainerUpdate(t.Context(), id, container.UpdateConfig{Resources: container.Resources{
			MemorySwap: -1, PidsLimit: &none, CpusetCpus: "0",
		}})
		require.NoError(t, err)
	}
}

func TestConformance(t *testing.T) {
	h := open(t, lab.Host(1), docker.Options{})
	conformance.Run(t, func(*testing.T) conformance.Site {
		return conformance.Site{Engine: h, Fleet: randomFleet(), Image: testImage, Subnet: netip.MustParsePrefix("10.113.7.0/24"), Impose: impose(lab.Host(1), nil)}
	})
}
