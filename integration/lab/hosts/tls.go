package hosts

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// TLS says how a host's engine is spoken to over TLS.
type TLS struct {
	CA, Cert, Key string // paths of the files for a client
	// Expired is another certificate for a client, which has been none any more for an hour, and ExpiredKey its key.
	Expired, ExpiredKey string
	EngineArgs          []string // with which the engine is to be started
}

// hostTLSFolder is where the host itself sees the engine's files; they are on its disk.
const hostTLSFolder = "/etc/docker/tls"

// MakeTLS makes an authority and certificates for the host's engine and for a client, anew at each call, valid for
// the given time from now on. The engine has them once it is started with the arguments that are returned, at the
// same endpoint; its certificate is for 127.0.0.1 too.
func (h *Host) MakeTLS(valid time.Duration) (*TLS, error) {
	t, err := h.makeTLS(valid)
	if err != nil {
		return nil, fmt.Errorf("making certificates for %s: %w", h.Name(), err)
	}
	return t, nil
}

func (h *Host) makeTLS(valid time.Duration) (*TLS, error) {
	dir := filepath.Join(h.dir(), "etc", "tls")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	issue := issuer{dir: dir, until: time.Now().Add(valid)}
	ca := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	if err := issue.write("ca", ca); err != nil {
		return nil, err
	}
	engine := &x509.Certificate{IPAddresses: []net.IP{h.Address().AsSlice(), net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if err := issue.write("engine", engine); err != nil {
		return nil, err
	}
	client := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if err := issue.write("client", client); err != nil {
		return nil, err
	}
	issue.until = time.Now().Add(-time.Hour)
	expired := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if err := issue.write("expired", expired); err != nil {
		return nil, err
	}
	return &TLS{
		Expired: filepath.Join(dir, "expired.pem"), ExpiredKey: filepath.Join(dir, "expired-key.pem"),
		CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "client.pem"), Key: filepath.Join(dir, "client-key.pem"),
		EngineArgs: []string{
			"--tlsverify", "--tlscacert=" + hostTLSFolder + "/ca.pem",
			"--tlscert=" + hostTLSFolder + "/engine.pem", "--tlskey=" + hostTLSFolder + "/engine-key.pem",
		},
	}, nil
}

// issuer writes certificates; the first one is the authority's.
type issuer struct {
	dir    string
	until  time.Time
	ca     *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

func (i *issuer) write(name string, c *x509.Certificate) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	i.serial++
	c.SerialNumber, c.Subject = big.NewInt(i.serial), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = i.until.Add(-24*time.Hour), i.until
	if i.ca == nil {
		i.ca, i.key = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, i.ca, &key.PublicKey, i.key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(i.dir, name+".pem"), "CERTIFICATE", der); err != nil {
		return err
	}
	return writePEM(filepath.Join(i.dir, name+"-key.pem"), "PRIVATE KEY", private)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
