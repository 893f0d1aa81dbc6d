package spec

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/schema"
)

// DockerHub is the server of images that name none.
const DockerHub = "docker.io"

// Registry is an image registry and who is let in there.
type Registry struct {
	Server   string // host[:port], as it stands at the front of an image's reference
	Username string
	Password From
}

// From is where a secret is read that is in no repository: exactly one of them is set.
type From struct {
	Env  string // a variable of evenkeel's environment
	File string // a file of the credentials directory
}

// String says where, for people.
func (f From) String() string {
	if f.Env != "" {
		return "$" + f.Env
	}
	return "the file " + f.File + " in --credentials-dir"
}

// Registry returns the entry for a server, or nil.
func (f *Fleet) Registry(server string) *Registry {
	for i := range f.Registries {
		if f.Registries[i].Server == server {
			return &f.Registries[i]
		}
	}
	return nil
}

func (r *reader) registries(n *schema.Node) []Registry {
	server := func(item *schema.Node) *schema.Node { return item.Get("server") }
	r.unique(n.List(), "registry", server)
	var list []Registry
	for _, item := range n.List() {
		r.registryServer(item.Get("server"))
		list = append(list, Registry{
			Server:   text(item.Get("server"), ""),
			Username: text(item.Get("username"), ""),
			Password: r.from(item.Get("passwordFrom")),
		})
	}
	slices.SortStableFunc(list, func(a, b Registry) int { return cmp.Compare(a.Server, b.Server) })
	return list
}

// registryServer wants a server as references begin with it: anything else would never be found by one.
func (r *reader) registryServer(n *schema.Node) {
	s, ok := n.Text()
	if !ok || s == "" {
		return
	}
	bare := s
	if _, rest, ok := strings.Cut(bare, "://"); ok {
		bare = rest
	}
	bare, _, _ = strings.Cut(bare, "/")
	lower := strings.ToLower(bare)
	switch {
	case lower == "index.docker.io" || lower == "registry-1.docker.io" || lower == "hub.docker.com":
		r.problem(n, "%q is Docker Hub: write %s", s, DockerHub)
	case !isServer(lower):
		r.problem(n, "%q is no registry: write host or host:port, such as registry.example.com", s)
	case lower != s:
		r.problem(n, "%q must stand as images name it: write %s", s, lower)
	case lower != DockerHub && lower != "localhost" && !strings.ContainsAny(lower, ".:"):
		// A reference's first part is a server only where it looks like one.
		r.problem(n, "%q is the first part of a name at Docker Hub, no server: write it with its domain or port", s)
	}
}

// isServer says whether a text is host or host:port.
func isServer(s string) bool {
	if _, err := netip.ParseAddrPort(s); err == nil {
		return !strings.HasSuffix(s, ":0")
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		_, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return err == nil && strings.HasSuffix(inner, "]")
	}
	host, port, ok := strings.Cut(s, ":")
	return isHostname(host) && (!ok || isPort(port))
}

// from reads where a secret is.
func (r *reader) from(n *schema.Node) From {
	if n == nil || n.Kind != schema.Map {
		return From{}
	}
	env, file := n.Get("env"), n.Get("file")
	switch {
	case len(n.Entries) == 0:
		r.problem(n, "is empty: write {env: NAME} or {file: a file of --credentials-dir}")
	case env != nil && file != nil:
		r.problem(n, "names both an env and a file: remove one of them")
	}
	f := From{Env: text(env, ""), File: text(file, "")}
	if f.File != "" && (!isClean(f.File) || strings.HasPrefix(f.File, "/")) {
		r.problem(file, "%q is no file below --credentials-dir, where secrets are read: write its path in there, such as registry/password", f.File)
	}
	return f
}
