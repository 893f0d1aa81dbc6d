package docker_test

import (
	"context"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/fleet/conformance"
	"github.com/evenkeel/evenkeel/spec"
)

// startTLS has the second host's engine speak TLS for the test.
func startTLS(t *testing.T, valid time.Duration) (*hosts.Host, *hosts.TLS) {
	t.Helper()
	lh := lab.Host(2)
	files, err := lh.MakeTLS(valid)
	require.NoError(t, err)
	restart(t, lh, files.EngineArgs...)
	t.Cleanup(func() { restart(t, lh) })
	return lh, files
}

func restart(t *testing.T, lh *hosts.Host, args ...string) {
	t.Helper()
	require.NoError(t, lh.StopEngine(context.Background()))
	require.NoError(t, lh.StartEngine(context.Background(), args...))
}

func overTLS(lh *hosts.Host, f *hosts.TLS) spec.Host {
	return spec.Host{Name: lh.Name(), Endpoint: lh.Endpoint(), TLS: spec.TLS{CA: f.CA, Cert: f.Cert, Key: f.Key}}
}

func TestConformanceOverTLS(t *testing.T) {
	lh, files := startTLS(t, time.Hour)
	h := openSpec(t, overTLS(lh, files), docker.Options{})
	conformance.Run(t, func(*testing.T) conformance.Site {
		return conformance.Site{Engine: h, Fleet: randomFleet(), Image: testImage, Subnet: netip.MustParsePrefix("10.113.9.0/24"), Impose: impose(lh, files)}
	})
}

func TestTLSThatIsRefused(t *testing.T) {
	lh, files := startTLS(t, time.Hour)
	dir := t.TempDir()
	for _, f := range []string{files.CA, files.Cert, files.Key, files.Expired, files.ExpiredKey} {
		copyFile(t, f, filepath.Join(dir, filepath.Base(f)))
	}
	first := spec.TLS{CA: "ca.pem", Cert: "client.pem", Key: "client-key.pem"}
	second, err := lh.MakeTLS(time.Hour) // of another authority: the engine still has the first
	require.NoError(t, err)
	tests := []struct {
		name string
		tls  spec.TLS
		at   string
		want string
	}{
		{"another authority", spec.TLS{CA: second.CA, Cert: "client.pem", Key: "client-key.pem"}, lh.Endpoint(), "the engine's certificate isn't signed by tls.ca (" + second.CA + ")"},
		{"our certificate isn't accepted", spec.TLS{CA: "ca.pem", Cert: second.Cert, Key: second.Key}, lh.Endpoint(), "the engine refused tls.cert (" + second.Cert + ")"},
		{"our certificate has expired", spec.TLS{CA: "ca.pem", Cert: "expired.pem", Key: "expired-key.pem"}, lh.Endpoint(), "expired.pem) expired at 20"},
		{"key of another certificate", spec.TLS{CA: "ca.pem", Cert: "client.pem", Key: second.Key}, lh.Endpoint(), "tls.cert, tls.key: tls: private key does not match"},
		{"no such file", spec.TLS{CA: "none.pem", Cert: "client.pem", Key: "client-key.pem"}, lh.Endpoint(), "tls.ca: open " + dir},
		{"no certificate in the file", spec.TLS{CA: "client-key.pem", Cert: "client.pem", Key: "client-key.pem"}, lh.Endpoint(), "holds no certificate in PEM"},
		{"the engine speaks no TLS", first, lab.Host(1).Endpoint(), "the engine speaks no TLS at this port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := openSpec(t, spec.Host{Name: "h2", Endpoint: tt.at, TLS: tt.tls}, docker.Options{CredentialsDir: dir})
			_, err := h.Image(t.Context(), testImage)
			require.ErrorIs(t, err, fleet.ErrUnreachable)
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "error during connect")
		})
	}
}

func TestRenewedCertificatesNeedNoRestart(t *testing.T) {
	lh, files := startTLS(t, time.Hour)
	h := openSpec(t, overTLS(lh, files), docker.Options{})
	_, err := h.Image(t.Context(), testImage)
	require.NoError(t, err)
	renewed, err := lh.MakeTLS(time.Hour) // into the same files
	require.NoError(t, err)
	restart(t, lh, renewed.EngineArgs...)
	require.Eventually(t, func() bool {
		_, err := h.Image(t.Context(), testImage)
		return err == nil
	}, 10*time.Second, 20*time.Millisecond)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.Create(to)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())
}
