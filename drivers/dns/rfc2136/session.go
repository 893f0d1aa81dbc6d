package rfc2136

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// fudge is how far the server's clock may be off, in seconds: what RFC 8945 recommends.
const fudge = 300

// session is a connection to the server, for one call.
type session struct {
	zone   *Zone
	ctx    context.Context
	conn   *dns.Conn
	secret string
	stop   func() bool
}

// dial connects to the server. Nothing that waits for it outlasts the context.
func (z *Zone) dial(ctx context.Context) (*session, error) {
	secret, err := z.secret()
	if err != nil {
		return nil, err
	}
	begun := z.now()
	conn, err := (&net.Dialer{Timeout: messageTime}).DialContext(ctx, "tcp", z.server)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		err = &silentError{err: err}
		z.called("CONNECT", outcome(err), z.now().Sub(begun))
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return &session{zone: z, ctx: ctx, conn: &dns.Conn{Conn: conn}, secret: secret, stop: stop}, nil
}

func (s *session) close() {
	s.stop()
	s.conn.Close()
}

// secret reads the key's anew.
func (z *Zone) secret() (string, error) {
	secret, err := z.key.Secret()
	if err != nil {
		return "", &secretError{err}
	}
	secret = strings.TrimSpace(secret)
	if raw, err := base64.StdEncoding.DecodeString(secret); err != nil || len(raw) == 0 {
		return "", errNoKey
	}
	return secret, nil
}

// exchange sends a message and returns the answer. One that is no success is an *answerError; where nobody knows whether
// the server has carried the message out, the error is a *silentError.
func (s *session) exchange(m *dns.Msg) (*dns.Msg, error) {
	begun := s.zone.now()
	answer, _, err := s.ask(m)
	s.zone.called(methodOf(m), outcome(err), s.zone.now().Sub(begun))
	return answer, err
}

// ask is exchange; mac is what the signature of a further answer builds upon.
func (s *session) ask(m *dns.Msg) (answer *dns.Msg, mac string, err error) {
	m.SetTsig(dns.CanonicalName(s.zone.key.Name), dns.CanonicalName(s.zone.key.Algorithm), fudge, s.zone.now().Unix())
	packed, mac, err := dns.TsigGenerate(m, s.secret, "", false)
	if err != nil {
		return nil, "", err
	}
	if err := s.extend(); err != nil {
		return nil, "", err
	}
	if _, err := s.conn.Write(packed); err != nil {
		return nil, "", s.silent(err)
	}
	return s.receive(m, mac, false)
}

// receive reads an answer to a message, or a further one.
func (s *session) receive(m *dns.Msg, mac string, further bool) (answer *dns.Msg, next string, err error) {
	if err := s.extend(); err != nil {
		return nil, "", err
	}
	buffer := make([]byte, dns.MaxMsgSize)
	n, err := s.conn.Read(buffer)
	if err != nil {
		return nil, "", s.silent(err)
	}
	answer = new(dns.Msg)
	switch err := answer.Unpack(buffer[:n]); {
	case err != nil:
		return nil, "", &silentError{err: err, unclear: "its answer can't be read"}
	case answer.Id != m.Id || !answer.Response || answer.Opcode != m.Opcode:
		return nil, "", &silentError{err: errors.New("it answers something else"), unclear: "its answer is wrong"}
	}
	sign := answer.IsTsig()
	// Who has refused a signature signs nothing, or not so that it could be verified here.
	refused := answer.Rcode != dns.RcodeSuccess && (sign == nil || answer.Rcode == dns.RcodeNotAuth)
	if err := s.verify(buffer[:n], sign, mac, further); err != nil && !refused {
		return nil, "", &silentError{err: err, unclear: "its answer isn't signed with the key " + s.zone.key.Name}
	}
	if answer.Rcode != dns.RcodeSuccess {
		return answer, "", s.refusal(m, answer.Rcode, sign)
	}
	return answer, sign.MAC, nil
}

// verify says what is wrong with an answer's signature.
func (s *session) verify(packet []byte, sign *dns.TSIG, mac string, further bool) error {
	switch {
	case sign == nil:
		return dns.ErrNoSig
	case dns.CanonicalName(sign.Hdr.Name) != dns.CanonicalName(s.zone.key.Name), dns.CanonicalName(sign.Algorithm) != dns.CanonicalName(s.zone.key.Algorithm):
		return dns.ErrKey
	}
	return dns.TsigVerify(packet, s.secret, mac, further)
}

// extend gives the server time for one more step.
func (s *session) extend() error {
	until := time.Now().Add(messageTime)
	if ends, ok := s.ctx.Deadline(); ok && ends.Before(until) {
		until = ends
	}
	err := s.conn.SetDeadline(until)
	if s.ctx.Err() != nil { // it ended before that, and nothing else would end what waits
		return &silentError{err: context.Cause(s.ctx)}
	}
	return err
}

func (s *session) silent(err error) error {
	ends, bounded := s.ctx.Deadline()
	switch {
	case s.ctx.Err() != nil:
		err = context.Cause(s.ctx)
	case bounded && !time.Now().Before(ends): // the connection may find out a moment before the context does
		err = context.DeadlineExceeded
	}
	return &silentError{err: err}
}

// query asks for the records of a name and type, and returns what the server itself has there: also an alias, where it
// was asked for something else.
func (s *session) query(name string, kind uint16) ([]dns.RR, error) {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), kind)
	m.RecursionDesired = false
	answer, err := s.exchange(m)
	switch {
	case hasCode(err, dns.RcodeNameError):
		return nil, nil
	case hasCode(err, dns.RcodeRefused):
		return nil, s.whyRefused(err)
	case err != nil:
		return nil, err
	case !answer.Authoritative:
		return nil, s.elsewhere(answer)
	}
	var found []dns.RR
	for _, rr := range answer.Answer {
		if t := rr.Header().Rrtype; sameName(rr, name) && (t == kind || t == dns.TypeCNAME) {
			found = append(found, rr)
		}
	}
	return found, nil
}

// whyRefused tells a server that refuses queries from one that hasn't the zone, which refuses them, too.
func (s *session) whyRefused(err error) error {
	m := s.zone.update()
	m.NameUsed([]dns.RR{&dns.ANY{Hdr: header(s.zone.name, dns.TypeANY, 0)}})
	if _, asked := s.exchange(m); isMissing(asked) {
		return asked
	}
	return err
}

// elsewhere says why a server doesn't answer for a name itself.
func (s *session) elsewhere(answer *dns.Msg) error {
	for _, rr := range answer.Ns {
		if at := plain(rr.Header().Name); rr.Header().Rrtype == dns.TypeNS && at != s.zone.name && isBelow(at, s.zone.name) {
			return &conflictError{at + " is delegated to other servers (NS): use a name that isn't below it"}
		}
	}
	return &missingError{}
}

func isBelow(name, zone string) bool { return name == zone || strings.HasSuffix(name, "."+zone) }

// inUse says whether there is any record under a name: not one that a wildcard makes up for it, as in an answer.
func (s *session) inUse(name string) (bool, error) {
	m := s.zone.update()
	m.NameUsed([]dns.RR{&dns.ANY{Hdr: header(name, dns.TypeANY, 0)}})
	_, err := s.exchange(m)
	if hasCode(err, dns.RcodeNameError) {
		return false, nil
	}
	return err == nil, err
}
