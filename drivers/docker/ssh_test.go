package docker_test

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/fleet/conformance"
	"github.com/evenkeel/evenkeel/spec"
)

// startSSH starts a lab host's SSH server for the test.
func startSSH(t *testing.T, lh *hosts.Host, settings ...string) *hosts.SSH {
	t.Helper()
	s, err := lh.StartSSH(t.Context(), settings...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lh.StopSSH(context.Background())) })
	return s
}

func overSSH(lh *hosts.Host, s *hosts.SSH) spec.Host {
	return spec.Host{Name: lh.Name(), Endpoint: s.Endpoint, SSH: spec.SSH{Key: s.Key, KnownHosts: s.KnownHosts}}
}

func openSpec(t *testing.T, s spec.Host, opts docker.Options) *docker.Host {
	t.Helper()
	h, err := docker.Open(s, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

func TestConformanceOverSSH(t *testing.T) {
	h := openSpec(t, overSSH(lab.Host(1), startSSH(t, lab.Host(1))), docker.Options{})
	conformance.Run(t, func(*testing.T) conformance.Site {
		return conformance.Site{Engine: h, Fleet: randomFleet(), Image: testImage, Subnet: netip.MustParsePrefix("10.113.8.0/24"), Impose: impose(lab.Host(1), nil)}
	})
}

// logins counts connections to an address by standing in between.
func logins(t *testing.T, address string) (string, *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	var n atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			up, err := net.Dial("tcp", address)
			if err != nil {
				c.Close()
				continue
			}
			go func() { defer c.Close(); _, _ = up.(*net.TCPConn).ReadFrom(c) }()
			go func() { defer up.Close(); _, _ = c.(*net.TCPConn).ReadFrom(up) }()
		}
	}()
	return l.Addr().String(), &n
}

func TestManyCallsOverOneSSHConnection(t *testing.T) {
	lh := lab.Host(1)
	s := startSSH(t, lh, "MaxSessions 2", "MaxStartups 2:100:2")
	via, n := logins(t, s.Address)
	known, err := os.ReadFile(s.KnownHosts)
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(via)
	require.NoError(t, err)
	at := overSSH(lh, s)
	at.Endpoint = "ssh://root@" + via + "/run/docker.sock"
	at.SSH.KnownHosts = filepath.Join(t.TempDir(), "known_hosts")
	line := append([]byte("[127.0.0.1]:"+port), known[len(lh.Address().String()):]...)
	require.NoError(t, os.WriteFile(at.SSH.KnownHosts, line, 0o600))
	h := openSpec(t, at, docker.Options{})
	errs := make(chan error, 50)
	for range cap(errs) {
		go func() {
			_, err := h.Image(t.Context(), testImage)
			errs <- err
		}()
	}
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
	require.EqualValues(t, 1, n.Load())
}

func TestSSHServersThatAreRefusedOrRefuse(t *testing.T) {
	lh := lab.Host(1)
	s := startSSH(t, lh)
	dir := t.TempDir()
	stranger := filepath.Join(dir, "stranger")
	public := writeKey(t, stranger)
	changed := filepath.Join(dir, "changed")
	require.NoError(t, os.WriteFile(changed, append([]byte(lh.Address().String()+" "), ssh.MarshalAuthorizedKey(public)...), 0o600))
	locked := filepath.Join(dir, "locked")
	writeLockedKey(t, locked)
	tests := []struct {
		name   string
		change func(*spec.Host)
		want   []string
	}{
		{"unknown host key", func(h *spec.Host) { h.SSH.KnownHosts = filepath.Join(dir, "none") },
			[]string{"is in none of " + dir, "the server shows ssh-ed25519 SHA256:", "ssh-keyscan " + lh.Address().String() + " >> " + dir}},
		{"changed host key", func(h *spec.Host) { h.SSH.KnownHosts = changed },
			[]string{"is another than the one in " + changed, "Somebody may be in between", "ssh-keygen -R " + lh.Address().String() + " -f " + changed}},
		{"our key isn't authorized", func(h *spec.Host) { h.SSH.Key = stranger },
			[]string{"refused the user root with every key that was offered (" + stranger + ")", "authorized_keys"}},
		{"our key is locked", func(h *spec.Host) { h.SSH.Key = locked }, []string{"protected by a passphrase", "ssh-add " + locked}},
		{"our key is missing", func(h *spec.Host) { h.SSH.Key = filepath.Join(dir, "none") }, []string{"ssh.key: open " + dir}},
		{"no such socket", func(h *spec.Host) { h.Endpoint = "ssh://root@" + lh.Address().String() + "/run/none.sock" },
			[]string{"root can't open /run/none.sock", "is the user in the group docker"}},
		{"nobody listens", func(h *spec.Host) { h.Endpoint = "ssh://root@" + lh.Address().String() + ":23" }, []string{"connection refused"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at := overSSH(lh, s)
			tt.change(&at)
			h := openSpec(t, at, docker.Options{})
			_, err := h.Image(t.Context(), testImage)
			require.ErrorIs(t, err, fleet.ErrUnreachable)
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
			require.NotContains(t, err.Error(), "error during connect")
		})
	}
}

