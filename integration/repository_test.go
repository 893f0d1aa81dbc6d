package integration

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler"
)

// published is a site whose repository is read from a server, over a relay.
type published struct {
	*site
	bare  string
	relay *relay
	args  []string        // with which evenkeel reads it
	polls func() int64    // how often the server was asked for its refs
	lock  func() []string // takes away what it is let in with, and returns what is said then
	let   func()          // gives it back
}

// newPublished makes a site and the bare repository that is served, below a folder that lab hosts see too.
func newPublished(t *testing.T, host int) *published {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "evenkeel-") //nolint:usetesting // hosts of the lab have a /tmp of their own
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	p := &published{site: newSite(t, lab.Host(host)), bare: filepath.Join(dir, "fleet.git")}
	p.env = []string{"XDG_CACHE_HOME=" + filepath.Join(dir, "cache"), "HOME=" + dir}
	p.git("init", "-q", "--bare", "-b", "main", p.bare)
	p.git("remote", "add", "origin", p.bare)
	p.publish(1)
	return p
}

// publish commits and pushes a version, with a file that makes its transfer a long one.
func (p *published) publish(version int) {
	p.t.Helper()
	noise := make([]byte, 1<<19)
	_, err := rand.Read(noise)
	require.NoError(p.t, err)
	p.write("noise.txt", hex.EncodeToString(noise))
	p.environment("shop", fmt.Sprintf(oneWeb, version))
	p.push()
}

func (p *published) push(args ...string) {
	p.git(append([]string{"push", "-q", "origin", "main"}, args...)...)
}

// longTransfer is less than what a published version takes, and more than all that goes before it.
const longTransfer = 200_000

// TestRepositoriesElsewhere has a fleet live from a repository on a server: it is polled without being fetched, and
// whatever happens to the server, the last good revision stays in force until the next one can be read.
func TestRepositoriesElsewhere(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]func(*testing.T) *published{"https": overHTTPS, "ssh": overSSH} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := at(t)
			l := p.run(append(p.args, "--interval", "1s")...)
			l.converged()
			p.isOnlyPolled()
			p.outlivesFaults(l)
			p.isForcePushed(l)
			p.isMadeAnew(l)
			p.isLockedOut(l)
		})
	}
}

// isOnlyPolled: as long as nothing is pushed nothing is transferred.
func (p *published) isOnlyPolled() {
	p.t.Helper()
	polls, before := p.polls(), p.relay.carried.Load()
	eventually(p.t, patience, func() error { return unless(p.polls() >= polls+3, "it isn't polled") })
	require.Less(p.t, p.relay.carried.Load()-before, int64(longTransfer))
}

// outlivesFaults pushes a version while the server can't be read, heals meanwhile, and goes on when it can.
func (p *published) outlivesFaults(l *loop) {
	p.t.Helper()
	for i, fault := range []struct {
		name  string
		begin func()
		says  string
	}{
		{"down", p.relay.down, "connection refused"},
		{"silent in the handshake", p.relay.silent, "took too long"},
		{"cut in the transfer", func() { p.relay.cut(longTransfer) }, "fetching from it failed"},
	} {
		good := p.head()
		fault.begin()
		p.publish(i + 2)
		st := l.until(2*patience, func(st reconciler.Status) error {
			return unless(strings.Contains(st.Refused, fault.says), "it isn't said that the server is "+fault.name+": "+st.Refused)
		})
		require.Equal(p.t, good, st.Revision, fault.name)
		require.Contains(p.t, st.Refused, p.relay.address, "where")
		eventually(p.t, patience, func() error { return unless(strings.Contains(l.stderr.String(), fault.says), "it isn't told") })
		if i == 0 {
			victim := p.node(p.hosts[0], "web", 1)
			byHand(p.t, p.hosts[0], "kill", victim.ID)
			l.servesAnew(victim)
			code, body := l.get("/readyz")
			require.Equal(p.t, http.StatusOK, code, "%s", body)
		}
		p.relay.well()
		require.Empty(p.t, l.converged().Refused, fault.name)
		require.Contains(p.t, l.stderr.String(), "can be read again", fault.name)
	}
}

// isForcePushed: what the branch says counts, and it is said.
func (p *published) isForcePushed(l *loop) {
	p.t.Helper()
	p.write("shop.yaml", strings.Replace(p.read("shop.yaml"), "VERSION: \"4\"", "VERSION: \"forced\"", 1))
	p.git("commit", "-q", "-a", "--amend", "-m", "another")
	p.push("-f")
	l.converged()
	require.Contains(p.t, l.stderr.String(), "the branch was force-pushed")
}

// isMadeAnew: a local clone that broke isn't in the way.
func (p *published) isMadeAnew(l *loop) {
	p.t.Helper()
	packs, err := filepath.Glob(filepath.Join(filepath.Dir(p.bare), "cache/evenkeel/*/*/objects/pack/*"))
	require.NoError(p.t, err)
	require.NotEmpty(p.t, packs)
	for _, pack := range packs {
		require.NoError(p.t, os.Chmod(pack, 0o600))
		require.NoError(p.t, os.Truncate(pack, 10))
	}
	p.publish(5)
	l.converged()
	require.Contains(p.t, l.stderr.String(), "made anew")
}

