package git_test

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/skeema/knownhosts"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/evenkeel/evenkeel/drivers/git"
)

// trusted is the certificate of the tests' HTTPS servers, which the program reads once.
func trust() (remove func(), err error) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	dir, err := os.MkdirTemp("", "git-test-")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	return func() { os.RemoveAll(dir) }, os.Setenv("SSL_CERT_FILE", path)
}

// httpsServer serves a bare repository with the real git http-backend.
type httpsServer struct {
	*httptest.Server
	valve    *valve
	mu       sync.Mutex
	requests int
	token    string                                        // that is asked for; empty: none
	fault    func(http.ResponseWriter, *http.Request) bool // true: it has answered
}

func serveHTTPS(t *testing.T, dir string) *httpsServer {
	t.Helper()
	path, err := exec.LookPath("git")
	require.NoError(t, err)
	backend := &cgi.Handler{Path: path, Args: []string{"http-backend"}, Env: []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1"}}
	s := &httpsServer{valve: &valve{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests++
		token, fault := s.token, s.fault
		s.mu.Unlock()
		if _, password, _ := r.BasicAuth(); password != token {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if fault == nil || !fault(w, r) {
			backend.ServeHTTP(w, r)
		}
	}))
	s.Listener = s.valve.on(s.Listener)
	s.StartTLS()
	t.Cleanup(func() { s.valve.open(); s.Close() })
	return s
}

// valve lets so much more through of what a server says, and then nothing for as long as it is shut.
type valve struct {
	mu   sync.Mutex
	left int           // bytes
	shut chan struct{} // closed when it is opened; nil: it is open
}

func (v *valve) shutAfter(bytes int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.left, v.shut = bytes, make(chan struct{})
}

func (v *valve) open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shut != nil {
		close(v.shut)
		v.shut = nil
	}
}

func (v *valve) on(l net.Listener) net.Listener { return valved{l, v} }

type valved struct {
	net.Listener
	valve *valve
}

func (l valved) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return valvedConn{c, l.valve}, nil
}

type valvedConn struct {
	net.Conn
	valve *valve
}

func (c valvedConn) Write(b []byte) (int, error) {
	c.valve.mu.Lock()
	shut, left := c.valve.shut, min(c.valve.left, len(b))
	c.valve.left -= left
	c.valve.mu.Unlock()
	if shut == nil || left == len(b) {
		return c.Conn.Write(b)
	}
	n, err := c.Conn.Write(b[:left])
	<-shut
	return n, errors.Join(err, net.ErrClosed)
}

func (s *httpsServer) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *httpsServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// sshServer lets one key in and runs the real git-upload-pack.
type sshServer struct {
	address    string
	key, known string // files for the client
	valve      *valve
}

func serveSSH(t *testing.T) sshServer {
	t.Helper()
	dir := t.TempDir()
	s := sshServer{key: filepath.Join(dir, "id"), known: filepath.Join(dir, "known_hosts"), valve: &valve{}}
	host, client := newKey(t, filepath.Join(dir, "host")), newKey(t, s.key)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.address = l.Addr().String()
	l = s.valve.on(l)
	line := knownhosts.Line([]string{s.address}, host.PublicKey()) + "\n"
	require.NoError(t, os.WriteFile(s.known, []byte(line), 0o600))
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(client.PublicKey().Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	var connections sync.WaitGroup
	connections.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Go(func() { serveConn(c, config) })
		}
	})
	t.Cleanup(func() { s.valve.open(); l.Close(); connections.Wait() })
	return s
}

func serveConn(c net.Conn, config *ssh.ServerConfig) {
	defer c.Close()
	conn, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	defer conn.Close()
	go ssh.DiscardRequests(requests)
	for ch := range channels {
		channel, requests, err := ch.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			if r.Type != "exec" {
				_ = r.Reply(r.Type == "env", nil)
				continue
			}
			_ = r.Reply(true, nil)
			runGit(channel, string(r.Payload[4:]))
			channel.Close()
		}
	}
}

// runGit runs git-upload-pack 'PATH'.
func runGit(channel ssh.Channel, command string) {
	program, path, _ := strings.Cut(command, " ")
	cmd := exec.Command("git", strings.TrimPrefix(program, "git-"), strings.Trim(path, "'"))
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	in, err := cmd.StdinPipe()
	if err != nil || cmd.Start() != nil {
		return
	}
	go func() { _, _ = io.Copy(in, channel); in.Close() }()
	status := uint32(0)
	if cmd.Wait() != nil {
		status = 128
	}
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
}

func newKey(t *testing.T, path string) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	return signer
}

// served is a bare repository behind both kinds of servers, and a clone that pushes to it.
type served struct {
	*repo
	bare  *repo
	https *httpsServer
	ssh   sshServer
}

func newServed(t *testing.T) served {
	t.Helper()
	bare, clone := newBare(t)
	return served{repo: clone, bare: bare, https: serveHTTPS(t, filepath.Dir(bare.dir)), ssh: serveSSH(t)}
}

// push publishes what was written.
func (s served) push(args ...string) {
	s.t.Helper()
	s.git(append([]string{"push", "-q", "origin"}, args...)...)
}

func (s served) overHTTPS(t *testing.T) git.Options {
	return git.Options{Repo: s.https.URL + "/fleet", CacheDir: t.TempDir()}
}

func (s served) overSSH(t *testing.T) git.Options {
	return git.Options{Repo: "ssh://git@" + s.ssh.address + s.bare.dir, CacheDir: t.TempDir(), Access: git.Access{SSHKey: s.ssh.key, KnownHosts: s.ssh.known}}
}

// publish commits and pushes all.
func (s served) publish() {
	s.git("add", "-A")
	s.git("commit", "-q", "--allow-empty", "-m", "x")
	s.push("main")
}
