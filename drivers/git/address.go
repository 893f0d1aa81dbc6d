package git

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/evenkeel/evenkeel/internal/sshclient"
)

// address is where a remote repository is.
type address struct {
	url      string // as git takes it, without a password
	ssh      bool
	user     string // "": none is named
	password string // written into the URL
	server   string // host:port
}

func (a address) String() string { return a.url }

func newRemote(o *Options, sub string) (origin, error) {
	o.Path = sub
	a, err := parseAddress(o.Repo)
	if err != nil {
		return nil, err
	}
	o.Repo = a.url // messages name it, and hold no password
	if o.Worktree {
		return nil, &Error{Reason: BadOption, What: "a remote repository has no work tree", Remedy: "leave --worktree out"}
	}
	cache, err := cacheDir(o.CacheDir)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(a.url))
	name := strings.TrimSuffix(path.Base(a.url), ".git") + "-" + hex.EncodeToString(sum[:8])
	if i := strings.LastIndex(name, ":"); i >= 0 {
		name = name[i+1:]
	}
	return &remote{
		address: a, clone: filepath.Join(cache, name), path: sub, ref: o.Ref, limits: o.limits(),
		auth: &credentials{Access: o.Access, keys: sshclient.Open(o.Access.SSHKey, o.Access.KnownHosts, "--git-ssh-key")},
	}, nil
}

// cacheDir is where clones are. Without a home directory they last as long as the program.
func cacheDir(given string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	if base, err := os.UserCacheDir(); err == nil {
		return filepath.Join(base, "evenkeel", "git"), nil
	}
	dir, err := os.MkdirTemp("", "evenkeel-git-")
	if err != nil {
		return "", ioError("there is no place for a clone", err)
	}
	return dir, nil
}

// parseAddress reads a URL, or git's own user@host:path.
func parseAddress(repo string) (address, error) {
	if !strings.Contains(repo, "://") {
		server, _, _ := strings.Cut(repo, ":")
		user, host, named := strings.Cut(server, "@")
		if !named {
			user, host = "", server
		}
		if host == "" || strings.HasPrefix(host, "-") {
			return address{}, badAddress(repo, "it names no server")
		}
		return address{url: repo, ssh: true, user: orGit(user), server: net.JoinHostPort(strings.Trim(host, "[]"), "22")}, nil
	}
	u, err := url.Parse(repo)
	if err != nil {
		return address{}, &Error{Reason: BadOption, Repo: "--repo", What: "the address can't be read", Remedy: remoteForms}
	}
	a := address{user: u.User.Username(), ssh: u.Scheme == "ssh"}
	a.password, _ = u.User.Password()
	switch {
	case u.Scheme != "https" && u.Scheme != "ssh":
		return a, badAddress(repo, fmt.Sprintf("addresses with %s:// can't be read", u.Scheme))
	case u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-"):
		return a, badAddress(repo, "it names no server")
	case strings.Trim(u.Path, "/") == "":
		return a, badAddress(repo, "it names no repository on the server")
	case a.ssh && a.password != "":
		return a, badAddress(repo, "it holds a password, which SSH isn't given")
	}
	port := u.Port()
	if a.ssh {
		a.user, port = orGit(a.user), orPort(port, "22")
		u.User = url.User(a.user)
	} else {
		port, u.User = orPort(port, "443"), nil
	}
	a.url, a.server = u.String(), net.JoinHostPort(u.Hostname(), port)
	return a, nil
}

const remoteForms = "write https://host/path, ssh://user@host/path or user@host:path"

func badAddress(repo, what string) *Error {
	return &Error{Reason: BadOption, Repo: redacted(repo), What: what, Remedy: remoteForms}
}

func orGit(user string) string {
	if user == "" {
		return "git"
	}
	return user
}

func orPort(port, otherwise string) string {
	if port == "" {
		return otherwise
	}
	return port
}
