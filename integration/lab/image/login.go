package image

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

// tokenPath is where a registry gives out tokens, as Docker Hub does on another host.
const tokenPath = "/token"

// login is who a registry lets in; the zero value lets everybody in.
type login struct {
	username, password string
	tokens             bool
}

// Require lets only this user in from now on, asked for by HTTP's basic authentication or, with tokens, as
// Docker Hub asks: it sends to a place that gives tokens for the password. An empty user lets everybody in.
func (r *Registry) Require(username, password string, tokens bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.login = login{username, password, tokens}
}

// auth is with what the registry itself is let in.
func (r *Registry) auth() authn.Authenticator {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.login.username == "" {
		return authn.Anonymous
	}
	return &authn.Basic{Username: r.login.username, Password: r.login.password}
}

// token is what stands for the password; nobody else can make it.
func (l login) token() string {
	sum := sha256.Sum256([]byte("token " + l.username + " " + l.password))
	return hex.EncodeToString(sum[:])
}

// admits says whether a request goes on; if not, it has been answered.
func (l login) admits(w http.ResponseWriter, req *http.Request) bool {
	if l.username == "" {
		return true
	}
	username, password, _ := req.BasicAuth()
	proven := username == l.username && password == l.password
	switch {
	case !l.tokens && proven:
		return true
	case l.tokens && req.URL.Path == tokenPath && proven:
		_ = json.NewEncoder(w).Encode(map[string]string{"token": l.token()})
		return false
	case l.tokens && strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ") == l.token():
		return true
	}
	challenge := `Basic realm="lab"`
	if l.tokens && req.URL.Path != tokenPath {
		challenge = `Bearer realm="http://` + req.Host + tokenPath + `",service="lab"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`))
	return false
}
