package fleet

import "errors"

// What went wrong at the edge, for those who must tell one from another.
var (
	// ErrNotFound: what was named isn't there. Only an engine that answered says so.
	ErrNotFound = errors.New("not found")
	// ErrConflict: a name or an address is taken by something else.
	ErrConflict = errors.New("conflict")
	// ErrUnreachable: nobody answered; nothing is known.
	ErrUnreachable = errors.New("unreachable")
	// ErrNoImage: an image is on no host and can't be pulled.
	ErrNoImage = errors.New("no such image")
	// ErrDenied: a registry or a DNS provider wants other credentials.
	ErrDenied = errors.New("denied")
	// ErrNoSecret: credentials can't be read where evenkeel runs.
	ErrNoSecret = errors.New("no secret")
	// ErrNowhere: a registry answered that it hasn't the image, or there is no such registry.
	ErrNowhere = errors.New("in no registry")
	// ErrAltered: a DNS provider has taken a record, and keeps it as something else.
	ErrAltered = errors.New("altered")
	// ErrFenced: another controller holds the lease.
	ErrFenced = errors.New("lease lost")
)
