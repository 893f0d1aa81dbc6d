package spec

import (
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/schema"
)

const endpointForms = "write unix:///path, tcp://host:port with `tls`, or ssh://user@host"

// endpoint checks how an engine is reached, and returns the address in it.
func (r *reader) endpoint(host, n *schema.Node, h Host) string {
	scheme, rest, ok := strings.Cut(h.Endpoint, "://")
	if scheme != "tcp" {
		r.only(host, "tls", "tcp")
		if h.Insecure {
			r.only(host, "insecure", "tcp")
		}
	}
	if scheme != "ssh" {
		r.only(host, "ssh", "ssh")
	}
	switch {
	case !ok && strings.HasPrefix(h.Endpoint, "/"):
		r.problem(n, "%q has no scheme: write unix://%s", h.Endpoint, h.Endpoint)
	case scheme == "unix" && ok:
		if !isSocket(rest) {
			r.problem(n, "%q has no absolute path of a socket: write it such as unix:///var/run/docker.sock", h.Endpoint)
		}
	case scheme == "tcp" && ok:
		return r.tcpEndpoint(host, n, h)
	case scheme == "ssh" && ok:
		return r.sshEndpoint(n, h.Endpoint)
	case scheme == "http" || scheme == "https":
		r.problem(n, "%q has the scheme %s: %s", h.Endpoint, scheme, endpointForms)
	default:
		r.problem(n, "%q is no endpoint: %s", h.Endpoint, endpointForms)
	}
	return ""
}

// only refuses a key that another kind of endpoint has.
func (r *reader) only(host *schema.Node, key, scheme string) {
	if n := host.Get(key); n != nil {
		r.problem(n, "is only for %s:// endpoints: remove it, or write such an endpoint", scheme)
	}
}

func isSocket(p string) bool { return path.IsAbs(p) && path.Clean(p) == p && p != "/" }

func (r *reader) tcpEndpoint(host, n *schema.Node, h Host) string {
	u, err := url.Parse(h.Endpoint)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		r.problem(n, "%q isn't tcp://host:port", h.Endpoint)
		return ""
	}
	if !r.endpointHost(n, u.Hostname()) {
		return ""
	}
	encrypted := host.Get("tls") != nil
	if !isPort(u.Port()) {
		port := "2376"
		if h.Insecure {
			port = "2375"
		}
		r.problem(n, "%q has no port from 1 to 65535: write tcp://host:port, such as tcp://%s", h.Endpoint, joinPort(u.Hostname(), port))
		return ""
	}
	switch {
	case encrypted && h.Insecure:
		r.problem(host.Get("insecure"), "is for plain tcp, and this endpoint has `tls`: remove one of them")
	case !encrypted && !h.Insecure:
		r.problem(n, "plain tcp lets everyone who reaches the port be root on the host: write `tls` beside it, or use ssh://; "+
			"write `insecure: true` only if nobody else can reach the port")
	}
	return u.Hostname()
}

func (r *reader) sshEndpoint(n *schema.Node, endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		r.problem(n, "%q isn't ssh://user@host", endpoint)
		return ""
	}
	if _, secret := u.User.Password(); secret {
		r.problem(n, "holds a password: remove it, and use a key (`ssh: {key: file}`) or an agent")
		return ""
	}
	if u.User.Username() == "" {
		r.problem(n, "%q names no user: write ssh://user@%s", endpoint, u.Host)
		return ""
	}
	if u.Port() != "" && !isPort(u.Port()) {
		r.problem(n, "%q has no port from 1 to 65535: write ssh://user@host:port, or no port for 22", endpoint)
		return ""
	}
	if u.Path != "" && !isSocket(u.Path) {
		r.problem(n, "%q ends with %q, which is no path of a socket: write it such as ssh://user@host/run/docker.sock, or nothing for /var/run/docker.sock", endpoint, u.Path)
		return ""
	}
	if !r.endpointHost(n, u.Hostname()) {
		return ""
	}
	return u.Hostname()
}

// endpointHost checks the host in an endpoint.
func (r *reader) endpointHost(n *schema.Node, host string) bool {
	if _, err := netip.ParseAddr(host); err != nil && !isHostname(host) {
		r.problem(n, "%q in it is neither an IP address nor a host name", host)
		return false
	}
	return true
}

func joinPort(address, port string) string {
	if strings.Contains(address, ":") {
		return "[" + address + "]:" + port
	}
	return address + ":" + port
}

func isPort(s string) bool {
	port, err := strconv.ParseUint(s, 10, 16)
	return err == nil && port > 0
}

// endpointAddress is the address in an endpoint, if there is one.
func endpointAddress(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil && (u.Scheme == "tcp" || u.Scheme == "ssh") {
		return u.Hostname()
	}
	return ""
}

// credentialsFile reads the name of a file that is kept outside the repository.
func (r *reader) credentialsFile(n *schema.Node) string {
	name, ok := n.Text()
	if !ok {
		return ""
	}
	if !isClean(name) {
		r.problem(n, "%q is no file of --credentials-dir: write its path in there, such as hn1/key.pem, or an absolute path", name)
		return ""
	}
	return name
}

// isClean says whether a path says no more than it needs to, and leads out of no directory.
func isClean(name string) bool {
	return name != "" && path.Clean(name) == name && name != "." && name != ".." && !strings.HasPrefix(name, "../")
}
