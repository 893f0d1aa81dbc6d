package git

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/client"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"
	"golang.org/x/net/proxy"

	"github.com/evenkeel/evenkeel/internal/sshclient"
)

// Access says how to prove who we are to a git server. Files are read anew for each look at it.
type Access struct {
	Username   string // over https; "" is the address's, else git
	Token      string // the password over https
	TokenFile  string // a file with it
	SSHKey     string // a private key; "" is the agent's, then ~/.ssh/id_*
	KnownHosts string // "" is ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts
}

// idle is how long a server may say nothing.
const idle = 30 * time.Second

type credentials struct {
	Access
	keys *sshclient.Keys
}

// talk is what a call to a server is made with.
type talk struct {
	auth  transport.AuthMethod
	proxy transport.ProxyOptions
}

// talk makes one call to the server, bounded by ctx, and says what went wrong.
func (r *remote) talk(ctx context.Context, doing string, f func(context.Context, talk) error) error {
	install()
	if !r.address.ssh {
		auth, err := r.auth.basic(r.address)
		if err != nil {
			return err
		}
		return r.explain(ctx, doing, f(ctx, talk{auth: auth}))
	}
	// go-git heeds no context over SSH: closing its connection does.
	id := strconv.FormatUint(dialed.Add(1), 10)
	dialing.Store(id, ctx)
	defer dialing.Delete(id)
	auth := &sshAuth{keys: r.auth.keys, at: r.address}
	defer auth.close()
	return r.explain(ctx, doing, f(ctx, talk{auth: auth, proxy: transport.ProxyOptions{URL: dialScheme + "://" + id}}))
}

// basic is the user and the password for https; nil: none are given.
func (c *credentials) basic(a address) (transport.AuthMethod, error) {
	auth := &githttp.BasicAuth{Username: c.Username, Password: a.password}
	if auth.Username == "" {
		auth.Username = a.user
	}
	if c.Token != "" {
		auth.Password = c.Token
	}
	if c.TokenFile != "" {
		b, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return nil, &Error{Reason: Refused, What: "--git-token-file can't be read", Err: err, Remedy: "correct its path, or its rights"}
		}
		auth.Password = strings.TrimSpace(string(b))
	}
	if auth.Password == "" && auth.Username == "" {
		return nil, nil //nolint:nilnil // nobody is whom public repositories are for
	}
	auth.Username = orGit(auth.Username)
	return auth, nil
}

// sshAuth makes go-git log in with our keys and our check of the host's.
type sshAuth struct {
	keys *sshclient.Keys
	at   address
	done []func()
}

func (a *sshAuth) Name() string   { return gitssh.PublicKeysCallbackName }
func (a *sshAuth) String() string { return a.at.user + " with keys" }

func (a *sshAuth) ClientConfig() (*ssh.ClientConfig, error) {
	config, done, err := a.keys.Config(a.at.user, a.at.server)
	if err != nil {
		return nil, &Error{Reason: Refused, What: "there is no way to log in", Err: err}
	}
	a.done = append(a.done, done)
	return config, nil
}

func (a *sshAuth) close() {
	for _, done := range a.done {
		done()
	}
}

// dialScheme is the kind of proxy, in go-git's words, that stands for a connection of ours.
const dialScheme = "evenkeel-direct"

var (
	dialed  atomic.Uint64
	dialing sync.Map // the context of each call over SSH, by the number that is its proxy's host
)

// install has go-git make connections that end when nothing comes any more. Its transports are global.
var install = sync.OnceFunc(func() {
	d := &direct{}
	client.InstallProtocol("https", githttp.NewClient(&http.Client{Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           d.DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: idle,
		IdleConnTimeout:       idle,
		ForceAttemptHTTP2:     true,
	}}))
	proxy.RegisterDialerType(dialScheme, func(u *url.URL, _ proxy.Dialer) (proxy.Dialer, error) {
		ctx, ok := dialing.Load(u.Host)
		if !ok {
			return nil, net.ErrClosed
		}
		return &direct{call: ctx.(context.Context)}, nil
	})
})

// direct dials; its connections end with the call that they are for.
type direct struct{ call context.Context } //nolint:containedctx // that of one call, which go-git doesn't pass on

func (d *direct) Dial(network, addr string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, addr)
}

func (d *direct) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	if d.call != nil {
		ctx = d.call
	}
	c, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	conn := &idleConn{Conn: c, stop: func() bool { return true }}
	if d.call != nil {
		conn.stop = context.AfterFunc(d.call, func() { c.Close() })
	}
	return conn, nil
}

// idleConn ends when its other end says nothing for a while.
type idleConn struct {
	net.Conn
	stop func() bool
}

func (c *idleConn) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(idle)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

func (c *idleConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(idle)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *idleConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// explain classes what went wrong between us and a server.
func (r *remote) explain(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	var done *Error
	var timeout net.Error
	var certificate *tls.CertificateVerificationError
	refused := r.auth.keys.Refused(err, r.address.user, r.address.server)
	switch {
	case errors.As(err, &done):
		return done
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		return &Error{Reason: Unreachable, What: doing + " took too long", Err: err, Remedy: r.look()}
	case refused != nil:
		return &Error{Reason: Refused, What: doing + " failed", Err: refused}
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed), errors.Is(err, transport.ErrInvalidAuthMethod):
		return &Error{Reason: Refused, What: "it can't be read with these credentials", Err: err,
			Remedy: "give a token that may read it with --git-token-file or EVENKEEL_GIT_TOKEN (and --git-username)"}
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return &Error{Reason: NotFound, What: "there is no such repository, or it isn't shown to these credentials", Remedy: "correct --repo or the credentials"}
	case errors.As(err, &certificate):
		return &Error{Reason: Refused, What: "its certificate isn't trusted", Err: err,
			Remedy: "add its authority to this machine's certificates, or name a file with it in SSL_CERT_FILE"}
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return &Error{Reason: NoCommits, What: "it has no commit yet", Remedy: "push the specs"}
	case cut(err):
		return &Error{Reason: Unreachable, What: doing + " failed", Err: err, Remedy: r.look()}
	}
	return corrupt(doing+" failed", err)
}

// cut says whether the connection is gone or never was.
func cut(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &op) || errors.As(err, &dns) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

func (r *remote) look() string {
	return fmt.Sprintf("look whether %s can be reached: git ls-remote %s", r.address.server, r.address.url)
}
