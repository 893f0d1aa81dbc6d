package rfc2136

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Error is what went wrong with a zone. errors.Is finds the fleet's sentinel in it, where one applies, and what
// caused it.
type Error struct {
	Zone   string
	Server string
	Doing  string // "deleting www.example.com A 203.0.113.1"
	Err    error

	kind error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s in the zone %s at %s: %s", e.Doing, e.Zone, e.Server, e.Err)
}

// Unwrap gives the fleet's sentinel and the cause.
func (e *Error) Unwrap() []error {
	if e.kind == nil {
		return []error{e.Err}
	}
	return []error{e.kind, e.Err}
}

func (z *Zone) failed(doing string, err error) error {
	e := &Error{Zone: z.name, Server: z.server, Doing: doing, Err: err}
	var conflict *conflictError
	var secret *secretError
	var silent *silentError
	var answer *answerError
	switch {
	case errors.As(err, &conflict):
		e.kind = fleet.ErrConflict
	case errors.As(err, &secret), errors.Is(err, errNoKey):
		e.kind = fleet.ErrDenied
	case isMissing(err), errors.Is(err, errGone):
		e.kind = fleet.ErrNotFound
	case errors.As(err, &answer):
		e.kind = answer.kind()
	case errors.As(err, &silent), errors.Is(err, errMoving):
		e.kind = fleet.ErrUnreachable
	}
	return e
}

var (
	errGone   = errors.New("it isn't there any more")
	errNoKey  = errors.New("the secret of the TSIG key isn't base64, as tsig-keygen and keymgr -t write it")
	errMoving = errors.New("somebody else changes the name at the same time; try again later")
)

// conflictError is what of others' is in the way.
type conflictError struct{ reason string }

func (e *conflictError) Error() string { return e.reason }

// secretError is why the key's secret isn't known here.
type secretError struct{ error }

func (e *secretError) Error() string {
	return "the secret of the TSIG key can't be read: " + e.error.Error()
}

func (*secretError) Is(target error) bool { return target == fleet.ErrNoSecret }

// missingError is a server that hasn't the zone.
type missingError struct{}

func (*missingError) Error() string {
	return "the server isn't one of the zone's: name its primary server, and see that the zone is there"
}

// alteredError is a record that is kept otherwise than it was asked to be.
type alteredError struct {
	is     fleet.DNSRecord
	shared bool // with records of others
}

func (e *alteredError) Error() string {
	why := "the server has made something else of it"
	if e.shared {
		why = "the records of a name and type have one TTL, and others' are among them"
	}
	return fmt.Sprintf("%s: %s with ttl %s, owner %q", why, e.is, e.is.TTL, e.is.Owner)
}

func (e *alteredError) Is(target error) bool { return target == fleet.ErrAltered }

// silentError is a message that wasn't answered, or not so that the answer could be trusted: the server may have carried
// it out.
type silentError struct {
	err     error
	unclear string // what is wrong with the answer; empty: there is none
}

