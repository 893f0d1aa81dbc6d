package docker

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// certificatesOf are the first ones in the files, and the one that the engine showed last; nil: none.
func certificatesOf(paths spec.TLS, shown *x509.Certificate) []fleet.Certificate {
	ours := inFile("ours (tls.cert)", paths.Cert)
	if info, err := os.Stat(paths.Key); err == nil && info.Mode().Perm()&0o077 != 0 {
		ours.Insecure = true
	}
	list := []fleet.Certificate{ours, inFile("the authority's (tls.ca)", paths.CA)}
	if shown != nil {
		list = append(list, certificate(fleet.Certificate{What: "the engine's"}, shown))
	}
	return list
}

func inFile(what, path string) fleet.Certificate {
	c := fleet.Certificate{What: what, File: path}
	text, err := os.ReadFile(path)
	if err != nil {
		c.Problem = err.Error()
		return c
	}
	block, _ := pem.Decode(text)
	if block == nil {
		c.Problem = fmt.Sprintf("%s holds no certificate in PEM", path)
		return c
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		c.Problem = fmt.Sprintf("%s: %s", path, err)
		return c
	}
	return certificate(c, parsed)
}

func certificate(c fleet.Certificate, of *x509.Certificate) fleet.Certificate {
	c.Subject, c.From, c.Until = of.Subject.String(), of.NotBefore, of.NotAfter
	return c
}
