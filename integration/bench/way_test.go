package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/docker/docker/client"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// The same pass over one SSH connection, against the bare calls over one of their own.
func BenchmarkPassOverSSH(b *testing.B) {
	server, err := lab.Host(1).StartSSH(b.Context())
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, lab.Host(1).StopSSH(context.Background())) })
	key, err := os.ReadFile(server.Key)
	require.NoError(b, err)
	signer, err := ssh.ParsePrivateKey(key)
	require.NoError(b, err)
	conn, err := ssh.Dial("tcp", server.Address, &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), //nolint:gosec // a lab's
	})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, conn.Close()) })
	dial := client.WithDialContext(func(ctx context.Context, _, _ string) (net.Conn, error) {
		return conn.DialContext(ctx, "unix", "/run/docker.sock")
	})
	way := fmt.Sprintf("endpoint: %q, ssh: {key: %q, knownHosts: %q}", server.Endpoint, server.Key, server.KnownHosts)
	passes100(b, "no-op pass over SSH", newSiteOver(b, way), openBareOver(b, &http.Transport{}, "tcp://docker", dial))
}

// The same pass over TLS with certificates on both sides, against the bare calls over such connections.
func BenchmarkPassOverTLS(b *testing.B) {
	h := lab.Host(1)
	files, err := h.MakeTLS(time.Hour)
	require.NoError(b, err)
	engine := func(ctx context.Context, args ...string) {
		require.NoError(b, h.StopEngine(ctx))
		require.NoError(b, h.StartEngine(ctx, args...))
	}
	engine(b.Context(), files.EngineArgs...)
	b.Cleanup(func() { engine(context.Background()) })
	cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	require.NoError(b, err)
	ca, err := os.ReadFile(files.CA)
	require.NoError(b, err)
	roots := x509.NewCertPool()
	require.True(b, roots.AppendCertsFromPEM(ca))
	transport := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots, MinVersion: tls.VersionTLS12}}
	way := fmt.Sprintf("endpoint: %q, tls: {ca: %q, cert: %q, key: %q}", h.Endpoint(), files.CA, files.Cert, files.Key)
	passes100(b, "no-op pass over TLS", newSiteOver(b, way), openBareOver(b, transport, h.Endpoint()))
}