func (e *silentError) Error() string {
	var timeout net.Error
	switch {
	case e.unclear != "":
		return fmt.Sprintf("%s: %s", e.unclear, e.err)
	case errors.Is(e.err, os.ErrDeadlineExceeded), errors.As(e.err, &timeout) && timeout.Timeout() && !errors.Is(e.err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s", messageTime)
	case errors.Is(e.err, syscall.ECONNREFUSED):
		return "nobody answers there (connection refused): is the server running, and does it take TCP?"
	case errors.Is(e.err, io.EOF), errors.Is(e.err, io.ErrUnexpectedEOF), errors.Is(e.err, syscall.ECONNRESET), errors.Is(e.err, syscall.EPIPE):
		return "it hung up without an answer"
	}
	return e.err.Error()
}

func (e *silentError) Unwrap() error { return e.err }

// answerError is an answer that is no success.
type answerError struct {
	method string
	key    string // name and algorithm
	code   int
	sign   int           // what is wrong with the signature; 0: nothing
	behind time.Duration // how far this machine's clock is behind the server's
}

// refusal reads an answer that is no success.
func (s *session) refusal(m *dns.Msg, code int, sign *dns.TSIG) error {
	e := &answerError{method: methodOf(m), key: s.zone.key.Name + " (" + s.zone.key.Algorithm + ")", code: code}
	if sign != nil {
		e.sign = int(sign.Error)
		if seconds, err := strconv.ParseInt(sign.OtherData, 16, 64); err == nil && e.sign == dns.RcodeBadTime {
			e.behind = time.Unix(seconds, 0).Sub(s.zone.now()).Round(time.Second)
		}
	}
	return e
}

func (e *answerError) kind() error {
	switch e.code {
	case dns.RcodeNotAuth, dns.RcodeRefused, dns.RcodeNotImplemented:
		return fleet.ErrDenied
	case dns.RcodeServerFailure:
		return fleet.ErrUnreachable
	case dns.RcodeNotZone:
		return fleet.ErrNotFound
	}
	return nil
}

func (e *answerError) Error() string {
	switch e.sign {
	case dns.RcodeBadKey:
		return fmt.Sprintf("it doesn't know the TSIG key %s, or lets it do nothing of this sort (BADKEY): give the server a key of that name and algorithm, with the right to %s", e.key, e.right())
	case dns.RcodeBadSig:
		return fmt.Sprintf("the secret of the TSIG key %s isn't the server's (BADSIG): write the same in both places", e.key)
	case dns.RcodeBadTime:
		return fmt.Sprintf("its clock and this machine's differ%s (BADTIME): set both", e.clocks())
	case dns.RcodeBadTrunc:
		return fmt.Sprintf("it wants other signatures than those of the TSIG key %s (BADTRUNC): see its settings for keys", e.key)
	}
	switch e.code {
	case dns.RcodeRefused:
		return fmt.Sprintf("it refuses that to the TSIG key %s (REFUSED): give the key the right to %s", e.key, e.right())
	case dns.RcodeNotAuth:
		return (&missingError{}).Error()
	case dns.RcodeNotImplemented:
		return fmt.Sprintf("it takes no %s (NOTIMP): name the zone's primary server, and have it take dynamic updates", e.method)
	case dns.RcodeServerFailure:
		return "it couldn't answer (SERVFAIL): its log says why; try again later"
	case dns.RcodeNotZone:
		return "the name lies in another zone there (NOTZONE): add that one to the Fleet's dns.external"
	}
	return "it answers " + dns.RcodeToString[e.code]
}

// right is what a key needs for what was refused.
func (e *answerError) right() string {
	switch e.method {
	case methodTransfer:
		return "transfer the zone (BIND: allow-transfer; Knot: an acl with action transfer)"
	case methodUpdate:
		return "change the zone, its TXT records included (BIND: update-policy; Knot: an acl with action update)"
	}
	return "look names up (BIND: allow-query)"
}

func (e *answerError) clocks() string {
	switch {
	case e.behind > 0:
		return fmt.Sprintf(": this one's is %s behind", e.behind)
	case e.behind < 0:
		return fmt.Sprintf(": this one's is %s ahead", -e.behind)
	}
	return ""
}

func hasCode(err error, code int) bool {
	var e *answerError
	return errors.As(err, &e) && e.code == code
}

// isMissing says whether the server hasn't the zone.
func isMissing(err error) bool {
	var missing *missingError
	var e *answerError
	return errors.As(err, &missing) || errors.As(err, &e) && e.code == dns.RcodeNotAuth && e.sign == 0
}

// isMoved says whether an update wasn't made because something there isn't as it was read.
func isMoved(err error) bool {
	return hasCode(err, dns.RcodeYXDomain) || hasCode(err, dns.RcodeYXRrset) || hasCode(err, dns.RcodeNameError) || hasCode(err, dns.RcodeNXRrset)
}

// The kinds of messages.
const (
	methodQuery    = "QUERY"
	methodTransfer = "AXFR"
	methodUpdate   = "UPDATE"
)

func methodOf(m *dns.Msg) string {
	switch {
	case m.Opcode == dns.OpcodeUpdate:
		return methodUpdate
	case len(m.Question) > 0 && m.Question[0].Qtype == dns.TypeAXFR:
		return methodTransfer
	}
	return methodQuery
}

// outcome is what came of a message, in a word.
func outcome(err error) string {
	var e *answerError
	var timeout net.Error
	switch {
	case err == nil:
		return dns.RcodeToString[dns.RcodeSuccess]
	case errors.As(err, &e):
		return dns.RcodeToString[e.code]
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return "error"
}