func TestSSHServerThatForwardsNothing(t *testing.T) {
	lh := lab.Host(1)
	h := openSpec(t, overSSH(lh, startSSH(t, lh, "AllowStreamLocalForwarding no")), docker.Options{})
	_, err := h.Image(t.Context(), testImage)
	require.ErrorContains(t, err, "does sshd_config allow AllowStreamLocalForwarding?")
}

func TestRefusedSSHIsNotTriedAgainAtOnce(t *testing.T) {
	lh := lab.Host(1)
	s := startSSH(t, lh)
	via, n := logins(t, s.Address)
	at := overSSH(lh, s)
	at.Endpoint = "ssh://root@" + via + "/run/docker.sock"
	h := openSpec(t, at, docker.Options{})
	for range 5 {
		_, err := h.Image(t.Context(), testImage)
		require.ErrorContains(t, err, "is in none of")
	}
	require.EqualValues(t, 1, n.Load())
}

func TestSSHConnectionIsMadeAgain(t *testing.T) {
	lh := lab.Host(2)
	s := startSSH(t, lh)
	h := openSpec(t, overSSH(lh, s), docker.Options{})
	_, err := h.Image(t.Context(), testImage)
	require.NoError(t, err)
	require.NoError(t, lh.StopSSH(t.Context()))
	require.Eventually(t, func() bool {
		_, err := h.Image(t.Context(), testImage)
		return err != nil
	}, 10*time.Second, 20*time.Millisecond)
	startSSH(t, lh)
	require.Eventually(t, func() bool {
		_, err := h.Image(t.Context(), testImage)
		return err == nil
	}, 10*time.Second, 20*time.Millisecond)
}

func TestEveryCallEndsOnAnSSHServerThatHangs(t *testing.T) {
	lh := lab.Host(2)
	h := openSpec(t, overSSH(lh, startSSH(t, lh)), docker.Options{Timeout: 300 * time.Millisecond})
	id := start(t, open(t, lh, docker.Options{}), node(randomFleet(), 1))
	conn, err := h.Exec(t.Context(), id, []string{"/program", "h2"})
	require.NoError(t, err)
	require.NoError(t, lh.HangSSH(t.Context()))
	t.Cleanup(func() { _ = lh.ResumeSSH(context.Background()) })
	for name, err := range each(t, h, id) {
		require.ErrorIs(t, err, fleet.ErrUnreachable, name)
	}
	require.NoError(t, conn.SetDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err)
	_ = conn.Close()
	fresh := openSpec(t, overSSH(lh, &hosts.SSH{Endpoint: "ssh://root@" + lh.Address().String() + "/run/docker.sock",
		Key: filepath.Join(t.TempDir(), "k")}), docker.Options{Timeout: 300 * time.Millisecond})
	_, err = fresh.Image(t.Context(), testImage)
	require.ErrorIs(t, err, fleet.ErrUnreachable)
	require.NoError(t, lh.ResumeSSH(context.Background()))
	require.Eventually(t, func() bool { return h.Observe(t.Context(), "any").Reachable }, 15*time.Second, 50*time.Millisecond)
}

func TestSSHFilesAreReadForEachConnection(t *testing.T) {
	lh := lab.Host(2)
	s := startSSH(t, lh)
	at := overSSH(lh, s)
	dir := t.TempDir()
	key, err := os.ReadFile(s.Key)
	require.NoError(t, err)
	at.SSH.Key = "key" // of the credentials directory
	h := openSpec(t, at, docker.Options{CredentialsDir: dir})
	_, err = h.Image(t.Context(), testImage)
	require.ErrorContains(t, err, "ssh.key: open "+dir)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key"), key, 0o600))
	_, err = h.Image(t.Context(), testImage)
	require.NoError(t, err)
	_, err = docker.Open(at, docker.Options{})
	require.ErrorContains(t, err, "--credentials-dir")
}

func writeKey(t *testing.T, path string) ssh.PublicKey {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	key, err := ssh.NewPublicKey(public)
	require.NoError(t, err)
	return key
}

func writeLockedKey(t *testing.T, path string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("secret"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
}
