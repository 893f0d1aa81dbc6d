package docker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// encrypted is the way over TLS. The files are read anew for each connection, so that a renewed
// certificate needs no restart.
func encrypted(addr string, files spec.TLS, credentials string) (*way, error) {
	var paths spec.TLS
	for _, f := range []struct {
		key, name string
		path      *string
	}{{"tls.ca", files.CA, &paths.CA}, {"tls.cert", files.Cert, &paths.Cert}, {"tls.key", files.Key, &paths.Key}} {
		var err error
		if *f.path, err = credential(f.key, f.name, credentials); err != nil {
			return nil, err
		}
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	var shown atomic.Pointer[x509.Certificate] // the engine's
	certificates := func() []fleet.Certificate { return certificatesOf(paths, shown.Load()) }
	return &way{certificates: certificates, dial: func(ctx context.Context) (net.Conn, error) {
		config, err := tlsConfig(host, paths)
		if err != nil {
			return nil, err
		}
		d := tls.Dialer{NetDialer: &dialer, Config: config}
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, tlsAdvice(err, paths)
		}
		if peer := c.(*tls.Conn).ConnectionState().PeerCertificates; len(peer) > 0 {
			shown.Store(peer[0])
		}
		return &tlsConn{Conn: c, paths: paths}, nil
	}}, nil
}

func tlsConfig(host string, paths spec.TLS) (*tls.Config, error) {
	ca, err := os.ReadFile(paths.CA)
	if err != nil {
		return nil, fmt.Errorf("tls.ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("tls.ca: %s holds no certificate in PEM", paths.CA)
	}
	pair, err := tls.LoadX509KeyPair(paths.Cert, paths.Key)
	if err != nil {
		return nil, fmt.Errorf("tls.cert, tls.key: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, RootCAs: roots, Certificates: []tls.Certificate{pair}}, nil
}

// remoteError is what crypto/tls calls an alert of the other side's.
const remoteError = "remote error"

// tlsConn says what to do about an alert. With TLS 1.3 a refused certificate shows at the first read only.
type tlsConn struct {
	net.Conn
	paths spec.TLS
}

func (c *tlsConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	var remote *net.OpError
	if errors.As(err, &remote) && remote.Op == remoteError {
		err = &wayError{tlsAdvice(err, c.paths)}
	}
	return n, err
}

// CloseWrite ends our half of a stream.
func (c *tlsConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// expired is when the certificate in a file ceased to be one; empty: it is valid, or can't be read.
func expired(path string) string {
	c := inFile("", path)
	if c.Problem != "" || time.Now().Before(c.Until) {
		return ""
	}
	return c.Until.UTC().Format(time.RFC3339)
}

// tlsAdvice adds to an error of TLS what to do about it.
func tlsAdvice(err error, paths spec.TLS) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var remote *net.OpError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("%w; the engine's certificate isn't signed by tls.ca (%s)", err, paths.CA)
	case errors.As(err, &name):
		return fmt.Errorf("%w; the endpoint must be written with a name or address that the engine's certificate holds", err)
	case errors.As(err, &invalid):
		return fmt.Errorf("%w; renew the engine's certificate", err)
	case errors.As(err, &remote) && remote.Op == remoteError && expired(paths.Cert) != "":
		return fmt.Errorf("%w; tls.cert (%s) expired at %s: renew it", err, paths.Cert, expired(paths.Cert))
	case errors.As(err, &remote) && remote.Op == remoteError:
		return fmt.Errorf("%w; the engine refused tls.cert (%s): is it signed by the engine's --tlscacert, and still valid?", err, paths.Cert)
	case errors.As(err, &plain):
		return fmt.Errorf("%w; the engine speaks no TLS at this port", err)
	}
	return err
}