// isLockedOut: credentials are read for each look, and one that is refused says what to do.
func (p *published) isLockedOut(l *loop) {
	p.t.Helper()
	good := p.head()
	says := p.lock()
	p.publish(6)
	st := l.until(patience, func(st reconciler.Status) error {
		for _, text := range says {
			if !strings.Contains(st.Refused, text) {
				return fmt.Errorf("it doesn't say %q: %s", text, st.Refused)
			}
		}
		return nil
	})
	require.Equal(p.t, good, st.Revision)
	o := p.evenkeel(append([]string{"plan"}, p.args...)...)
	require.Equal(p.t, 1, o.code, "%s", o)
	for _, text := range says {
		require.Contains(p.t, o.stderr, text)
	}
	p.let()
	l.converged()
}

// overHTTPS serves the repository with the real git http-backend, for one user.
func overHTTPS(t *testing.T) *published {
	p := newPublished(t, 1)
	path, err := exec.LookPath("git")
	require.NoError(t, err)
	backend := &cgi.Handler{
		Path: path, Args: []string{"http-backend"}, Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(p.bare), "GIT_HTTP_EXPORT_ALL=1"},
		Logger: log.New(io.Discard, "", 0), Stderr: io.Discard, // connections that are cut
	}
	var asked atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "robot" || password != secret {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if strings.HasSuffix(r.URL.Path, "/info/refs") {
			asked.Add(1)
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	token, authority := filepath.Join(dir, "token"), filepath.Join(dir, "ca.pem")
	give := func(text string) { require.NoError(t, os.WriteFile(token, []byte(text+"\n"), 0o600)) }
	give(secret)
	require.NoError(t, os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	p.env = append(p.env, "SSL_CERT_FILE="+authority)
	p.relay = startRelay(t, server.Listener.Addr().String())
	p.args = []string{"--repo", "https://" + p.relay.address + "/fleet.git", "--git-username", "robot", "--git-token-file", token}
	p.polls = asked.Load
	p.lock = func() []string {
		give("old")
		return []string{"can't be read with these credentials", "--git-token-file"}
	}
	p.let = func() { give(secret) }
	return p
}

// overSSH serves it with a real sshd, that of a lab host.
func overSSH(t *testing.T) *published {
	p := newPublished(t, 2)
	s, err := lab.Host(2).StartSSH(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lab.Host(2).StopSSH(context.Background())) })
	p.relay = startRelay(t, s.Address)
	file := filepath.Join(t.TempDir(), "known_hosts")
	give := func(key string) { require.NoError(t, os.WriteFile(file, []byte(p.relay.knownHost(key)), 0o600)) }
	give(hostKey(t, s))
	p.args = []string{"--repo", "ssh://root@" + p.relay.address + p.bare, "--git-ssh-key", s.Key, "--git-known-hosts", file}
	p.polls = p.relay.accepted.Load
	p.lock = func() []string {
		give(otherKey(t))
		host, port, _ := strings.Cut(p.relay.address, ":")
		return []string{"is another than the one in " + file, "Somebody may be in between", "ssh-keygen -R '[" + host + "]:" + port + "' -f " + file}
	}
	p.let = func() { give(hostKey(t, s)) }
	return p
}

// TestAnUnknownGitServer is refused, with the way out.
func TestAnUnknownGitServer(t *testing.T) {
	t.Parallel()
	p := newPublished(t, 3)
	s, err := lab.Host(3).StartSSH(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lab.Host(3).StopSSH(context.Background())) })
	none := filepath.Join(t.TempDir(), "known_hosts")
	args := []string{"--repo", "root@" + lab.Host(3).Address().String() + ":" + p.bare, "--git-ssh-key", s.Key, "--git-known-hosts", none}
	o := p.evenkeel(append([]string{"plan"}, args...)...)
	require.Equal(t, 1, o.code, "%s", o)
	scan := "ssh-keyscan " + lab.Host(3).Address().String() + " >> " + none
	requireSays(t, o, "is in none of "+none, "the server shows ssh-ed25519 SHA256:", scan)
	require.NoError(t, exec.Command("sh", "-c", scan+" 2>/dev/null").Run())
	o = p.evenkeel(append([]string{"plan"}, args...)...)
	require.Equal(t, 0, o.code, "what was said helps: %s", o)
}

// TestARepositoryByItsFileAddress is read where it is; one that is gone for a while changes nothing.
func TestARepositoryByItsFileAddress(t *testing.T) {
	t.Parallel()
	p := newPublished(t, 3)
	l := p.run("--repo", "file://"+p.bare, "--interval", "1s")
	good := l.converged().Revision
	require.NoError(t, os.Rename(p.bare, p.bare+".away"))
	st := l.until(patience, func(st reconciler.Status) error { return unless(st.Refused != "", "it isn't missed") })
	require.Equal(t, good, st.Revision)
	require.Contains(t, st.Refused, p.bare)
	require.NoError(t, os.Rename(p.bare+".away", p.bare))
	p.publish(2)
	l.converged()
	p.git("commit", "-q", "--amend", "-m", "another")
	p.push("-f")
	l.converged()
	require.Contains(t, l.stderr.String(), "the branch was force-pushed")
}
