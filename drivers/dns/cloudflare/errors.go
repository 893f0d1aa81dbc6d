package cloudflare

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	api "github.com/cloudflare/cloudflare-go"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Codes of Cloudflare's errors.
const (
	codeNoRecord  = 81044
	codeIdentical = 81058
)

var (
	codesConflict = []int{81053, 81054, 81055, 81056, 81057, codeIdentical}
	codesRefused  = []int{1000, 6003, 9106, 9109, 10000}
	codesNoZone   = []int{1001, 7003}
)

// Error is what went wrong with a zone. errors.Is finds the fleet's sentinel in it, where one applies, and what
// caused it.
type Error struct {
	Zone  string
	Doing string // "deleting www.example.com A 203.0.113.1"
	Err   error

	kind error
}

func (e *Error) Error() string {
	var token *tokenError
	if errors.As(e.Err, &token) {
		return fmt.Sprintf("%s in the zone %s at Cloudflare: the API token can't be read: %s", e.Doing, e.Zone, token.error)
	}
	if errors.Is(e.kind, fleet.ErrDenied) {
		return fmt.Sprintf("%s in the zone %s: Cloudflare refuses the token: %s: give it Zone Read and DNS Edit for this zone", e.Doing, e.Zone, cause(e.Err))
	}
	return fmt.Sprintf("%s in the zone %s at Cloudflare: %s", e.Doing, e.Zone, cause(e.Err))
}

// Unwrap gives the fleet's sentinel and the cause.
func (e *Error) Unwrap() []error {
	if e.kind == nil {
		return []error{e.Err}
	}
	return []error{e.kind, e.Err}
}

// cause leaves out what a reader knows: that it was a call, and to where.
func cause(err error) error {
	var inner *url.Error
	if errors.As(err, &inner) {
		return inner.Err
	}
	return err
}

func (z *Zone) failed(doing string, err error) error {
	e := &Error{Zone: z.name, Doing: doing, Err: err}
	var refused *refusedError
	var token *tokenError
	var throttled *throttledError
	var conflict *conflictError
	switch {
	case errors.As(err, &conflict), hasCode(err, codesConflict...):
		e.kind = fleet.ErrConflict
	case errors.As(err, &refused), errors.As(err, &token), isRefused(err):
		e.kind = fleet.ErrDenied
		z.lose()
	case hasCode(err, codesNoZone...):
		e.kind = fleet.ErrNotFound
		z.lose()
	case hasCode(err, codeNoRecord):
		e.kind = fleet.ErrNotFound
	case uncertain(err), errors.As(err, &throttled), errors.Is(err, errMoved), errors.Is(err, errIncomplete):
		e.kind = fleet.ErrUnreachable
	}
	return e
}

// refusedError is why a token isn't good for the zone.
type refusedError struct{ reason string }

func (e *refusedError) Error() string { return e.reason }

// tokenError is why the token isn't known here.
type tokenError struct{ error }

func (*tokenError) Is(target error) bool { return target == fleet.ErrNoSecret }

// conflictError is what of others' is in the way.
type conflictError struct{ reason string }

func (e *conflictError) Error() string { return e.reason }

// throttledError says until when Cloudflare wants no calls.
type throttledError struct{ until time.Time }

func (e *throttledError) Error() string {
	return "there were too many calls; it takes none until " + e.until.UTC().Format("15:04:05 UTC")
}

// statusError is a server that couldn't answer.
type statusError struct{ status string }

func (e *statusError) Error() string { return "it answers " + e.status + "; try again later" }

// timeoutError is a server that didn't answer.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string { return fmt.Sprintf("no answer within %s", e.after) }

// uncertain says whether a call may have been carried out though it failed.
func uncertain(err error) bool {
	var refused *refusedError
	var token *tokenError
	var throttled *throttledError
	if errors.As(err, &refused) || errors.As(err, &token) || errors.As(err, &throttled) {
		return false
	}
	var lost *url.Error
	return errors.As(err, &lost) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

func isRefused(err error) bool {
	var unauthorized *api.AuthorizationError
	var forbidden *api.AuthenticationError
	return errors.As(err, &unauthorized) || errors.As(err, &forbidden) || hasCode(err, codesRefused...)
}

func hasCode(err error, codes ...int) bool {
	var e *api.Error
	return errors.As(err, &e) && slices.ContainsFunc(e.ErrorCodes, func(code int) bool { return slices.Contains(codes, code) })
}
