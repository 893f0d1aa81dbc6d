package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/client"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// noDeadline is for calls that are bounded by their progress instead.
const noDeadline = 24 * time.Hour

// Image tells what a host has under a reference or an ID; fleet.ErrNoImage: nothing.
func (h *Host) Image(ctx context.Context, ref string) (fleet.ImageInfo, error) {
	return call(ctx, h, h.read("looking for image "+ref), func(ctx context.Context, s *session) (fleet.ImageInfo, error) {
		i, err := s.ImageInspect(ctx, ref)
		if err != nil {
			return fleet.ImageInfo{}, noImage(err, errdefs.IsNotFound(err))
		}
		return fleet.ImageInfo{ID: i.ID, Digests: slices.Sorted(slices.Values(i.RepoDigests))}, nil
	})
}

// asksAtOnce is how many questions to one registry may be under way on a host. They take no turn of what
// is asked of the engine itself: a registry that is silent would use those up.
const asksAtOnce = 4

// Resolve asks the registry, through the host's engine, which digest a reference stands for now.
func (h *Host) Resolve(ctx context.Context, ref string, as fleet.Credentials) (string, error) {
	server := fleet.Registry(ref)
	auth, err := encoded(server, as)
	if err != nil {
		return "", err
	}
	o := operation{doing: "resolving image " + ref, turn: h.asks(server), timeout: 3 * h.opts.Timeout} // the registry's answer is in it
	return call(ctx, h, o, func(ctx context.Context, s *session) (string, error) {
		d, err := s.DistributionInspect(ctx, ref, auth)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) && s.alive(ctx, h.opts.HeartbeatTimeout) {
			return "", fmt.Errorf("registry %s gave %s no answer within %s: look at the host's way to the registry", server, h.name, o.timeout)
		}
		if err != nil {
			return "", noImage(nowhere(refused(err, server, as)), answered(ctx, err))
		}
		return d.Descriptor.Digest.String(), nil
	})
}

// asks are the turns of questions to a registry.
func (h *Host) asks(registry string) chan struct{} {
	turns, _ := h.registries.LoadOrStore(registry, make(chan struct{}, asksAtOnce))
	return turns.(chan struct{})
}

// alive says whether the engine answers, also where a call's own time is over.
func (s *session) alive(ctx context.Context, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	_, err := s.Ping(ctx)
	return err == nil
}

// Pull fetches an image. It may take as long as it gets on; without progress it fails.
func (h *Host) Pull(ctx context.Context, ref string, as fleet.Credentials) error {
	server := fleet.Registry(ref)
	auth, err := encoded(server, as)
	if err != nil {
		return err
	}
	o := operation{doing: "pulling image " + ref, timeout: noDeadline}
	return h.do(ctx, o, func(ctx context.Context, s *session) error {
		ctx, w := watchProgress(ctx, h.opts.PullStall)
		defer w.stop()
		body, err := s.ImagePull(ctx, ref, image.PullOptions{RegistryAuth: auth})
		if err == nil {
			err = readProgress(body, w)
		}
		if stalled := w.stalled(ctx); err != nil && stalled != nil {
			return stalled
		}
		return noImage(refused(err, server, as), answered(ctx, err))
	})
}

// encoded are credentials as the engine takes them; none: empty.
func encoded(server string, as fleet.Credentials) (string, error) {
	if as.None() {
		return "", nil
	}
	if server == spec.DockerHub {
		server = "https://index.docker.io/v1/" // its name among credentials
	}
	auth := registry.AuthConfig{Username: as.Username, Password: as.Password, IdentityToken: as.IdentityToken, ServerAddress: server}
	if auth.IdentityToken != "" {
		auth.Username, auth.Password = "", ""
	}
	return registry.EncodeAuthConfig(auth)
}

// refused adds to a registry's refusal whose credentials it refused, or that it has been asked too often, and what to
// do. Engines have no status of their own for it, and where the registry gave no reasons only its status to tell.
func refused(err error, server string, as fleet.Credentials) error {
	if err == nil {
		return nil
	}
	said := strings.ToLower(err.Error())
	says := func(words []string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(said, w) })
	}
	switch {
	case says(tooOften):
		return fmt.Errorf("%w: registry %s has been asked too often for now: log in there for a higher limit, or wait", err, server)
	case errdefs.IsUnauthorized(err), errdefs.IsPermissionDenied(err), says(refusals):
		return deniedError{err, as.Refused(server)}
	}
	return err
}

