package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Error is what went wrong in one call to one host. errors.Is finds the fleet's sentinel in it, where one
// applies, and what caused it.
type Error struct {
	Host  string
	Doing string // "starting container 4f1c"
	Err   error  // the cause

	kind error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s on %s: %s", e.Doing, e.Host, strings.TrimPrefix(e.Err.Error(), "Error response from daemon: "))
}

// Unwrap gives the fleet's sentinel and the cause.
func (e *Error) Unwrap() []error {
	if e.kind == nil {
		return []error{e.Err}
	}
	return []error{e.kind, e.Err}
}

// ConflictError says who has a name that was asked for.
type ConflictError struct {
	Host  string
	What  string // container, network, volume
	Name  string
	ID    string
	Image string
	// Labels are evenkeel's on it; none: it isn't evenkeel's.
	Labels map[string]string
}

func (e *ConflictError) Error() string {
	of := ""
	if e.Image != "" {
		of = " of image " + e.Image
	}
	return fmt.Sprintf("the name %s is taken by %s %s%s, %s: rename or remove that one",
		e.Name, e.What, short(e.ID), of, owner(e.Labels))
}

// Unwrap makes it a fleet.ErrConflict.
func (e *ConflictError) Unwrap() error { return fleet.ErrConflict }

func (h *Host) conflict(what, name, id, image string, labels map[string]string) *ConflictError {
	ours := map[string]string{}
	for k, v := range labels {
		if strings.HasPrefix(k, "dev.evenkeel.") && k != fleet.LabelWritten {
			ours[k] = v
		}
	}
	return &ConflictError{Host: h.name, What: what, Name: name, ID: id, Image: image, Labels: ours}
}

func owner(labels map[string]string) string {
	of := labels[fleet.LabelFleet]
	switch {
	case of == "":
		return "which isn't evenkeel's"
	case labels[fleet.LabelNode] != "":
		return fmt.Sprintf("which is %s/%s/%s of fleet %s, generation %s",
			labels[fleet.LabelEnvironment], labels[fleet.LabelLayer], labels[fleet.LabelNode], of, labels[fleet.LabelGeneration])
	}
	return "which is fleet " + of + "'s"
}

func short(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	if len(id) > 12 {
		return id[:12]
	}
	return id
}

// fail wraps what a call returned. parent is the caller's context: a deadline that isn't its own is the
// call's, and means that the host did not answer in time.
func (h *Host) fail(parent context.Context, err error, o operation, timeout time.Duration) error {
	if err == nil {
		return nil
	}
	var done *Error
	if errors.As(err, &done) {
		return err
	}
	e := &Error{Host: h.name, Doing: o.doing, Err: err}
	switch {
	case parent.Err() != nil && !errors.Is(parent.Err(), context.DeadlineExceeded):
		e.Err = context.Cause(parent)
	case parent.Err() != nil:
		e.kind = fleet.ErrUnreachable
		e.Err = fmt.Errorf("%s did not answer in time: %w", h.name, context.Cause(parent))
	case errors.Is(err, context.DeadlineExceeded):
		e.kind = fleet.ErrUnreachable
		e.Err = &worded{fmt.Sprintf("%s did not answer within %s", h.name, timeout), err}
	case lost(err):
		e.kind = fleet.ErrUnreachable
		e.Err = broken(err)
		if cause, ok := h.noConnection(err); ok {
			e.Err = cause
		}
	case errors.Is(err, fleet.ErrConflict), errors.Is(err, fleet.ErrNotFound), errors.Is(err, fleet.ErrNoImage):
	case errdefs.IsNotFound(err) && strings.Contains(strings.ToLower(err.Error()), "no such image"):
		e.kind = fleet.ErrNoImage
	case errdefs.IsNotFound(err):
		e.kind = fleet.ErrNotFound
	case errdefs.IsConflict(err), taken(err):
		e.kind = fleet.ErrConflict
	}
	return e
}

// worded is an error that says it in other words than its cause, which is full of what a client asked for.
type worded struct {
	text string
	error
}

func (w *worded) Error() string { return w.text }

func (w *worded) Unwrap() error { return w.error }

// broken is the end of a connection in the midst of a call, without the call; other errors stay as they are.
func broken(err error) error {
	var asked *url.Error
	if !errors.As(err, &asked) {
		return err
	}
	return &worded{"the connection to the engine broke (" + asked.Err.Error() + "); the next pass looks what became of it", err}
}

// lost says whether an error means that the connection is gone or never was.
func lost(err error) bool {
	var op *net.OpError
	var none *wayError
	return client.IsErrConnectionFailed(err) || errors.As(err, &op) || errors.As(err, &none) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// taken says whether the engine refused an address, a port or a subnet that something else has. It has no
// status of its own for that.
func taken(err error) bool {
	m := strings.ToLower(err.Error())
	return strings.Contains(m, "address already in use") || strings.Contains(m, "port is already allocated") ||
		strings.Contains(m, "pool overlaps with other one")
}

// outdated says whether the engine speaks other versions of the API than were negotiated: it was replaced.
func outdated(err error) bool {
	return errdefs.IsInvalidArgument(err) && strings.Contains(err.Error(), "client version")
}
