package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Registry is an image registry in this process. It speaks plain HTTP, keeps
// everything in memory and asks for no password until [Registry.Require].
type Registry struct {
	listener net.Listener
	server   *http.Server
	done     chan error
	closing  sync.Once
	closed   error

	mu       sync.Mutex
	requests []string
	login    login
	answer   func(*http.Request) int // the status that is answered instead; 0, nil: as it should be
}

// StartRegistry serves on a free port of the address, which for a lab's hosts
// is Lab.Manager(): their engines take it as an insecure registry.
func StartRegistry(address netip.Addr) (*Registry, error) {
	listener, err := net.Listen("tcp", netip.AddrPortFrom(address, 0).String())
	if err != nil {
		return nil, fmt.Errorf("starting a registry: %w", err)
	}
	r := &Registry{listener: listener, done: make(chan error, 1)}
	silent := log.New(io.Discard, "", 0)
	store := registry.New(registry.Logger(silent))
	r.server = &http.Server{
		ErrorLog:          silent,
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			r.mu.Lock()
			r.requests = append(r.requests, req.Method+" "+req.URL.Path)
			login, answer := r.login, r.answer
			r.mu.Unlock()
			if answer != nil && answer(req) != 0 {
				w.WriteHeader(answer(req))
				return
			}
			if login.admits(w, req) {
				store.ServeHTTP(w, req)
			}
		}),
	}
	go func() { r.done <- r.server.Serve(listener) }()
	return r, nil
}

// Answer has requests answered with another status from now on, where f says one; nil ends that.
func (r *Registry) Answer(f func(*http.Request) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

// Address returns IP:port, which is the first part of its images' references.
func (r *Registry) Address() string { return r.listener.Addr().String() }

// Requests returns what was asked so far, each as "GET /v2/web/manifests/1";
// pushes by this process are among it.
func (r *Registry) Requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// Push puts the image into the registry and returns the reference to pull it by.
func (r *Registry) Push(ctx context.Context, i *Image) (string, error) {
	ref, err := name.NewTag(r.Address()+"/"+i.Reference(), name.Insecure)
	if err == nil {
		// No keychain, no proxy: the registry is in this very process.
		transport := &http.Transport{DisableKeepAlives: true}
		err = remote.Write(ref, i.image, remote.WithContext(ctx), remote.WithTransport(transport), remote.WithAuth(r.auth()))
	}
	if err != nil {
		return "", fmt.Errorf("pushing %s to %s: %w", i.Reference(), r.Address(), err)
	}
	return ref.String(), nil
}

// Digest returns the digest of the image's manifest, sha256:…, by which a
// registry and engines that pulled it know it.
func (i *Image) Digest() (string, error) {
	digest, err := i.image.Digest()
	if err != nil {
		return "", fmt.Errorf("image %s: %w", i.Reference(), err)
	}
	return digest.String(), nil
}

// Close ends the registry, open connections too. A second one does nothing.
func (r *Registry) Close() error {
	r.closing.Do(func() {
		r.closed = r.server.Close()
		if served := <-r.done; !errors.Is(served, http.ErrServerClosed) {
			r.closed = errors.Join(r.closed, served)
		}
	})
	return r.closed
}
