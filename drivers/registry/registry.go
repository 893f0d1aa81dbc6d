// Package registry asks image registries which digest a tag stands for, and finds the credentials that let
// one in there. It fetches no image: that is what engines do. It asks with HEAD, since registries count
// each GET of a manifest as a pull. Nothing that it says holds a secret.
package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Options say where credentials are. The zero value has sensible ones.
type Options struct {
	// CredentialsDir is where the files are that the Fleet names; empty: none is known.
	CredentialsDir string
	// DockerConfig is the directory of Docker's own config.json; empty: $DOCKER_CONFIG, else ~/.docker.
	DockerConfig string
	Getenv       func(string) string // default os.Getenv
	// Timeout is how long a registry may take to answer; default 20 s. A credential helper has as long.
	Timeout time.Duration
	// AtOnce is how many questions to one registry may be under way; default 4.
	AtOnce int
}

// Client asks registries. It is safe for concurrent use and keeps no credentials.
type Client struct {
	opts             Options
	proven, unproven *http.Transport
	turns            sync.Map // of each registry
}

// Open returns a client. It does no I/O.
func Open(o Options) *Client {
	o = o.withDefaults()
	dialer := &net.Dialer{Timeout: o.Timeout}
	proven := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: o.Timeout, IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: o.AtOnce,
	}
	unproven := proven.Clone()
	unproven.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // only for registries that the engines are told to trust
	return &Client{opts: o, proven: proven, unproven: unproven}
}

// Close lets go of connections.
func (c *Client) Close() error {
	c.proven.CloseIdleConnections()
	c.unproven.CloseIdleConnections()
	return nil
}

// Digest asks a registry which digest a tagged reference stands for now. trusted says that the registry
// needs no proof of who it is: plain HTTP will do. fleet.ErrNoImage: the registry has no such image;
// fleet.ErrDenied: it wants other credentials. Any other error says nothing of the image.
func (c *Client) Digest(ctx context.Context, ref string, as fleet.Credentials, trusted bool) (string, error) {
	server := fleet.Registry(ref)
	turn := c.turn(server)
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	asking, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	digest, err := c.head(asking, ref, as, trusted)
	switch {
	case err == nil:
		return digest, nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case asking.Err() != nil:
		err = fmt.Errorf("no answer within %s", c.opts.Timeout)
	default:
		err = worded(err, server, as)
	}
	return "", fmt.Errorf("asking registry %s for %s: %w", server, ref, err)
}

func (c *Client) turn(server string) chan struct{} {
	turn, _ := c.turns.LoadOrStore(server, make(chan struct{}, c.opts.AtOnce))
	return turn.(chan struct{})
}

func (c *Client) head(ctx context.Context, ref string, as fleet.Credentials, trusted bool) (string, error) {
	var options []name.Option
	base := http.RoundTripper(encrypted{c.proven})
	if trusted {
		options, base = append(options, name.Insecure), c.unproven
	}
	parsed, err := name.ParseReference(ref, options...)
	if err != nil {
		return "", err
	}
	repository := parsed.Context()
	// With a transport that has logged in already nothing is tried again here: who asks does that.
	in, err := transport.NewWithContext(ctx, repository.Registry, authenticator(as), base, []string{repository.Scope(transport.PullScope)})
	if err != nil {
		return "", err
	}
	found, err := remote.Head(parsed, remote.WithContext(ctx), remote.WithTransport(in))
	if err != nil {
		return "", err
	}
	return found.Digest.String(), nil
}

func authenticator(as fleet.Credentials) authn.Authenticator {
	switch {
	case as.None():
		return authn.Anonymous
	case as.IdentityToken != "":
		return authn.FromConfig(authn.AuthConfig{IdentityToken: as.IdentityToken})
	}
	return authn.FromConfig(authn.AuthConfig{Username: as.Username, Password: as.Password})
}

// encrypted sends nothing in plain text. The client below would do so to private addresses.
type encrypted struct{ http.RoundTripper }

var errPlain = errors.New("it would be asked over plain HTTP, which the engines of the hosts aren't told to trust")

func (e encrypted) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, errPlain
	}
	return e.RoundTripper.RoundTrip(r)
}

// worded tells what an answer means.
func worded(err error, server string, as fleet.Credentials) error {
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return err
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return &kindError{fleet.ErrDenied, said(answer) + ": " + as.Refused(server)}
	case http.StatusNotFound:
		return &kindError{fleet.ErrNoImage, "there is no such image: check its name and tag"}
	case http.StatusTooManyRequests:
		return errors.New("it has been asked too often for now: log in there for a higher limit, or wait")
	}
	return errors.New(said(answer))
}

// said is what a registry answered, in short.
func said(e *transport.Error) string {
	text := strings.ToLower(http.StatusText(e.StatusCode))
	for _, d := range e.Errors {
		if d.Message != "" {
			text = strings.TrimSuffix(d.Message, ".")
			break
		}
	}
	return fmt.Sprintf("%s (%d)", text, e.StatusCode)
}

// kindError is a text for people and what kind of error it is.
type kindError struct {
	kind error
	text string
}

func (e *kindError) Error() string { return e.text }
func (e *kindError) Unwrap() error { return e.kind }
