package git_test

import (
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/git"
)

func everyWay(t *testing.T, test func(t *testing.T, s served, o git.Options)) {
	t.Helper()
	t.Run("https", func(t *testing.T) { s := newServed(t); test(t, s, s.overHTTPS(t)) })
	t.Run("ssh", func(t *testing.T) { s := newServed(t); test(t, s, s.overSSH(t)) })
}

func TestRemoteRefs(t *testing.T) {
	everyWay(t, func(t *testing.T, s served, o git.Options) {
		refused(t, open(t, o), git.NoCommits)
		first := s.commit("a.yaml", "1")
		s.git("tag", "-a", "v1", "-m", "v1")
		s.push("main", "v1")
		s.git("checkout", "-q", "-b", "next")
		second := s.commit("a.yaml", "2")
		s.push("next")
		for ref, want := range map[string]string{"": first, "main": first, "v1": first, "next": second, "refs/heads/next": second, first: first, second[:9]: second} {
			o.Ref = ref
			rev := fetch(t, open(t, o))
			require.Equal(t, want, rev.ID, "ref %q", ref)
		}
		o.Ref = "nxt"
		require.ErrorContains(t, refused(t, open(t, o), git.RefNotFound), "there are main, next, v1")
		o.Ref = strings.Repeat("0", 39) + "1"
		refused(t, open(t, o), git.RefNotFound)
	})
}

func TestRemoteIsFollowed(t *testing.T) {
	everyWay(t, func(t *testing.T, s served, o git.Options) {
		s.commit("a.yaml", "1")
		s.push("main")
		source := open(t, o)
		rev := fetch(t, source)
		require.Equal(t, "1", read(t, rev, "a.yaml"))
		require.Equal(t, "main", rev.Ref)
		second := s.commit("a.yaml", "2")
		s.push("main")
		rev = fetch(t, source)
		require.Equal(t, second, rev.ID)
		require.False(t, rev.Rewound)
		s.git("commit", "-q", "--amend", "-m", "another")
		s.push("-f", "main")
		rev = fetch(t, source)
		require.Equal(t, s.git("rev-parse", "HEAD"), rev.ID)
		require.True(t, rev.Rewound, "a force push is said")
		s.push("HEAD:other")
		s.bare.git("update-ref", "-d", "refs/heads/main")
		refused(t, source, git.RefNotFound)
		s.push("-f", "main")
		require.Equal(t, rev.ID, fetch(t, source).ID)
	})
}

func TestAPollIsOneRequest(t *testing.T) {
	s := newServed(t)
	s.commit("a.yaml", "1")
	s.push("main")
	source := open(t, s.overHTTPS(t))
	rev := fetch(t, source)
	before := s.https.count()
	require.Equal(t, rev.ID, fetch(t, source).ID)
	require.Equal(t, 1, s.https.count()-before)
}

func TestACloneThatBrokeIsMadeAnew(t *testing.T) {
	everyWay(t, func(t *testing.T, s served, o git.Options) {
		s.commit("a.yaml", "1")
		s.push("main")
		fetch(t, open(t, o))
		s.commit("a.yaml", "2")
		s.push("main")
		packs, err := filepath.Glob(filepath.Join(o.CacheDir, "*", "objects", "pack", "*"))
		require.NoError(t, err)
		require.NotEmpty(t, packs)
		for _, p := range packs {
			require.NoError(t, os.Chmod(p, 0o600))
			require.NoError(t, os.Truncate(p, 10))
		}
		rev := fetch(t, open(t, o))
		require.Equal(t, "2", read(t, rev, "a.yaml"))
		require.Contains(t, strings.Join(rev.Warnings, "\n"), "made anew")
		require.Empty(t, fetch(t, open(t, o)).Warnings)
	})
}

func TestHTTPSCredentials(t *testing.T) {
	s := newServed(t)
	s.commit("a.yaml", "1")
	s.push("main")
	s.https.token = "secret"
	o := s.overHTTPS(t)
	require.ErrorContains(t, refused(t, open(t, o), git.Refused), "--git-token-file")
	o.Access.TokenFile = filepath.Join(t.TempDir(), "token")
	require.ErrorContains(t, refused(t, open(t, o), git.Refused), o.Access.TokenFile)
	require.NoError(t, os.WriteFile(o.Access.TokenFile, []byte("old\n"), 0o600))
	source := open(t, o)
	refused(t, source, git.Refused)
	require.NoError(t, os.WriteFile(o.Access.TokenFile, []byte("secret\n"), 0o600))
	fetch(t, source)
	o.Access = git.Access{Token: "secret"}
	fetch(t, open(t, o))
	o.Access = git.Access{}
	o.Repo = strings.Replace(o.Repo, "https://", "https://me:secret@", 1)
	fetch(t, open(t, o))
	o.Repo = strings.Replace(o.Repo, "secret", "wrong", 1)
	require.NotContains(t, refused(t, open(t, o), git.Refused).Error(), "wrong", "passwords aren't told")
}