// deniedError is a registry's refusal, as the engine passed it on.
type deniedError struct {
	error
	remedy string
}

func (e deniedError) Error() string   { return e.error.Error() + ": " + e.remedy }
func (e deniedError) Unwrap() []error { return []error{fleet.ErrDenied, e.error} }

// refusals are the words of engines for a registry that wants other credentials.
var refusals = []string{
	"unauthorized", "authentication required", "access denied", "is denied", "no basic auth credentials", "incorrect username or password",
	"http 401", "http 403", "403 forbidden",
}

// tooOften are those for a registry that wants to be asked less.
var tooOften = []string{"toomanyrequests", "too many requests", "http 429"}

// LoadImage loads an image archive, as docker load does. It fails when the upload gets stuck.
func (h *Host) LoadImage(ctx context.Context, archive io.Reader) error {
	o := operation{doing: "loading an image", timeout: noDeadline}
	return h.do(ctx, o, func(ctx context.Context, s *session) error {
		ctx, w := watchProgress(ctx, h.opts.PullStall)
		defer w.stop()
		loaded, err := s.ImageLoad(ctx, io.TeeReader(archive, w), client.ImageLoadWithQuiet(true))
		if err == nil {
			err = readProgress(loaded.Body, w)
		}
		if stalled := w.stalled(ctx); err != nil && stalled != nil {
			return stalled
		}
		return err
	})
}

// RemoveImage removes an image that no container has; one that is gone is done.
func (h *Host) RemoveImage(ctx context.Context, id string) error {
	return h.do(ctx, h.write("removing image "+short(id)), func(ctx context.Context, s *session) error {
		_, err := s.ImageRemove(ctx, id, image.RemoveOptions{PruneChildren: true})
		if errdefs.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// readProgress reads an engine's stream of progress to its end; a failure is told in it, after a status
// that said that all was well.
func readProgress(body io.ReadCloser, w *progressWatch) error {
	defer body.Close()
	d := json.NewDecoder(io.TeeReader(body, w))
	for {
		var m struct {
			Error string `json:"error"`
		}
		err := d.Decode(&m)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("its progress broke off: %w", err)
		}
		if m.Error != "" {
			return errors.New(m.Error)
		}
	}
}

// imageError is the engine's word that an image can't be had.
type imageError struct{ error }

func (e imageError) Unwrap() []error { return []error{fleet.ErrNoImage, e.error} }

func noImage(err error, is bool) error {
	if err == nil || !is {
		return err
	}
	return imageError{err}
}

// nowhereError is the engine's word that no registry has an image.
type nowhereError struct{ error }

func (e nowhereError) Unwrap() []error { return []error{fleet.ErrNowhere, e.error} }

// nowhere tells a registry's clear no, and that there is no such registry, from it not having answered. Where
// the engine has no status for that it has but the words.
func nowhere(err error) error {
	said := strings.ToLower(err.Error())
	if !errdefs.IsNotFound(err) && !slices.ContainsFunc([]string{"no such host", "manifest unknown", "name unknown"}, func(no string) bool { return strings.Contains(said, no) }) {
		return err
	}
	return nowhereError{err}
}

// answered says whether an error is what the engine said, as opposed to it not having said anything.
func answered(ctx context.Context, err error) bool {
	return err != nil && ctx.Err() == nil && !lost(err) && !errors.Is(err, context.DeadlineExceeded)
}

// progressWatch ends a context when nothing was written to it for a while.
type progressWatch struct {
	after  time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

var errStalled = errors.New("no progress")

func watchProgress(ctx context.Context, after time.Duration) (context.Context, *progressWatch) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &progressWatch{after: after, cancel: cancel, timer: time.AfterFunc(after, func() { cancel(errStalled) })}
}

func (w *progressWatch) Write(p []byte) (int, error) {
	w.timer.Reset(w.after)
	return len(p), nil
}

func (w *progressWatch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

func (w *progressWatch) stalled(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return fmt.Errorf("%w for %s: look at the host's way to the registry", errStalled, w.after)
	}
	return nil
}