func TestSSHServersThatArentTrusted(t *testing.T) {
	s := newServed(t)
	o := s.overSSH(t)
	o.Access.KnownHosts = filepath.Join(t.TempDir(), "none")
	_, err := open(t, o).Fetch(t.Context())
	require.Equal(t, git.Refused, git.ReasonOf(err), "%v", err)
	require.ErrorContains(t, err, "ssh-keyscan -p ")
	o = s.overSSH(t)
	o.Access.SSHKey = filepath.Join(t.TempDir(), "stranger")
	newKey(t, o.Access.SSHKey)
	_, err = open(t, o).Fetch(t.Context())
	require.Equal(t, git.Refused, git.ReasonOf(err), "%v", err)
	require.ErrorContains(t, err, "or name another with --git-ssh-key")
	o = s.overSSH(t)
	o.Repo += "-none"
	refused(t, open(t, o), git.NotFound)
}

func TestServersThatFail(t *testing.T) {
	s := newServed(t)
	s.commit("a.yaml", "1")
	s.push("main")
	source := open(t, s.overHTTPS(t))
	rev := fetch(t, source)
	s.commit("b.yaml", strings.Repeat("some content\n", 1000))
	s.push("main")
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"an error":                func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusBadGateway); return true },
		"a cut before the answer": func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
		"a cut in the transfer": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost {
				w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
				_, _ = w.Write([]byte("0008NAK\nPACK\x00\x00"))
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.https.set(func() { s.https.fault = fault })
			_, err := source.Fetch(t.Context())
			require.Error(t, err)
			require.NotEmpty(t, git.ReasonOf(err))
			s.https.set(func() { s.https.fault = nil })
		})
	}
	require.NotEqual(t, rev.ID, fetch(t, source).ID, "it goes on where the server does")
	s.https.Close()
	refused(t, source, git.Unreachable)
}

func TestServersThatHang(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never says a word
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	for _, repo := range []string{"https://" + l.Addr().String() + "/fleet", "ssh://git@" + l.Addr().String() + "/fleet"} {
		o := git.Options{Repo: repo, CacheDir: t.TempDir(), Access: git.Access{SSHKey: filepath.Join(t.TempDir(), "id")}}
		newKey(t, o.Access.SSHKey)
		source := open(t, o)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := source.Fetch(ctx)
		cancel()
		require.Equal(t, git.Unreachable, git.ReasonOf(err), "%v", err)
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		_, err = source.Fetch(ctx)
		require.ErrorIs(t, err, context.Canceled)
	}
}

// A server that falls silent in the middle of a transfer is given up after half a minute, and what it sent spoils nothing.
func TestATransferThatStandsStill(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, s served, o git.Options) {
		t.Parallel()
		s.commit("a.yaml", "1")
		s.push("main")
		source := open(t, o)
		fetch(t, source)
		noise := make([]byte, 1<<20) // which isn't packed any smaller
		_, _ = rand.Read(noise)
		newest := s.commit("b.yaml", string(noise))
		s.push("main")
		for _, v := range []*valve{s.https.valve, s.ssh.valve} {
			v.shutAfter(200_000)
		}
		refused(t, source, git.Unreachable)
		for _, v := range []*valve{s.https.valve, s.ssh.valve} {
			v.open()
		}
		require.Equal(t, newest, fetch(t, source).ID)
	})
}

func TestAnHTTPSServerThatIsntTrusted(t *testing.T) {
	s := newServed(t)
	o := s.overHTTPS(t)
	o.Repo = strings.Replace(o.Repo, "127.0.0.1", "localhost", 1) // which its certificate doesn't hold
	require.ErrorContains(t, refused(t, open(t, o), git.Refused), "SSL_CERT_FILE")
}

func TestRemoteAddresses(t *testing.T) {
	for repo, want := range map[string]string{
		"git://example.com/fleet.git":        "addresses with git:// can't be read",
		"http://example.com/fleet.git":       "addresses with http:// can't be read",
		"https://example.com/":               "it names no repository",
		"ssh://git@/fleet":                   "it names no server",
		"ssh://git:hunter2@example.com/flee": "holds a password",
		"-oProxyCommand=x:fleet":             "it names no server",
	} {
		_, err := git.Open(git.Options{Repo: repo, CacheDir: t.TempDir()})
		require.ErrorContains(t, err, want, repo)
		require.NotContains(t, err.Error(), "hunter2")
		require.Equal(t, git.BadOption, git.ReasonOf(err))
	}
	_, err := git.Open(git.Options{Repo: "git@example.com:fleet.git", Worktree: true, CacheDir: t.TempDir()})
	require.ErrorContains(t, err, "--worktree")
}
